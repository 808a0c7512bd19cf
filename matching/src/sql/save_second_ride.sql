-- save_second_ride: the ride beside a driver's first, in the place of what was there
INSERT INTO second_ride (
    driver_id, trip_id, leg, trip_since,
    pickup_latitude, pickup_longitude, dropoff_latitude, dropoff_longitude,
    seats, shares, boarded_at, stops_left, shared, stop_order
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (driver_id) DO UPDATE SET
    trip_id           = excluded.trip_id,
    leg               = excluded.leg,
    trip_since        = excluded.trip_since,
    pickup_latitude   = excluded.pickup_latitude,
    pickup_longitude  = excluded.pickup_longitude,
    dropoff_latitude  = excluded.dropoff_latitude,
    dropoff_longitude = excluded.dropoff_longitude,
    seats             = excluded.seats,
    shares            = excluded.shares,
    boarded_at        = excluded.boarded_at,
    stops_left        = excluded.stops_left,
    shared            = excluded.shared,
    stop_order        = excluded.stop_order
