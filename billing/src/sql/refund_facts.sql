-- refund_facts: what a refund is planned from; no row until the fare is captured
-- $1 trip
SELECT
    receipt.rider_id, receipt.driver_id, charge.captured, charge.refunded, charge.charged_back,
    receipt.promotion_minor, receipt.credit_minor,
    receipt.cash_minor > 0 AS in_cash, quote.platform_share_basis_points,
    -- In the order of `FareLines`.
    ARRAY[
        receipt.base_minor, receipt.distance_minor, receipt.time_minor,
        receipt.minimum_top_up_minor, receipt.waiting_minor, receipt.night_minor,
        receipt.extra_stop_minor, receipt.surge_minor, receipt.cancellation_fee_minor,
        receipt.no_show_fee_minor, receipt.zone_fee_minor, receipt.toll_minor,
        receipt.booking_fee_minor, receipt.tax_minor
    ] AS lines
FROM receipt
JOIN trip_charge AS charge ON charge.trip_id = receipt.trip_id
JOIN fare_quote AS quote ON quote.id = charge.quote_id
WHERE receipt.trip_id = $1
