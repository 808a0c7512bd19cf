-- store_tariff: keeps a tariff, or gives the hash of the one that is kept under its version
-- $1 version, $2 body, $3 hash, $4 effective from
WITH stored AS (
    INSERT INTO tariff (version, body, hash, effective_from)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (version) DO NOTHING
    RETURNING hash
)
SELECT hash FROM stored
UNION ALL
-- Empty when the row was made a moment ago by another process; asked again, it is there.
SELECT hash FROM tariff WHERE version = $1
