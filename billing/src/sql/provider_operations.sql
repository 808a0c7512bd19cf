-- provider_operations: operations to compare with the provider's book
-- $1 provider, $2 from when, $3 until when they were planned, $4 subjects and $5 keys of others that are
-- wanted, $6 how many at most
--
-- The ground of an authorisation is gone once it is released.
WITH wanted AS (
    SELECT subject_id, kind, seq
    FROM provider_operation WHERE provider = $1 AND created_at >= $2 AND created_at < $3
    UNION
    SELECT op.subject_id, op.kind, op.seq
    FROM unnest($4::uuid[], $5::text[]) AS named (subject_id, key)
    JOIN provider_operation AS op
        ON op.subject_id = named.subject_id AND op.key = named.key AND op.provider = $1
)
SELECT
    op.subject_id, op.kind, op.seq, op.key, op.owner_id, op.amount_minor, op.currency, op.state,
    op.attempts, op.created_at, op.account, op.payment_method, op.last_error,
    NULL::text AS ride_traceparent,
    ground.reference AS authorization_reference,
    op.kind = 'AUTHORIZE' AND EXISTS (
        SELECT 1 FROM provider_operation AS released
        WHERE released.subject_id = op.subject_id AND released.kind = 'VOID'
            AND released.seq = op.seq AND released.state = 'SUCCEEDED'
    ) AS is_baseless,
    -- A charge or a refund is in the ledger, so it has to be carried out. A payout may have been closed by
    -- hand, otherwise than its transfer ended.
    CASE
        WHEN op.kind IN ('CAPTURE', 'REFUND') THEN op.state = 'DECLINED'
        WHEN op.kind = 'TRANSFER' THEN EXISTS (
            SELECT 1 FROM payout
            WHERE payout.driver_id = op.owner_id AND payout.payout_id = op.subject_id
                AND (payout.state, op.state) IN (('FAILED', 'SUCCEEDED'), ('SETTLED', 'DECLINED'))
        )
        ELSE false
    END AS is_against_ledger
FROM wanted
JOIN provider_operation AS op USING (subject_id, kind, seq)
LEFT JOIN provider_operation AS ground
    ON ground.subject_id = op.subject_id AND ground.kind = 'AUTHORIZE'
        AND ground.seq = CASE
            WHEN op.kind IN ('CAPTURE', 'VOID') THEN op.seq
            -- From the second part of what was taken.
            WHEN op.kind = 'REFUND' AND op.seq > 1000 THEN 2
            ELSE 1
        END
ORDER BY op.created_at, op.subject_id, op.step
LIMIT $6
