-- update_trip: the next version of a trip, its row in the log, and what the others are told of it, in one
-- round trip. The row is locked already; the version is compared once more, so that no change can be
-- written over one it did not know. payment_state is left alone: billing's answers move it beside the
-- version. What is written into outbox is what jitney_platform::outbox::append writes.
WITH changed AS (
    UPDATE trip SET
        version = $2,
        state = $3,
        driver_id = $4,
        driver_plate = $5,
        driver_vehicle = $6,
        offer_id = $7,
        wrong_pins = $8,
        reservation_id = $9,
        search_until = $10,
        cancelled_by = $11,
        end_reason = $12,
        updated_at = $13,
        assigned_at = $14,
        arrived_at = $15,
        started_at = $16,
        ended_at = $17,
        fee = $18,
        pickup_due_at = $19,
        stops = $20
    WHERE trip_id = $1 AND version = $2 - 1
    RETURNING trip_id
),
logged AS (
    INSERT INTO trip_transition (trip_id, version, from_state, to_state, actor, actor_id, reason, at)
    SELECT trip_id, $2, $21, $3, $22, $23, $24, $13 FROM changed
)
INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
SELECT $25, $26, trip_id, $27, $2, $28, $29 FROM changed
