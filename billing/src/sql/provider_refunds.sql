-- provider_refunds: what refunds of fares by card ask of the provider
-- $1 provider, $2 since when it is used, $3 from when, $4 until when refunds are looked through
--
-- Safe to repeat, and side by side with itself. What is given back as credit stays with us. A ride that was
-- taken in two parts is given back from the first as far as that goes, and then from the second, under a
-- number above 1000. Both operations of a refund are made at once: one that was made whole stays whole.
WITH given AS (
    SELECT
        refund.trip_id, refund.seq, refund.currency, taken.owner_id, taken.amount_minor AS first_minor,
        refund.total_minor - refund.credit_minor - refund.dues_minor AS minor,
        (
            SELECT coalesce(sum(total_minor - credit_minor - dues_minor), 0)
            FROM refund AS before WHERE before.trip_id = refund.trip_id AND before.seq < refund.seq
        ) AS before_minor
    FROM refund
    JOIN provider_operation AS taken
        ON taken.subject_id = refund.trip_id AND taken.kind = 'CAPTURE' AND taken.seq = 1
            AND taken.provider = $1
    WHERE refund.refunded_at >= greatest($2::timestamptz, $3::timestamptz)
        AND refund.refunded_at <= $4
        AND refund.total_minor > refund.credit_minor + refund.dues_minor
),
parts AS (
    SELECT *, least(minor, greatest(first_minor - before_minor, 0))::bigint AS of_first
    FROM given
),
first AS (
    INSERT INTO provider_operation (
        subject_id, kind, seq, step, key, provider, owner_id, amount_minor, currency, state,
        next_attempt_at, created_at, updated_at
    )
    SELECT
        trip_id, 'REFUND', seq, 10 + seq, trip_id || ':refund:' || seq, $1, owner_id, of_first, currency,
        'PENDING', now(), now(), now()
    FROM parts WHERE of_first > 0
    ON CONFLICT DO NOTHING
    RETURNING subject_id, seq
)
INSERT INTO provider_operation (
    subject_id, kind, seq, step, key, provider, owner_id, amount_minor, currency, state,
    next_attempt_at, created_at, updated_at
)
SELECT
    trip_id, 'REFUND', 1000 + parts.seq, 500000 + parts.seq, trip_id || ':refund:' || parts.seq || ':2', $1,
    owner_id, minor - of_first, currency, 'PENDING', now(), now(), now()
FROM parts
LEFT JOIN first ON first.subject_id = parts.trip_id AND first.seq = parts.seq
WHERE minor > of_first AND (
    first.seq IS NOT NULL
    OR (of_first = 0 AND NOT EXISTS (
        SELECT 1 FROM provider_operation AS whole
        WHERE whole.subject_id = parts.trip_id AND whole.kind = 'REFUND' AND whole.seq = parts.seq
    ))
)
ON CONFLICT DO NOTHING
