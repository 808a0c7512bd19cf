-- provider_take_up: says that an operation is on its way, before it is sent
-- $1 subject, $2 kind, $3 seq, $4 how often it was taken up so far, $5 for how long nobody else is to
-- take it up, ms, $6 account, $7 payment method, which stay with it from the first time on
--
-- Answers how often it was taken up, or no row when somebody else was faster.
UPDATE provider_operation
SET state = 'SENT', attempts = attempts + 1, updated_at = now(),
    next_attempt_at = now() + $5::bigint * interval '1 millisecond',
    account = coalesce(account, $6), payment_method = coalesce(payment_method, $7)
WHERE subject_id = $1 AND kind = $2 AND seq = $3 AND attempts = $4
    AND state IN ('PENDING', 'SENT', 'UNKNOWN')
RETURNING attempts
