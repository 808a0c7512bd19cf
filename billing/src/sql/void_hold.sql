-- void_hold: releases a hold; one that was released before stays so, a captured one is refused
-- $1 key, $2 request hash, $3 trip
-- $4 the trace context it happens in, or null: then it is told in the ride's
--
-- Answers one row, or none when there is no such charge. Locks and duplicates: as in capture_hold.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'void' AND key = $1
),
charge AS (
    SELECT * FROM trip_charge
    WHERE trip_id = $3 AND NOT EXISTS (SELECT 1 FROM prior)
    FOR UPDATE
),
judged AS (
    SELECT
        trip_id, at,
        CASE WHEN state = 'CAPTURED' THEN 'HOLD_NOT_OPEN' ELSE 'DONE' END AS outcome
    FROM (SELECT charge.*, clock_timestamp() AS at FROM charge) AS locked
),
released AS (
    UPDATE trip_charge AS charge
    SET state = 'VOIDED', closed_at = judged.at, version = charge.version + 1
    FROM judged
    WHERE charge.trip_id = judged.trip_id AND charge.state = 'HELD'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'VOIDED', version,
        convert_to(row_to_json(released)::text, 'UTF8'), coalesce($4::text, ride_traceparent)
    FROM released
),
-- A ride that was called off does not use a promotion up.
-- The rows as they are now, as captures do.
freed AS (
    INSERT INTO rider_exposure AS exposure (rider_id, currency, held_minor)
    SELECT rider_id, currency, authorised FROM released WHERE payment_method <> 'CASH'
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET held_minor = exposure.held_minor - excluded.held_minor
    RETURNING rider_id
),
returned AS (
    INSERT INTO promotion_rider AS own (rider_id, code, rides)
    SELECT rider_id, promotion_code, 1
    FROM released WHERE promotion_code IS NOT NULL AND (SELECT count(*) FROM freed) >= 0
    ON CONFLICT (rider_id, code) DO UPDATE SET rides = own.rides - excluded.rides
),
decided AS (
    SELECT
        judged.at, judged.outcome,
        jsonb_build_object('hold', coalesce(to_jsonb(released), to_jsonb(charge))) AS answer
    FROM judged
    CROSS JOIN charge
    LEFT JOIN released ON true
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'void', $1, $2, outcome, answer, at FROM decided
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
