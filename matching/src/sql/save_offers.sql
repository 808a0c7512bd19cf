-- save_offers: offers that are about to be made, each in the place of its trip's last one
-- In the order of their trips, in which whatever takes several offers takes them.
INSERT INTO offer (
    trip_id, offer_id, rider_id, driver_id, product,
    pickup_latitude, pickup_longitude, dropoff_latitude, dropoff_longitude,
    fare_minor, fare_currency, pickup_duration_ms, pickup_distance_m, expires_at,
    seats, beside_trip_id, shared, stop_order
)
SELECT *
FROM unnest(
    $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
    $6::double precision[], $7::double precision[], $8::double precision[], $9::double precision[],
    $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], $14::timestamptz[],
    $15::integer[], $16::uuid[], $17::boolean[], $18::text[]
) AS made (
    trip_id, offer_id, rider_id, driver_id, product,
    pickup_latitude, pickup_longitude, dropoff_latitude, dropoff_longitude,
    fare_minor, fare_currency, pickup_duration_ms, pickup_distance_m, expires_at,
    seats, beside_trip_id, shared, stop_order
)
ORDER BY trip_id
ON CONFLICT (trip_id) DO UPDATE SET
    offer_id           = excluded.offer_id,
    rider_id           = excluded.rider_id,
    driver_id          = excluded.driver_id,
    product            = excluded.product,
    pickup_latitude    = excluded.pickup_latitude,
    pickup_longitude   = excluded.pickup_longitude,
    dropoff_latitude   = excluded.dropoff_latitude,
    dropoff_longitude  = excluded.dropoff_longitude,
    fare_minor         = excluded.fare_minor,
    fare_currency      = excluded.fare_currency,
    pickup_duration_ms = excluded.pickup_duration_ms,
    pickup_distance_m  = excluded.pickup_distance_m,
    expires_at         = excluded.expires_at,
    seats              = excluded.seats,
    beside_trip_id     = excluded.beside_trip_id,
    shared             = excluded.shared,
    stop_order         = excluded.stop_order
