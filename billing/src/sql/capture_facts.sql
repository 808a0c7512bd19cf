-- capture_facts: what of charges never changes and their capture is planned from
-- $1 trips
SELECT
    charge.trip_id, charge.rider_id, charge.authorised, charge.state = 'HELD' AS is_held,
    quote.id AS quote_id, quote.product, quote.tariff_version, quote.distance_meters, quote.duration_ms,
    quote.currency AS quote_currency, quote.total_minor, quote.platform_share_basis_points,
    quote.surge_percent::bigint, quote.cancellation_fee_minor, quote.cancellation_tax_minor,
    quote.no_show_fee_minor, quote.no_show_tax_minor, quote.created_at AS quoted_at,
    quote.expires_at AS quote_expires_at, quote.signature,
    charge.payment_method = 'CASH' AS in_cash,
    coalesce(
        (
            SELECT due_minor FROM rider_dues
            WHERE rider_id = charge.rider_id AND currency = charge.currency
        ),
        0
    ) AS dues_minor,
    charge.promotion_code, charge.promotion_amount_minor, charge.promotion_percent::bigint,
    charge.promotion_cap_minor,
    coalesce(
        (
            SELECT -balance_minor FROM account_balance
            WHERE owner_id = charge.rider_id AND account = 'rider_credit'
                AND currency = charge.currency
        ),
        0
    ) AS credit_minor,
    -- In the order of `FareLines`.
    ARRAY[
        quote.base_minor, quote.distance_minor, quote.time_minor, quote.minimum_top_up_minor,
        quote.waiting_minor, quote.night_minor, quote.extra_stop_minor, quote.surge_minor,
        0::bigint, 0::bigint, quote.zone_fee_minor, quote.toll_minor,
        quote.booking_fee_minor, quote.tax_minor
    ] AS lines
FROM trip_charge AS charge
JOIN fare_quote AS quote ON quote.id = charge.quote_id
WHERE charge.trip_id = ANY($1)
