-- get_quote: a kept price, all of it
-- $1 id
SELECT
    quote.id AS quote_id, quote.product, quote.tariff_version, quote.distance_meters, quote.duration_ms,
    quote.currency AS quote_currency, quote.total_minor, quote.platform_share_basis_points,
    quote.surge_percent::bigint, quote.cancellation_fee_minor, quote.cancellation_tax_minor,
    quote.no_show_fee_minor, quote.no_show_tax_minor, quote.created_at AS quoted_at,
    quote.expires_at AS quote_expires_at, quote.signature,
    -- In the order of `FareLines`.
    ARRAY[
        quote.base_minor, quote.distance_minor, quote.time_minor, quote.minimum_top_up_minor,
        quote.waiting_minor, quote.night_minor, quote.extra_stop_minor, quote.surge_minor,
        0::bigint, 0::bigint, quote.zone_fee_minor, quote.toll_minor,
        quote.booking_fee_minor, quote.tax_minor
    ] AS lines
FROM fare_quote AS quote
WHERE quote.id = $1
