-- provider_settle: writes down what became of an operation
-- $1 subject, $2 kind, $3 seq, $4 the time it was taken up, $5 state, $6 the provider's name for it,
-- $7 what went wrong, $8 after how many ms it is taken up again
--
-- Answers a row, or none when it was taken up again meanwhile: that one finds out by itself.
UPDATE provider_operation
SET state = $5, reference = coalesce($6, reference), last_error = $7, updated_at = now(),
    next_attempt_at = now() + $8::bigint * interval '1 millisecond'
WHERE subject_id = $1 AND kind = $2 AND seq = $3 AND attempts = $4 AND state = 'SENT'
RETURNING attempts
