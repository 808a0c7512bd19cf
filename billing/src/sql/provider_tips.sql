-- provider_tips: what tips for rides by card ask of the provider
-- $1 provider, $2 since when it is used, $3 from when, $4 until when tips are looked through
--
-- Safe to repeat, and side by side with itself. Every tip is authorised and taken by itself, under a number
-- of its own: the ride's money was taken before. Nothing is asked of one provider about a ride that another
-- one has charged. Refunds of the ride do not wait for tips.
INSERT INTO provider_operation (
    subject_id, kind, seq, step, key, provider, owner_id, amount_minor, currency, state,
    next_attempt_at, created_at, updated_at
)
SELECT
    tip.trip_id, asked.kind, 1000 + tip.seq, 1000000 + 2 * tip.seq + asked.step,
    tip.trip_id || ':tip:' || tip.seq || ':' || lower(asked.kind), $1, charge.rider_id,
    tip.amount_minor, tip.currency, 'PENDING', now(), now(), now()
FROM tip
JOIN trip_charge AS charge ON charge.trip_id = tip.trip_id
CROSS JOIN (VALUES ('AUTHORIZE', 0), ('CAPTURE', 1)) AS asked (kind, step)
WHERE tip.tipped_at >= greatest($2::timestamptz, $3::timestamptz) AND tip.tipped_at <= $4
    AND charge.payment_method = 'CARD'
    AND NOT EXISTS (
        SELECT 1 FROM provider_operation AS other
        WHERE other.subject_id = tip.trip_id AND other.provider <> $1
    )
ON CONFLICT DO NOTHING
