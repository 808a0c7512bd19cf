-- preview_promotion: a promotion, and whether one rider may have it now
-- $1 code, $2 rider, $3 the currency of the fares
--
-- Answers one row, or none when there is no such promotion. It is judged as apply_promotion judges it, and
-- nothing is counted.
SELECT
    CASE
        WHEN currency <> $3 OR clock_timestamp() < valid_from OR clock_timestamp() >= valid_to
            THEN 'NO_PROMOTION'
        WHEN rides_per_rider <= coalesce((
            SELECT rides FROM promotion_rider WHERE rider_id = $2 AND code = $1
        ), 0) THEN 'USED_UP'
        ELSE 'DONE'
    END AS outcome,
    to_jsonb(promotion) AS promotion
FROM promotion
WHERE code = $1
