-- provider_settle: writes down what became of an operation, what that says of the charge it is about, and
-- posts what it moved
-- $1 subject, $2 kind, $3 seq, $4 the time it was taken up, $5 state, $6 the provider's name for it,
-- $7 what went wrong, $8 after how many ms it is taken up again, $9 the
-- trace context it happens in, or null: then it is told in the ride's
--
-- Answers a row, with whether it is news of the charge; or none when it was taken up again meanwhile: that
-- one finds out by itself. A charge that was to be taken and could not be stays so, whatever else is carried
-- out for it; numbers above 1000 are tips, which say nothing of the fare. What was taken from a rider is no
-- longer owed, what was given back is. Behind `state = 'SENT'`, which lets an operation succeed once, stands
-- journal_entry_pkey. Locks: the operation, the charge, then account_balance.
WITH settled AS (
    UPDATE provider_operation
    SET state = $5, reference = coalesce($6, reference), last_error = $7, updated_at = now(),
        next_attempt_at = now() + $8::bigint * interval '1 millisecond',
        posted_at = CASE WHEN $5 = 'SUCCEEDED' AND kind IN ('CAPTURE', 'REFUND') THEN now() END
    WHERE subject_id = $1 AND kind = $2 AND seq = $3 AND attempts = $4 AND state = 'SENT'
    RETURNING
        provider_operation.*,
        CASE
            WHEN state = 'UNKNOWN' THEN 'UNKNOWN'
            WHEN state = 'DECLINED' AND kind = 'CAPTURE' THEN 'DECLINED'
        END AS provider_state
),
moved AS (
    UPDATE trip_charge AS charge
    SET provider_state = settled.provider_state, version = charge.version + 1
    FROM settled
    WHERE settled.kind IN ('AUTHORIZE', 'CAPTURE') AND settled.seq <= 1000
        AND charge.trip_id = settled.subject_id
        AND charge.state <> 'VOIDED'
        AND charge.provider_state IS DISTINCT FROM settled.provider_state
        AND charge.provider_state IS DISTINCT FROM 'DECLINED'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id,
        CASE provider_state
            WHEN 'UNKNOWN' THEN 'PAYMENT_UNKNOWN'
            WHEN 'DECLINED' THEN 'PAYMENT_FAILED'
            ELSE 'PAYMENT_CONFIRMED'
        END,
        version, convert_to(row_to_json(moved)::text, 'UTF8'), coalesce($9::text, ride_traceparent)
    FROM moved
),
taken AS (
    SELECT
        subject_id, kind, seq, currency, owner_id,
        CASE kind WHEN 'CAPTURE' THEN amount_minor ELSE -amount_minor END AS minor
    -- Once the charge was locked.
    FROM settled WHERE posted_at IS NOT NULL AND (SELECT count(*) FROM moved) >= 0
),
