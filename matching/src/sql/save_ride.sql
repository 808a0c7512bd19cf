-- save_ride: a trip is this driver's, unless the row names a trip that was given to them later
-- The row is locked until the event's version is committed with it. Places that are not said stay as
-- they were if the trip is the same.
INSERT INTO driver (
    driver_id, trip_id, leg, trip_since,
    pickup_latitude, pickup_longitude, dropoff_latitude, dropoff_longitude
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (driver_id) DO UPDATE SET
    trip_id           = excluded.trip_id,
    leg               = excluded.leg,
    trip_since        = CASE WHEN driver.trip_id = excluded.trip_id THEN driver.trip_since ELSE excluded.trip_since END,
    pickup_latitude   = CASE WHEN driver.trip_id = excluded.trip_id AND excluded.pickup_latitude IS NULL
                             THEN driver.pickup_latitude ELSE excluded.pickup_latitude END,
    pickup_longitude  = CASE WHEN driver.trip_id = excluded.trip_id AND excluded.pickup_latitude IS NULL
                             THEN driver.pickup_longitude ELSE excluded.pickup_longitude END,
    dropoff_latitude  = CASE WHEN driver.trip_id = excluded.trip_id AND excluded.pickup_latitude IS NULL
                             THEN driver.dropoff_latitude ELSE excluded.dropoff_latitude END,
    dropoff_longitude = CASE WHEN driver.trip_id = excluded.trip_id AND excluded.pickup_latitude IS NULL
                             THEN driver.dropoff_longitude ELSE excluded.dropoff_longitude END,
    saved_at          = now()
WHERE driver.trip_id IS NULL
   OR driver.trip_id = excluded.trip_id
   OR driver.trip_since <= excluded.trip_since
