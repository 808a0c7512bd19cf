-- add_quote: keeps a price; when it was made and when it ends are the database's to say, which was asked
-- $1 id, $2 product, $3 tariff version, $4 distance, $5 duration, $6 currency, $7 the lines, in the
-- order of `FareLines`, $8 total, $9 the platform's share, $10 when it was made, $11 when it ends,
-- $12 the surge, $13 the cancellation fee and $14 its tax, $15 the no-show fee and $16 its tax,
-- $17 its signature
INSERT INTO fare_quote (
    id, product, tariff_version, distance_meters, duration_ms, currency,
    base_minor, distance_minor, time_minor, minimum_top_up_minor, waiting_minor, night_minor,
    extra_stop_minor, surge_minor, zone_fee_minor, toll_minor, booking_fee_minor, tax_minor,
    total_minor, platform_share_basis_points, created_at, expires_at, surge_percent,
    cancellation_fee_minor, cancellation_tax_minor, no_show_fee_minor, no_show_tax_minor, signature
)
VALUES (
    $1, $2, $3, $4, $5, $6,
    ($7::bigint[])[1], ($7::bigint[])[2], ($7::bigint[])[3], ($7::bigint[])[4], ($7::bigint[])[5],
    ($7::bigint[])[6], ($7::bigint[])[7], ($7::bigint[])[8], ($7::bigint[])[11], ($7::bigint[])[12],
    ($7::bigint[])[13], ($7::bigint[])[14],
    $8, $9, $10, $11, $12,
    $13, $14, $15, $16, $17
)
