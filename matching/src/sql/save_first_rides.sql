-- save_first_rides: drivers' live trips, each the first of two; a null trip is none
UPDATE driver SET
    trip_id = ride.trip_id, leg = ride.leg, trip_since = ride.trip_since,
    pickup_latitude = ride.pickup_latitude, pickup_longitude = ride.pickup_longitude,
    dropoff_latitude = ride.dropoff_latitude, dropoff_longitude = ride.dropoff_longitude,
    seats = ride.seats, shares = ride.shares, boarded_at = ride.boarded_at,
    stops_left = coalesce(ride.stops_left, 0), saved_at = now()
FROM unnest(
    $1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::double precision[],
    $6::double precision[], $7::double precision[], $8::double precision[], $9::int[], $10::boolean[],
    $11::timestamptz[], $12::int[]
) AS ride (
    driver_id, trip_id, leg, trip_since, pickup_latitude, pickup_longitude, dropoff_latitude,
    dropoff_longitude, seats, shares, boarded_at, stops_left
)
WHERE driver.driver_id = ride.driver_id
