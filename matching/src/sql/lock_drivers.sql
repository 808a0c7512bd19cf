-- lock_drivers: some drivers ($1) and all who are thought to have some trips ($2), as first or second ride;
-- their rows stay locked until the events are committed
SELECT driver_id
FROM driver
-- An array, since one is looked up by the key however many drivers there were when this was planned.
WHERE driver_id = ANY (ARRAY(
    SELECT unnest($1::text[])
    UNION SELECT driver_id FROM driver WHERE trip_id = ANY($2)
    UNION SELECT driver_id FROM second_ride WHERE trip_id = ANY($2)
))
ORDER BY driver_id FOR UPDATE
