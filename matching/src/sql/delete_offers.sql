-- delete_offers: forgets the offers of trips that need none any more ($1), and single offers ($2)
-- They are locked in the order of their trips, as save_offers locks them. An offer that was replaced
-- meanwhile stays.
WITH locked AS MATERIALIZED (
    SELECT trip_id
    FROM offer
    WHERE trip_id IN (
        SELECT unnest($1::uuid[])
        UNION SELECT trip_id FROM offer WHERE offer_id = ANY($2::uuid[])
    )
    ORDER BY trip_id
    FOR UPDATE
)
DELETE FROM offer USING locked
WHERE offer.trip_id = locked.trip_id
    AND (offer.trip_id = ANY($1::uuid[]) OR offer.offer_id = ANY($2::uuid[]))
