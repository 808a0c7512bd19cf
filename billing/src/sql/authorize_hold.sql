-- authorize_hold: holds a quoted fare for a trip, once per key and once per trip
-- $1 key, $2 request hash, $3 trip, $4 rider, $5 quote, $6 currency, $7 limit, $8 validity in ms,
-- $9 how it is paid, $10 what the quote comes to and $11 when it ends, as was found genuine, or null
-- $12 the trace context it happens in, or null
--
-- Answers one row. Rows are locked in the order rider_exposure, trip_charge, idempotency. A
-- duplicate that runs at the same time cannot see this one's rows and fails as a whole on the
-- primary key of trip_charge or idempotency; run again, it finds the answer or the refusal.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'authorize' AND key = $1
),
judged AS (
    SELECT
        asked.at, quote.id AS quote_id, quote.currency, quote.total_minor, charge.trip_id,
        CASE
            WHEN charge.trip_id IS NOT NULL THEN 'ALREADY_HELD'
            WHEN quote.id IS NULL THEN 'NO_QUOTE'
            WHEN quote.expires_at <= asked.at THEN 'QUOTE_EXPIRED'
            WHEN quote.total_minor IS DISTINCT FROM $10::bigint
                OR quote.expires_at IS DISTINCT FROM $11::timestamptz THEN 'QUOTE_NOT_GENUINE'
            -- A quote in another currency is left over from another configuration.
            WHEN quote.currency <> $6 THEN 'QUOTE_EXPIRED'
            -- Cash is nobody's risk but the driver's: it uses no limit.
            WHEN quote.total_minor > $7 AND $9::text <> 'CASH' THEN 'DECLINED'
        END AS refusal
    FROM (SELECT clock_timestamp() AS at WHERE NOT EXISTS (SELECT 1 FROM prior)) AS asked
    LEFT JOIN fare_quote AS quote ON quote.id = $5
    LEFT JOIN trip_charge AS charge ON charge.trip_id = $3
),
-- Nothing comes back when the sum would go above the limit. The condition is judged on the row as
-- the last writer left it, so two holds at once cannot both fit into the room for one.
exposed AS (
    INSERT INTO rider_exposure AS exposure (rider_id, currency, held_minor)
    SELECT $4, currency, CASE $9 WHEN 'CASH' THEN 0 ELSE total_minor END
    FROM judged WHERE refusal IS NULL
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET held_minor = exposure.held_minor + excluded.held_minor
        WHERE exposure.held_minor + excluded.held_minor <= $7 OR $9 = 'CASH'
    RETURNING rider_id
),
held AS (
    INSERT INTO trip_charge (
        trip_id, rider_id, quote_id, currency, authorised, state, created_at, expires_at,
        payment_method, version, ride_traceparent
    )
    SELECT
        $3, exposed.rider_id, judged.quote_id, judged.currency, judged.total_minor, 'HELD',
        judged.at, judged.at + $8::bigint * interval '1 millisecond', $9, 1, $12::text
    FROM judged CROSS JOIN exposed
    RETURNING *
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'HELD', version,
        convert_to(row_to_json(held)::text, 'UTF8'), $12::text
    FROM held
),
decided AS (
    SELECT
        judged.at,
        CASE
            WHEN judged.refusal IS NOT NULL THEN judged.refusal
            WHEN held.trip_id IS NOT NULL THEN 'DONE'
            -- Holds that ran out still count until they are released: do that, then ask again.
            WHEN EXISTS (
                SELECT 1 FROM trip_charge
                WHERE rider_id = $4 AND state = 'HELD' AND expires_at <= now()
            ) THEN 'LAPSED_IN_THE_WAY'
            ELSE 'DECLINED'
        END AS outcome,
        jsonb_build_object('hold', to_jsonb(held)) AS answer
    FROM judged LEFT JOIN held ON true
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'authorize', $1, $2, outcome, answer, at
    FROM decided WHERE outcome NOT IN ('NO_QUOTE', 'QUOTE_NOT_GENUINE', 'LAPSED_IN_THE_WAY')
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
