-- list_trips_of_driver: a page of a driver's trips, newest first; index trip_by_driver. The page begins
-- after the trip that $2 and $3 name.
SELECT t.trip_id, t.version, t.state, t.rider_id, t.driver_id, t.driver_plate, t.driver_vehicle,
    t.offer_id, t.product, t.pickup_latitude, t.pickup_longitude, t.dropoff_latitude,
    t.dropoff_longitude, t.fare_minor, t.fare_currency, t.distance_m, t.duration_ms, t.payment_state,
    t.pin, t.wrong_pins, t.reservation_id, t.search_until, t.cancelled_by, t.end_reason, t.created_at,
    t.updated_at, t.assigned_at, t.arrived_at, t.started_at, t.ended_at, t.seats, t.cancellation_fee_minor, t.no_show_fee_minor, t.fee,
    t.pickup_due_at, t.pickup_at, t.release_at, t.fare_quote_id,
    t.pay_in_cash, t.stops,
    t.tariff_version, t.surge_percent, t.driven_m, t.final_fare_minor, t.final_quote_id,
    t.price_quote_id, t.traceparent,
    o.driver_id AS offer_driver_id, o.expires_at AS offer_expires_at, o.state AS offer_state,
    o.beside_trip_id AS offer_beside_trip_id, o.shared AS offer_shared,
    o.pickup_duration_ms AS offer_pickup_duration_ms
FROM trip t LEFT JOIN offer o ON o.offer_id = t.offer_id
WHERE t.driver_id = $5
    AND ($1::text[] IS NULL OR t.state = ANY ($1))
    AND ($2::timestamptz IS NULL OR (t.created_at, t.trip_id) < ($2, $3))
ORDER BY t.created_at DESC, t.trip_id DESC
LIMIT $4
