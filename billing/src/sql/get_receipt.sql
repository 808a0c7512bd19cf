-- get_receipt: what a trip cost, what was given back since, and the tips
-- $1 trip
SELECT
    to_jsonb(receipt) || jsonb_build_object(
        'refunded_minor', charge.refunded,
        'tip_minor', charge.tipped,
        'upfront_minor', charge.upfront_minor,
        'refunds', coalesce(
            (
                SELECT jsonb_agg(to_jsonb(refund) ORDER BY seq)
                FROM refund WHERE refund.trip_id = receipt.trip_id
            ),
            '[]'::jsonb
        )
    )
FROM receipt
JOIN trip_charge AS charge ON charge.trip_id = receipt.trip_id
WHERE receipt.trip_id = $1
