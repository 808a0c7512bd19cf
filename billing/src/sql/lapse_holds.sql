-- lapse_holds: releases holds that ran out, oldest first
-- $1 rider, or null for everybody's; $2 how many at most
--
-- Answers one row: how many, and the contexts of their rides' traces that are exported. Each is told in its
-- own ride's.
--
-- Side by side with itself and with captures it does no harm: rows that another statement has
-- locked are left for the next time. Riders' rows are locked in the order in which capture_holds
-- locks them.
WITH lapsed AS (
    SELECT trip_id FROM trip_charge
    WHERE state = 'HELD' AND expires_at <= now() AND ($1::text IS NULL OR rider_id = $1)
    ORDER BY expires_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
released AS (
    UPDATE trip_charge AS charge
    SET state = 'VOIDED', closed_at = clock_timestamp(), version = charge.version + 1
    FROM lapsed
    WHERE charge.trip_id = lapsed.trip_id AND charge.state = 'HELD'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'LAPSED', version,
        convert_to(row_to_json(released)::text, 'UTF8'), ride_traceparent
    FROM released
),
-- A ride that was called off does not use a promotion up.
-- The rows as they are now, as captures do.
freed AS (
    INSERT INTO rider_exposure AS exposure (rider_id, currency, held_minor)
    SELECT rider_id, currency, sum(authorised)
    FROM released WHERE payment_method <> 'CASH'
    GROUP BY rider_id, currency
    ORDER BY rider_id, currency
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET held_minor = exposure.held_minor - excluded.held_minor
    RETURNING rider_id
),
returned AS (
    INSERT INTO promotion_rider AS own (rider_id, code, rides)
    SELECT rider_id, promotion_code, count(*)
    FROM released
    WHERE promotion_code IS NOT NULL AND (SELECT count(*) FROM freed) >= 0
    GROUP BY rider_id, promotion_code
    ORDER BY rider_id, promotion_code
    ON CONFLICT (rider_id, code) DO UPDATE SET rides = own.rides - excluded.rides
)
SELECT
    count(*),
    coalesce(array_agg(ride_traceparent) FILTER (WHERE ride_traceparent LIKE '%-01'), '{}') AS rides
FROM released
