-- provider_settle: writes down what became of an operation, and what that says of the charge it is about
-- $1 subject, $2 kind, $3 seq, $4 the time it was taken up, $5 state, $6 the provider's name for it,
-- $7 what went wrong, $8 after how many ms it is taken up again
--
-- Answers a row, with whether it is news of the charge; or none when it was taken up again meanwhile: that
-- one finds out by itself. A charge that was to be taken and could not be stays so, whatever else is carried
-- out for it.
WITH settled AS (
    UPDATE provider_operation
    SET state = $5, reference = coalesce($6, reference), last_error = $7, updated_at = now(),
        next_attempt_at = now() + $8::bigint * interval '1 millisecond'
    WHERE subject_id = $1 AND kind = $2 AND seq = $3 AND attempts = $4 AND state = 'SENT'
    RETURNING
        subject_id, kind, attempts,
        CASE
            WHEN state = 'UNKNOWN' THEN 'UNKNOWN'
            WHEN state = 'DECLINED' AND kind = 'CAPTURE' THEN 'DECLINED'
        END AS provider_state
),
moved AS (
    UPDATE trip_charge AS charge
    SET provider_state = settled.provider_state, version = charge.version + 1
    FROM settled
    WHERE settled.kind IN ('AUTHORIZE', 'CAPTURE') AND charge.trip_id = settled.subject_id
        AND charge.state <> 'VOIDED'
        AND charge.provider_state IS DISTINCT FROM settled.provider_state
        AND charge.provider_state IS DISTINCT FROM 'DECLINED'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload)
    SELECT
        gen_random_uuid(), 'charge', trip_id,
        CASE provider_state
            WHEN 'UNKNOWN' THEN 'PAYMENT_UNKNOWN'
            WHEN 'DECLINED' THEN 'PAYMENT_FAILED'
            ELSE 'PAYMENT_CONFIRMED'
        END,
        version, convert_to(row_to_json(moved)::text, 'UTF8')
    FROM moved
)
SELECT attempts, EXISTS (SELECT 1 FROM moved) AS is_told FROM settled
