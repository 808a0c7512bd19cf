-- More kinds of fare lines, and what a ride costs that does not take place. Every new column has a default
-- under which the sums of older rows, and those of the version before, are what they were.

-- Per minute that the driver waited.
ALTER TABLE fare_quote ADD COLUMN waiting_minor bigint NOT NULL DEFAULT 0;
-- For riding by night.
ALTER TABLE fare_quote ADD COLUMN night_minor bigint NOT NULL DEFAULT 0;
-- Per stop on the way.
ALTER TABLE fare_quote ADD COLUMN extra_stop_minor bigint NOT NULL DEFAULT 0;
-- For riding when cars are scarce.
ALTER TABLE fare_quote ADD COLUMN surge_minor bigint NOT NULL DEFAULT 0;
-- For the zones it begins and ends in.
ALTER TABLE fare_quote ADD COLUMN zone_fee_minor bigint NOT NULL DEFAULT 0;
-- What scarcity made of the fare, percent; 100 left it.
ALTER TABLE fare_quote ADD COLUMN surge_percent integer NOT NULL DEFAULT 100
    CONSTRAINT fare_quote_surge_adds CHECK (surge_percent >= 100);
-- What calling the ride off late costs, before tax, and the tax.
ALTER TABLE fare_quote ADD COLUMN cancellation_fee_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE fare_quote ADD COLUMN cancellation_tax_minor bigint NOT NULL DEFAULT 0;
-- What not coming costs, before tax, and the tax.
ALTER TABLE fare_quote ADD COLUMN no_show_fee_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE fare_quote ADD COLUMN no_show_tax_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE fare_quote ADD CONSTRAINT fare_quote_fees_are_not_negative CHECK (
    cancellation_fee_minor >= 0 AND cancellation_tax_minor >= 0
    AND no_show_fee_minor >= 0 AND no_show_tax_minor >= 0
);
ALTER TABLE fare_quote DROP CONSTRAINT fare_quote_lines_are_not_negative;
ALTER TABLE fare_quote ADD CONSTRAINT fare_quote_lines_are_not_negative CHECK (
    base_minor >= 0 AND distance_minor >= 0 AND time_minor >= 0 AND minimum_top_up_minor >= 0
    AND waiting_minor >= 0 AND night_minor >= 0 AND extra_stop_minor >= 0 AND surge_minor >= 0
    AND zone_fee_minor >= 0 AND booking_fee_minor >= 0 AND tax_minor >= 0
);
ALTER TABLE fare_quote DROP CONSTRAINT fare_quote_lines_sum_to_total;
ALTER TABLE fare_quote ADD CONSTRAINT fare_quote_lines_sum_to_total CHECK (
    base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
    night_minor + extra_stop_minor + surge_minor + zone_fee_minor + booking_fee_minor +
    tax_minor = total_minor
);

-- Per minute that the driver waited.
ALTER TABLE receipt ADD COLUMN waiting_minor bigint NOT NULL DEFAULT 0;
-- For riding by night.
ALTER TABLE receipt ADD COLUMN night_minor bigint NOT NULL DEFAULT 0;
-- Per stop on the way.
ALTER TABLE receipt ADD COLUMN extra_stop_minor bigint NOT NULL DEFAULT 0;
-- For riding when cars are scarce.
ALTER TABLE receipt ADD COLUMN surge_minor bigint NOT NULL DEFAULT 0;
-- For calling the ride off late.
ALTER TABLE receipt ADD COLUMN cancellation_fee_minor bigint NOT NULL DEFAULT 0;
-- For not coming.
ALTER TABLE receipt ADD COLUMN no_show_fee_minor bigint NOT NULL DEFAULT 0;
-- For the zones it begins and ends in.
ALTER TABLE receipt ADD COLUMN zone_fee_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE receipt DROP CONSTRAINT receipt_lines_are_not_negative;
ALTER TABLE receipt ADD CONSTRAINT receipt_lines_are_not_negative CHECK (
    base_minor >= 0 AND distance_minor >= 0 AND time_minor >= 0 AND minimum_top_up_minor >= 0
    AND waiting_minor >= 0 AND night_minor >= 0 AND extra_stop_minor >= 0 AND surge_minor >= 0
    AND cancellation_fee_minor >= 0 AND no_show_fee_minor >= 0 AND zone_fee_minor >= 0 AND
    booking_fee_minor >= 0 AND tax_minor >= 0
);
ALTER TABLE receipt DROP CONSTRAINT receipt_lines_sum_to_total;
ALTER TABLE receipt ADD CONSTRAINT receipt_lines_sum_to_total CHECK (
    base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
    night_minor + extra_stop_minor + surge_minor + cancellation_fee_minor + no_show_fee_minor +
    zone_fee_minor + booking_fee_minor + tax_minor = total_minor
);
