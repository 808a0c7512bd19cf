-- save_drivers: what the fleet says of drivers, each part kept only if it is newer than the row's
-- Rows come in the order of their ids, so that two savers lock them in the same order. The live trip is
-- not touched: that is written with the trip event it came from.
INSERT INTO driver (
    driver_id, products, plate, vehicle, available, shift_no, latitude, longitude, heading, located_at,
    destination_latitude, destination_longitude
)
SELECT driver_id, string_to_array(products, ','), plate, vehicle, available, shift_no,
       latitude, longitude, heading, located_at, destination_latitude, destination_longitude
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::bigint[],
    $7::double precision[], $8::double precision[], $9::real[], $10::timestamptz[],
    $11::double precision[], $12::double precision[]
) AS said (
    driver_id, products, plate, vehicle, available, shift_no, latitude, longitude, heading, located_at,
    destination_latitude, destination_longitude
)
ORDER BY driver_id
ON CONFLICT (driver_id) DO UPDATE SET
    products   = CASE WHEN excluded.shift_no >= driver.shift_no THEN excluded.products ELSE driver.products END,
    plate      = CASE WHEN excluded.shift_no >= driver.shift_no THEN excluded.plate ELSE driver.plate END,
    vehicle    = CASE WHEN excluded.shift_no >= driver.shift_no THEN excluded.vehicle ELSE driver.vehicle END,
    available  = CASE WHEN excluded.shift_no >= driver.shift_no THEN excluded.available ELSE driver.available END,
    destination_latitude = CASE WHEN excluded.shift_no >= driver.shift_no
                                THEN excluded.destination_latitude ELSE driver.destination_latitude END,
    destination_longitude = CASE WHEN excluded.shift_no >= driver.shift_no
                                 THEN excluded.destination_longitude ELSE driver.destination_longitude END,
    shift_no   = greatest(excluded.shift_no, driver.shift_no),
    latitude   = CASE WHEN excluded.located_at >= coalesce(driver.located_at, excluded.located_at)
                      THEN excluded.latitude ELSE driver.latitude END,
    longitude  = CASE WHEN excluded.located_at >= coalesce(driver.located_at, excluded.located_at)
                      THEN excluded.longitude ELSE driver.longitude END,
    heading    = CASE WHEN excluded.located_at >= coalesce(driver.located_at, excluded.located_at)
                      THEN excluded.heading ELSE driver.heading END,
    located_at = greatest(excluded.located_at, driver.located_at),
    saved_at   = now()
