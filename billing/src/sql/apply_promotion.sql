-- apply_promotion: gives a held trip the terms of a promotion, once
-- $1 trip, $2 code
-- $3 the trace context it happens in, or null
--
-- Answers one row, or none when there is no such charge. It needs no key: the charge is locked first,
-- and one that has the promotion already is left as it is. On how many rides a rider has it is counted
-- in one row per rider and promotion, which a guarded update keeps to the limit.
WITH charge AS (
    SELECT * FROM trip_charge WHERE trip_id = $1 FOR UPDATE
),
judged AS (
    SELECT
        charge.trip_id, charge.rider_id, promotion.code, promotion.amount_minor,
        promotion.percent, promotion.cap_minor, promotion.rides_per_rider,
        CASE
            WHEN charge.promotion_code = $2 THEN 'DONE'
            WHEN charge.promotion_code IS NOT NULL THEN 'HAS_PROMOTION'
            WHEN charge.state <> 'HELD' OR charge.expires_at <= clock_timestamp()
                THEN 'HOLD_NOT_OPEN'
            WHEN promotion.code IS NULL OR promotion.currency <> charge.currency
                OR clock_timestamp() < promotion.valid_from
                OR clock_timestamp() >= promotion.valid_to THEN 'NO_PROMOTION'
        END AS outcome
    FROM charge
    LEFT JOIN promotion ON promotion.code = $2
),
counted AS (
    INSERT INTO promotion_rider AS own (rider_id, code, rides)
    SELECT rider_id, code, 1 FROM judged WHERE outcome IS NULL AND rides_per_rider > 0
    ON CONFLICT (rider_id, code) DO UPDATE SET rides = own.rides + 1
        WHERE own.rides < (SELECT rides_per_rider FROM judged)
    RETURNING code
),
given AS (
    UPDATE trip_charge AS charge
    SET promotion_code = judged.code, promotion_amount_minor = judged.amount_minor,
        promotion_percent = judged.percent, promotion_cap_minor = judged.cap_minor,
        version = charge.version + 1
    FROM judged CROSS JOIN counted
    WHERE charge.trip_id = judged.trip_id AND charge.state = 'HELD'
        AND charge.promotion_code IS NULL
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'PROMOTION_APPLIED', version,
        convert_to(row_to_json(given)::text, 'UTF8'), $3::text
    FROM given
)
SELECT
    coalesce(judged.outcome, CASE WHEN given.trip_id IS NULL THEN 'USED_UP' ELSE 'DONE' END)
        AS outcome,
    coalesce(to_jsonb(given), to_jsonb(charge)) AS charge
FROM judged
CROSS JOIN charge
LEFT JOIN given ON true
