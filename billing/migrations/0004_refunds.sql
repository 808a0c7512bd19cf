-- All the accounts money may lie in, and money that is given back. Constraints are only widened: what
-- was right under them still is.

ALTER TABLE posting DROP CONSTRAINT posting_account_is_known;
ALTER TABLE posting ADD CONSTRAINT posting_account_is_known CHECK (
    account IN ('rider_receivable', 'rider_credit', 'driver_payable', 'driver_cash_due',
                'platform_revenue', 'tax_payable', 'psp_clearing', 'payout_in_transit',
                'promo_expense', 'chargeback_loss', 'rounding')
);
ALTER TABLE posting DROP CONSTRAINT posting_owner_of_personal_account;
ALTER TABLE posting ADD CONSTRAINT posting_owner_of_personal_account CHECK (
    (account IN ('rider_receivable', 'rider_credit', 'driver_payable', 'driver_cash_due'))
    = (owner_id IS NOT NULL)
);
ALTER TABLE account_balance DROP CONSTRAINT account_balance_account_is_personal;
ALTER TABLE account_balance ADD CONSTRAINT account_balance_account_is_personal CHECK (
    account IN ('rider_receivable', 'rider_credit', 'driver_payable', 'driver_cash_due')
);

-- What an entry is about is a trip, a payout or a credit: `trip_id` holds its id, whichever it is. The
-- ledger check looks for it where it belongs.
ALTER TABLE journal_entry DROP CONSTRAINT journal_entry_trip_id_fkey;
ALTER TABLE journal_entry DROP CONSTRAINT journal_entry_kind_is_known;
ALTER TABLE journal_entry ADD CONSTRAINT journal_entry_kind_is_known CHECK (
    kind IN ('CAPTURE', 'REFUND', 'TIP', 'PAYOUT', 'PAYOUT_SETTLED', 'PAYOUT_FAILED', 'CREDIT')
);

-- How often something was given back; numbers the next refund.
ALTER TABLE trip_charge ADD COLUMN refunds integer NOT NULL DEFAULT 0
    CONSTRAINT trip_charge_refunds_are_counted CHECK (refunds >= 0);

-- What was given back of a fare, each time. Never changed.
CREATE TABLE refund (
    -- The trip.
    trip_id                uuid        NOT NULL
        CONSTRAINT refund_trip_id_fkey REFERENCES trip_charge (trip_id),
    -- Which one of the trip's, from 1; its entry has the same number.
    seq                    integer     NOT NULL CONSTRAINT refund_seq_is_positive CHECK (seq > 0),
    -- ISO 4217.
    currency               text        NOT NULL,
    -- What of each line of the receipt.
    base_minor             bigint      NOT NULL,
    distance_minor         bigint      NOT NULL,
    time_minor             bigint      NOT NULL,
    minimum_top_up_minor   bigint      NOT NULL,
    waiting_minor          bigint      NOT NULL,
    night_minor            bigint      NOT NULL,
    extra_stop_minor       bigint      NOT NULL,
    surge_minor            bigint      NOT NULL,
    cancellation_fee_minor bigint      NOT NULL,
    no_show_fee_minor      bigint      NOT NULL,
    zone_fee_minor         bigint      NOT NULL,
    booking_fee_minor      bigint      NOT NULL,
    tax_minor              bigint      NOT NULL,
    -- What the rider gets back.
    total_minor            bigint      NOT NULL CONSTRAINT refund_gives_something CHECK (total_minor > 0),
    -- What of it the driver gives.
    driver_share_minor     bigint      NOT NULL,
    -- What of it the platform gives.
    platform_share_minor   bigint      NOT NULL,
    -- Why, in the words of whoever gave it back.
    reason                 text        NOT NULL,
    -- Who gave it back: their role and id.
    made_by                text        NOT NULL,
    -- When.
    refunded_at            timestamptz NOT NULL,
    CONSTRAINT refund_pkey PRIMARY KEY (trip_id, seq),
    CONSTRAINT refund_lines_are_not_negative CHECK (
        base_minor >= 0 AND distance_minor >= 0 AND time_minor >= 0 AND minimum_top_up_minor >= 0
        AND waiting_minor >= 0 AND night_minor >= 0 AND extra_stop_minor >= 0 AND surge_minor >= 0
        AND cancellation_fee_minor >= 0 AND no_show_fee_minor >= 0 AND zone_fee_minor >= 0
        AND booking_fee_minor >= 0 AND tax_minor >= 0
    ),
    CONSTRAINT refund_lines_sum_to_total CHECK (
        base_minor + distance_minor + time_minor + minimum_top_up_minor + waiting_minor +
        night_minor + extra_stop_minor + surge_minor + cancellation_fee_minor + no_show_fee_minor +
        zone_fee_minor + booking_fee_minor + tax_minor = total_minor
    ),
    CONSTRAINT refund_shares_sum_to_total CHECK (
        driver_share_minor >= 0 AND platform_share_minor >= 0
        AND driver_share_minor + platform_share_minor + tax_minor = total_minor
    )
);

ALTER TABLE idempotency DROP CONSTRAINT idempotency_scope_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_scope_is_known CHECK (
    scope IN ('authorize', 'capture', 'void', 'refund')
);
ALTER TABLE idempotency DROP CONSTRAINT idempotency_outcome_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_outcome_is_known CHECK (
    outcome IN ('DONE', 'ALREADY_HELD', 'QUOTE_EXPIRED', 'DECLINED', 'HOLD_NOT_OPEN', 'ABOVE_HOLD',
                'ABOVE_CAPTURED')
);

GRANT SELECT, INSERT ON refund TO jitney_billing;
REVOKE UPDATE, DELETE, TRUNCATE ON refund FROM PUBLIC, jitney_billing;
