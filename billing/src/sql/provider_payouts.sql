-- provider_payouts: what payouts that are on their way ask of the provider
-- $1 provider, $2 since when it is used
--
-- Safe to repeat, and side by side with itself. A payout from before is left to whoever sent it.
INSERT INTO provider_operation (
    subject_id, kind, seq, step, key, provider, owner_id, amount_minor, currency, state,
    next_attempt_at, created_at, updated_at
)
SELECT
    payout_id, 'TRANSFER', 1, 1, payout_id || ':transfer', $1, driver_id, amount_minor, currency,
    'PENDING', now(), now(), now()
FROM payout
WHERE state = 'OPEN' AND created_at >= $2
ON CONFLICT DO NOTHING
