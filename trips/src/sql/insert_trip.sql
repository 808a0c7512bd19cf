-- insert_trip: the first version of a trip. A second live trip of the rider violates
-- trip_one_live_per_rider; a request of the same rider that commits first is waited for.
INSERT INTO trip (
    trip_id, version, state, rider_id, product,
    pickup_latitude, pickup_longitude, dropoff_latitude, dropoff_longitude,
    fare_minor, fare_currency, distance_m, duration_ms,
    payment_state, pin, reservation_id, search_until, created_at, updated_at, seats,
    cancellation_fee_minor, no_show_fee_minor, pickup_at, release_at, fare_quote_id,
    pay_in_cash, stops, tariff_version, surge_percent, traceparent
) VALUES (
    $1, $2, $3, $4, $5,
    $6, $7, $8, $9,
    $10, $11, $12, $13,
    $14, $15, $16, $17, $18, $18, $19,
    $20, $21, $22, $23, $24, $25, $26, $27, $28, $29
)
