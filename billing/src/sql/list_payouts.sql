-- list_payouts: payouts, newest first
-- $1 driver, or null for everybody's, $2 state, or null for any, $3 how many at most, $4 time and
-- $5 name of the last one of the page before, or nulls
SELECT to_jsonb(payout)
FROM payout
WHERE ($1::text IS NULL OR driver_id = $1) AND ($2::text IS NULL OR state = $2)
    AND (created_at, payout_id) < (
        coalesce($4::timestamptz, 'infinity'),
        coalesce($5::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY created_at DESC, payout_id DESC
LIMIT $3
