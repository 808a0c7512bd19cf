-- capture_facts: what of a charge never changes and its capture is planned from
-- $1 trip
SELECT
    charge.rider_id, charge.currency, charge.authorised, quote.platform_share_basis_points,
    quote.base_minor, quote.distance_minor, quote.time_minor, quote.minimum_top_up_minor,
    quote.booking_fee_minor, quote.tax_minor
FROM trip_charge AS charge
JOIN fare_quote AS quote ON quote.id = charge.quote_id
WHERE charge.trip_id = $1
