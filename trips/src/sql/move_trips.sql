-- move_trips: the next versions of several trips whose drivers moved them on, their rows in the log, and
-- what the others are told of them, in one round trip. For each it does what update_trip does for one.
-- $1 trips, $2 versions, $3 states, $4 when, $5 when the drivers arrived, $6 when the rides began, $7 stops,
-- $8 wrong PINs that were known of, $9 states before, $10 whose doing, $11 their ids, $12 reasons,
-- $13 events, $14 their types, $15 their payloads; $16 what the events are about, $17 their trace contexts
--
-- No trip may be in it twice. Answers with the trips that were changed. The others have changed since they
-- were judged, or another transaction holds them: nobody here waits for it, they are to be judged again.
WITH asked AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::uuid[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
        $7::jsonb[], $8::int[], $9::text[], $10::text[], $11::text[], $12::text[], $13::uuid[],
        $14::text[], $15::bytea[], $17::text[]
    ) AS asked (
        trip_id, version, state, at, arrived_at, started_at, stops, wrong_pins, from_state, actor,
        actor_id, reason, event_id, event_type, payload, traceparent
    )
),
locked AS MATERIALIZED (
    SELECT trip.trip_id
    FROM asked JOIN trip ON trip.trip_id = asked.trip_id
    -- A wrong PIN is counted without a version.
    WHERE trip.version = asked.version - 1 AND trip.wrong_pins = asked.wrong_pins
    ORDER BY trip.trip_id
    FOR UPDATE OF trip SKIP LOCKED
),
changed AS (
    UPDATE trip SET
        version = asked.version,
        state = asked.state,
        updated_at = asked.at,
        arrived_at = asked.arrived_at,
        started_at = asked.started_at,
        stops = asked.stops
    FROM locked JOIN asked USING (trip_id)
    WHERE trip.trip_id = locked.trip_id AND trip.version = asked.version - 1
    RETURNING trip.trip_id
),
logged AS (
    INSERT INTO trip_transition (trip_id, version, from_state, to_state, actor, actor_id, reason, at)
    SELECT trip_id, version, from_state, state, actor, actor_id, reason, at
    FROM changed JOIN asked USING (trip_id)
)
INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
SELECT event_id, $16, trip_id, event_type, version, payload, traceparent
FROM changed JOIN asked USING (trip_id)
RETURNING aggregateid
