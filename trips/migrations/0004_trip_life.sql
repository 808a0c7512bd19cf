-- What a ride costs that ends before it has begun.

-- What calling it off late, and not coming, would cost, minor units of the fare's currency, tax included.
ALTER TABLE quote ADD COLUMN cancellation_fee_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE quote ADD COLUMN no_show_fee_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE quote ADD CONSTRAINT quote_fees_not_negative CHECK (
    cancellation_fee_minor >= 0 AND no_show_fee_minor >= 0);
ALTER TABLE trip ADD COLUMN cancellation_fee_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE trip ADD COLUMN no_show_fee_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE trip ADD CONSTRAINT trip_fees_not_negative CHECK (
    cancellation_fee_minor >= 0 AND no_show_fee_minor >= 0);

-- Which of the two the trip's end cost: NONE, CANCELLATION, NO_SHOW. Billing takes it of the hold.
ALTER TABLE trip ADD COLUMN fee text NOT NULL DEFAULT 'NONE';
ALTER TABLE trip ADD CONSTRAINT trip_fee_known CHECK (fee IN ('NONE', 'CANCELLATION', 'NO_SHOW'));
ALTER TABLE trip ADD CONSTRAINT trip_fee_of_its_end CHECK (
    fee = 'NONE' OR (fee = 'CANCELLATION' AND state = 'CANCELLED') OR (fee = 'NO_SHOW' AND state = 'NO_SHOW'));

-- How long the driver would need to the pick-up, milliseconds; null for offers made before this was kept.
ALTER TABLE offer ADD COLUMN pickup_duration_ms bigint;
-- When the driver was to be at the pick-up, as reckoned when they took the trip. A rider whose driver is
-- late calls the ride off for nothing.
ALTER TABLE trip ADD COLUMN pickup_due_at timestamptz;
