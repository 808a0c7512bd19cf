-- apply_billing_event: takes in where billing says a trip's payment stands, once, and nothing older
-- $1 event, $2 trip, $3 the payment's version, $4 its state
--
-- Answers one row: whether it moved the payment, whether that is news, and whether it has to come again. It
-- has to while the request is under way that makes the trip (its key is written before anything is held),
-- or the trip would begin as held whatever has become of the hold. What only says so need not wait.
--
-- An event that comes twice at the same moment waits for its twin and finds it in the inbox. What becomes of
-- a hold is no news of a payment that has failed: the trip knows of that by having asked. That money was
-- taken is.
WITH known AS (
    SELECT payment_state FROM trip WHERE trip_id = $2
),
early AS (
    SELECT 1 AS one
    WHERE $4 <> 'HELD' AND NOT EXISTS (SELECT 1 FROM known)
        AND EXISTS (
            SELECT 1 FROM idempotency
            WHERE NOT hold_settled AND state = 'STARTED' AND trip_id = $2
        )
),
heard AS (
    INSERT INTO inbox (event_id, source, received_at)
    SELECT $1, 'billing', clock_timestamp() WHERE NOT EXISTS (SELECT 1 FROM early)
    ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING
    RETURNING event_id
),
moved AS (
    UPDATE trip
    SET payment_version = $3,
        payment_state = CASE
            WHEN trip.payment_state = 'FAILED' AND $4 IN ('HELD', 'UNKNOWN', 'VOIDED')
                THEN 'FAILED'
            ELSE $4
        END
    FROM heard
    WHERE trip.trip_id = $2 AND trip.payment_version < $3
    RETURNING trip.payment_state
)
SELECT
    EXISTS (SELECT 1 FROM moved) AS is_applied,
    EXISTS (SELECT 1 FROM moved JOIN known ON moved.payment_state <> known.payment_state) AS is_news,
    EXISTS (SELECT 1 FROM early) AS is_early
