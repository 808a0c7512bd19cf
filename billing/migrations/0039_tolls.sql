-- Tolls: what roads and bridges on the way cost. The driver pays them and gets them back, as with zones.

ALTER TABLE fare_quote ADD COLUMN toll_minor bigint NOT NULL DEFAULT 0
    CONSTRAINT fare_quote_toll_is_not_negative CHECK (toll_minor >= 0);
ALTER TABLE fare_quote DROP CONSTRAINT fare_quote_lines_sum_to_total;
ALTER TABLE fare_quote ADD CONSTRAINT fare_quote_lines_sum_to_total CHECK (
    base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
    night_minor + extra_stop_minor + surge_minor + zone_fee_minor + toll_minor + booking_fee_minor +
    tax_minor = total_minor
);

ALTER TABLE receipt ADD COLUMN toll_minor bigint NOT NULL DEFAULT 0
    CONSTRAINT receipt_toll_is_not_negative CHECK (toll_minor >= 0);
ALTER TABLE receipt DROP CONSTRAINT receipt_lines_sum_to_total;
ALTER TABLE receipt ADD CONSTRAINT receipt_lines_sum_to_total CHECK (
    base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
    night_minor + extra_stop_minor + surge_minor + cancellation_fee_minor + no_show_fee_minor +
    zone_fee_minor + toll_minor + booking_fee_minor + tax_minor - promotion_minor = total_minor
);

ALTER TABLE refund ADD COLUMN toll_minor bigint NOT NULL DEFAULT 0
    CONSTRAINT refund_toll_is_not_negative CHECK (toll_minor >= 0);
ALTER TABLE refund DROP CONSTRAINT refund_lines_sum_to_total;
ALTER TABLE refund ADD CONSTRAINT refund_lines_sum_to_total CHECK (
    base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
    night_minor + extra_stop_minor + surge_minor + cancellation_fee_minor + no_show_fee_minor +
    zone_fee_minor + toll_minor + booking_fee_minor + tax_minor - promotion_minor = total_minor
);
