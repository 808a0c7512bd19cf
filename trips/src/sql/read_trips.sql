-- read_trips: trips and their open or accepted offers, as they stand at one moment, without a lock; and
-- whether another ride of the driver's has to end before this one, as has_earlier_ride says it.
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
    o.pickup_duration_ms AS offer_pickup_duration_ms,
    EXISTS (
        SELECT 1 FROM driver_claims c JOIN driver_claims f ON f.driver_id = c.driver_id AND f.slot = 0
        WHERE c.trip_id = t.trip_id AND c.slot = 1 AND NOT c.shared
    ) AS has_earlier_ride
FROM trip t LEFT JOIN offer o ON o.offer_id = t.offer_id
WHERE t.trip_id = ANY ($1)
