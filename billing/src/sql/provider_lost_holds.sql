-- provider_lost_holds: open holds whose authorisation was declined
-- $1 provider
SELECT op.subject_id
FROM trip_charge AS charge
JOIN provider_operation AS op
    ON op.subject_id = charge.trip_id AND op.kind = 'AUTHORIZE' AND op.seq = 1
WHERE charge.state = 'HELD' AND op.state = 'DECLINED' AND op.provider = $1
