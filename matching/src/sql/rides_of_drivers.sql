-- rides_of_drivers: the live rides of drivers whose rows are locked ($1)
-- A statement of its own: it has to see what lock_drivers has waited for, also of the ride beside the first.
SELECT d.driver_id,
       d.trip_id, d.leg, d.trip_since,
       d.pickup_latitude, d.pickup_longitude, d.dropoff_latitude, d.dropoff_longitude,
       d.seats, d.shares, d.boarded_at, d.stops_left,
       s.trip_id AS second_trip_id, s.leg AS second_leg, s.trip_since AS second_trip_since,
       s.pickup_latitude AS second_pickup_latitude, s.pickup_longitude AS second_pickup_longitude,
       s.dropoff_latitude AS second_dropoff_latitude, s.dropoff_longitude AS second_dropoff_longitude,
       s.seats AS second_seats, s.shares AS second_shares, s.boarded_at AS second_boarded_at,
       s.stops_left AS second_stops_left,
       s.shared, s.stop_order
FROM driver d LEFT JOIN second_ride s ON s.driver_id = d.driver_id
WHERE d.driver_id = ANY ($1)
