-- provider_refunds: what refunds of fares by card ask of the provider
-- $1 provider, $2 since when it is used, $3 from when, $4 until when refunds are looked through
--
-- Safe to repeat, and side by side with itself. What is given back as credit stays with us.
INSERT INTO provider_operation (
    subject_id, kind, seq, step, key, provider, owner_id, amount_minor, currency, state,
    next_attempt_at, created_at, updated_at
)
SELECT
    refund.trip_id, 'REFUND', refund.seq, 10 + refund.seq,
    refund.trip_id || ':refund:' || refund.seq, $1, taken.owner_id,
    refund.total_minor - refund.credit_minor - refund.dues_minor, refund.currency, 'PENDING', now(),
    now(), now()
FROM refund
JOIN provider_operation AS taken
    ON taken.subject_id = refund.trip_id AND taken.kind = 'CAPTURE' AND taken.seq = 1
        AND taken.provider = $1
WHERE refund.refunded_at >= greatest($2::timestamptz, $3::timestamptz) AND refund.refunded_at <= $4
    AND refund.total_minor > refund.credit_minor + refund.dues_minor
ON CONFLICT DO NOTHING
