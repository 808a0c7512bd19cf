-- provider_ended_payouts: open payouts whose transfer is at an end
-- $1 provider
SELECT op.owner_id, op.subject_id, op.state = 'SUCCEEDED' AS arrived, op.last_error
FROM payout
JOIN provider_operation AS op
    ON op.subject_id = payout.payout_id AND op.kind = 'TRANSFER' AND op.seq = 1
WHERE payout.state = 'OPEN' AND op.state IN ('SUCCEEDED', 'DECLINED') AND op.provider = $1
