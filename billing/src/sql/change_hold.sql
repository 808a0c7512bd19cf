-- change_hold: puts an open hold under another quote; what is held becomes its total
-- $1 key, $2 request hash, $3 trip, $4 quote, $5 what it comes to, as was found genuine, or null
-- $6 the trace context it happens in, or null
--
-- Answers one row, or none when there is no such charge. The limit is not asked: the ride is being
-- driven, and somebody has to pay for it. Nor is the quote's expiry: it says until when a ride may be
-- ordered at it. Locks and duplicates: as in capture_hold.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'change' AND key = $1
),
charge AS (
    SELECT * FROM trip_charge
    WHERE trip_id = $3 AND NOT EXISTS (SELECT 1 FROM prior)
    FOR UPDATE
),
judged AS (
    SELECT
        locked.trip_id, locked.at, locked.authorised AS before_minor, quote.total_minor,
        CASE
            WHEN locked.state <> 'HELD' OR locked.expires_at <= locked.at THEN 'HOLD_NOT_OPEN'
            WHEN quote.id IS NULL THEN 'NO_QUOTE'
            WHEN quote.total_minor IS DISTINCT FROM $5::bigint THEN 'QUOTE_NOT_GENUINE'
            WHEN quote.currency <> locked.currency THEN 'OTHER_CURRENCY'
            ELSE 'DONE'
        END AS outcome
    FROM (SELECT charge.*, clock_timestamp() AS at FROM charge) AS locked
    LEFT JOIN fare_quote AS quote ON quote.id = $4
),
changed AS (
    UPDATE trip_charge AS charge
    SET quote_id = $4, authorised = judged.total_minor,
        upfront_minor = coalesce(charge.upfront_minor, charge.authorised),
        version = charge.version + 1
    FROM judged
    WHERE charge.trip_id = judged.trip_id AND judged.outcome = 'DONE'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'HOLD_CHANGED', version,
        convert_to(row_to_json(changed)::text, 'UTF8'), $6::text
    FROM changed
),
exposed AS (
    INSERT INTO rider_exposure AS exposure (rider_id, currency, held_minor)
    SELECT rider_id, currency, authorised FROM changed WHERE payment_method <> 'CASH'
    -- The row as it is now, as captures do.
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET held_minor = exposure.held_minor + excluded.held_minor
            - (SELECT before_minor FROM judged)
),
decided AS (
    SELECT
        judged.at, judged.outcome,
        jsonb_build_object('hold', coalesce(to_jsonb(changed), to_jsonb(charge))) AS answer
    FROM judged
    CROSS JOIN charge
    LEFT JOIN changed ON true
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'change', $1, $2, outcome, answer, at
    FROM decided WHERE outcome IN ('DONE', 'HOLD_NOT_OPEN')
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
