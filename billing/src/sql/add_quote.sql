-- add_quote: keeps a price; when it was made and when it ends are the database's to say
-- $1 id, $2 product, $3 tariff version, $4 distance, $5 duration, $6 currency, $7-$12 the lines,
-- $13 total, $14 the platform's share, $15 validity in ms
INSERT INTO fare_quote (
    id, product, tariff_version, distance_meters, duration_ms, currency,
    base_minor, distance_minor, time_minor, minimum_top_up_minor, booking_fee_minor, tax_minor,
    total_minor, platform_share_basis_points, created_at, expires_at
)
VALUES (
    $1, $2, $3, $4, $5, $6,
    $7, $8, $9, $10, $11, $12,
    $13, $14, now(), now() + $15::bigint * interval '1 millisecond'
)
RETURNING expires_at
