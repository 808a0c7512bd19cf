-- What makes a ride cheaper for its rider: promotions, and credit they were given. The platform bears
-- both; drivers earn what they would without.

-- Promotions that operators have put. A trip keeps the terms it was given.
CREATE TABLE promotion (
    -- What riders type in, in capitals.
    code            text        NOT NULL CONSTRAINT promotion_pkey PRIMARY KEY,
    -- ISO 4217; of the amounts, and of the fares it is for.
    currency        text        NOT NULL
        CONSTRAINT promotion_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$'),
    -- How much it takes off; or else
    amount_minor    bigint      CONSTRAINT promotion_amount_takes_something CHECK (amount_minor > 0),
    -- which part of the fare, percent.
    percent         integer     CONSTRAINT promotion_percent_is_a_part CHECK (percent BETWEEN 1 AND 100),
    -- How much it takes off at most.
    cap_minor       bigint      CONSTRAINT promotion_cap_is_not_negative CHECK (cap_minor >= 0),
    -- On how many rides one rider may have it.
    rides_per_rider integer     NOT NULL
        CONSTRAINT promotion_rides_are_not_negative CHECK (rides_per_rider >= 0),
    -- From when on it may be applied.
    valid_from      timestamptz NOT NULL,
    -- Until when; itself not included.
    valid_to        timestamptz NOT NULL,
    -- Who put it last: their role and id.
    put_by          text        NOT NULL,
    -- When.
    put_at          timestamptz NOT NULL,
    CONSTRAINT promotion_is_amount_or_percent CHECK ((amount_minor IS NULL) <> (percent IS NULL)),
    CONSTRAINT promotion_ends_later CHECK (valid_to > valid_from)
);

-- On how many rides a rider has a promotion. The limit is kept by a guarded update of this one row.
CREATE TABLE promotion_rider (
    -- Who.
    rider_id text    NOT NULL,
    -- Which promotion.
    code     text    NOT NULL,
    -- How many rides, without those that were called off for nothing.
    rides    integer NOT NULL CONSTRAINT promotion_rider_rides_are_not_negative CHECK (rides >= 0),
    CONSTRAINT promotion_rider_pkey PRIMARY KEY (rider_id, code)
);

-- The promotion of the trip and its terms as they were when it was applied; all null without one.
ALTER TABLE trip_charge ADD COLUMN promotion_code text;
ALTER TABLE trip_charge ADD COLUMN promotion_amount_minor bigint;
ALTER TABLE trip_charge ADD COLUMN promotion_percent integer;
ALTER TABLE trip_charge ADD COLUMN promotion_cap_minor bigint;
ALTER TABLE trip_charge ADD CONSTRAINT trip_charge_promotion_has_terms CHECK (
    (promotion_code IS NOT NULL)
    = (promotion_amount_minor IS NOT NULL OR promotion_percent IS NOT NULL)
);

-- What a promotion took off the lines.
ALTER TABLE receipt ADD COLUMN promotion_minor bigint NOT NULL DEFAULT 0
    CONSTRAINT receipt_promotion_is_not_negative CHECK (promotion_minor >= 0);
-- How much of the total was paid with credit.
ALTER TABLE receipt ADD COLUMN credit_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE receipt ADD CONSTRAINT receipt_credit_within_total
    CHECK (credit_minor BETWEEN 0 AND total_minor);
ALTER TABLE receipt DROP CONSTRAINT receipt_lines_sum_to_total;
ALTER TABLE receipt ADD CONSTRAINT receipt_lines_sum_to_total CHECK (
    base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
    night_minor + extra_stop_minor + surge_minor + cancellation_fee_minor + no_show_fee_minor +
    zone_fee_minor + booking_fee_minor + tax_minor - promotion_minor = total_minor
);
ALTER TABLE receipt DROP CONSTRAINT receipt_shares_sum_to_total;
ALTER TABLE receipt ADD CONSTRAINT receipt_shares_sum_to_total CHECK (
    driver_share_minor >= 0 AND platform_share_minor >= 0
    AND driver_share_minor + platform_share_minor + tax_minor - promotion_minor = total_minor
);

-- What of the promotion was taken back with the refund.
ALTER TABLE refund ADD COLUMN promotion_minor bigint NOT NULL DEFAULT 0
    CONSTRAINT refund_promotion_is_not_negative CHECK (promotion_minor >= 0);
-- How much of it was given back as credit.
ALTER TABLE refund ADD COLUMN credit_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE refund ADD CONSTRAINT refund_credit_within_total
    CHECK (credit_minor BETWEEN 0 AND total_minor);
ALTER TABLE refund DROP CONSTRAINT refund_lines_sum_to_total;
ALTER TABLE refund ADD CONSTRAINT refund_lines_sum_to_total CHECK (
    base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
    night_minor + extra_stop_minor + surge_minor + cancellation_fee_minor + no_show_fee_minor +
    zone_fee_minor + booking_fee_minor + tax_minor - promotion_minor = total_minor
);
ALTER TABLE refund DROP CONSTRAINT refund_shares_sum_to_total;
ALTER TABLE refund ADD CONSTRAINT refund_shares_sum_to_total CHECK (
    driver_share_minor >= 0 AND platform_share_minor >= 0
    AND driver_share_minor + platform_share_minor + tax_minor - promotion_minor = total_minor
);

-- Credit that was given to riders. Never changed.
CREATE TABLE credit (
    -- To whom.
    rider_id     text        NOT NULL,
    -- Names it; its entry is about it.
    credit_id    uuid        NOT NULL,
    -- ISO 4217.
    currency     text        NOT NULL
        CONSTRAINT credit_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$'),
    -- How much.
    amount_minor bigint      NOT NULL CONSTRAINT credit_gives_something CHECK (amount_minor > 0),
    -- Why, in the words of whoever gave it.
    reason       text        NOT NULL,
    -- Who gave it: their role and id.
    made_by      text        NOT NULL,
    -- When.
    granted_at   timestamptz NOT NULL,
    CONSTRAINT credit_pkey PRIMARY KEY (rider_id, credit_id)
);

ALTER TABLE idempotency DROP CONSTRAINT idempotency_scope_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_scope_is_known CHECK (
    scope IN ('authorize', 'capture', 'void', 'refund', 'tip', 'payout', 'credit')
);

GRANT SELECT, INSERT ON credit TO jitney_billing;
REVOKE UPDATE, DELETE, TRUNCATE ON credit FROM PUBLIC, jitney_billing;
GRANT SELECT, INSERT, UPDATE ON promotion, promotion_rider TO jitney_billing;
REVOKE DELETE, TRUNCATE ON promotion, promotion_rider FROM PUBLIC, jitney_billing;
