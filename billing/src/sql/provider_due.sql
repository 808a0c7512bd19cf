-- provider_due: operations that are to be taken up, the longest due first
-- $1 provider, $2 how many at most
--
-- Of the operations about one thing only the first that is not at an end. One whose ground is gone is
-- baseless: it is not to be sent. So is a transfer that was never sent for a payout that is closed.
SELECT
    op.subject_id, op.kind, op.seq, op.key, op.owner_id, op.amount_minor, op.currency, op.state,
    op.attempts, op.created_at, charge.ride_traceparent, ground.reference AS authorization_reference,
    coalesce(op.account, known.account) AS account,
    coalesce(op.payment_method, known.payment_method) AS payment_method,
    coalesce(
        CASE
            WHEN op.kind IN ('CAPTURE', 'VOID') THEN ground.state = 'DECLINED'
            WHEN op.kind = 'REFUND' THEN EXISTS (
                SELECT 1 FROM provider_operation AS taken
                WHERE taken.subject_id = op.subject_id AND taken.kind = 'CAPTURE'
                    AND taken.seq = CASE WHEN op.seq > 1000 THEN 2 ELSE 1 END
                    AND taken.state = 'DECLINED'
            )
            WHEN op.kind = 'TRANSFER' THEN op.state = 'PENDING' AND NOT EXISTS (
                SELECT 1 FROM payout
                WHERE driver_id = op.owner_id AND payout_id = op.subject_id AND payout.state = 'OPEN'
            )
        END,
        false
    ) AS is_baseless
FROM provider_operation AS op
LEFT JOIN provider_operation AS ground
    ON ground.subject_id = op.subject_id AND ground.kind = 'AUTHORIZE'
        AND ground.seq = CASE
            WHEN op.kind IN ('CAPTURE', 'VOID') THEN op.seq
            -- From the second part of what was taken.
            WHEN op.kind = 'REFUND' AND op.seq > 1000 THEN 2
            ELSE 1
        END
-- Payouts have none.
LEFT JOIN trip_charge AS charge ON charge.trip_id = op.subject_id
LEFT JOIN provider_account AS known
    ON known.owner_id = op.owner_id
        AND known.role = CASE op.kind WHEN 'TRANSFER' THEN 'DRIVER' ELSE 'RIDER' END
WHERE op.provider = $1 AND op.state IN ('PENDING', 'SENT', 'UNKNOWN') AND op.next_attempt_at <= now()
    AND NOT EXISTS (
        SELECT 1 FROM provider_operation AS earlier
        WHERE earlier.subject_id = op.subject_id AND earlier.step < op.step
            AND earlier.state IN ('PENDING', 'SENT', 'UNKNOWN')
    )
ORDER BY op.next_attempt_at, op.subject_id
LIMIT $2
