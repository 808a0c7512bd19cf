-- Rides that are paid in cash, to the driver. The driver keeps it and owes the platform what is not
-- theirs. A fee of such a rider is paid with their next ride.

-- How the rider pays.
ALTER TABLE trip_charge ADD COLUMN payment_method text NOT NULL DEFAULT 'CARD'
    CONSTRAINT trip_charge_payment_method_is_known CHECK (payment_method IN ('CARD', 'CASH'));

-- How the rider paid.
ALTER TABLE receipt ADD COLUMN payment_method text NOT NULL DEFAULT 'CARD'
    CONSTRAINT receipt_payment_method_is_known CHECK (payment_method IN ('CARD', 'CASH'));
-- How much the driver took in cash.
ALTER TABLE receipt ADD COLUMN cash_minor bigint NOT NULL DEFAULT 0
    CONSTRAINT receipt_cash_is_not_negative CHECK (cash_minor >= 0);
-- Earlier fees that were paid with this ride, on top of the total.
ALTER TABLE receipt ADD COLUMN dues_minor bigint NOT NULL DEFAULT 0
    CONSTRAINT receipt_dues_are_not_negative CHECK (dues_minor >= 0);
-- How much of the total is to be paid with the next ride.
ALTER TABLE receipt ADD COLUMN carried_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE receipt ADD CONSTRAINT receipt_carries_what_nobody_paid
    CHECK (carried_minor BETWEEN 0 AND total_minor - credit_minor);
ALTER TABLE receipt ADD CONSTRAINT receipt_cash_is_what_is_left CHECK (
    cash_minor = 0
    OR (payment_method = 'CASH' AND carried_minor = 0
        AND cash_minor = total_minor - credit_minor + dues_minor)
);

-- How much of it had been carried and is not to be paid any more.
ALTER TABLE refund ADD COLUMN dues_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE refund ADD CONSTRAINT refund_dues_within_total
    CHECK (dues_minor BETWEEN 0 AND total_minor - credit_minor);

-- What a rider has to pay with their next ride: what receipts carried, less what later ones took and
-- refunds lifted. Part of what `rider_receivable` says they owe.
CREATE TABLE rider_dues (
    -- Who.
    rider_id  text   NOT NULL,
    -- ISO 4217.
    currency  text   NOT NULL,
    -- How much.
    due_minor bigint NOT NULL CONSTRAINT rider_dues_are_not_negative CHECK (due_minor >= 0),
    CONSTRAINT rider_dues_pkey PRIMARY KEY (rider_id, currency)
);

GRANT SELECT, INSERT, UPDATE ON rider_dues TO jitney_billing;
REVOKE DELETE, TRUNCATE ON rider_dues FROM PUBLIC, jitney_billing;
