-- Payouts: what drivers are owed sets out to them, and arrives or comes back.

CREATE TABLE payout (
    -- Whose.
    driver_id    text        NOT NULL,
    -- Names it; its entries are about it.
    payout_id    uuid        NOT NULL,
    -- ISO 4217.
    currency     text        NOT NULL
        CONSTRAINT payout_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$'),
    -- How much sets out.
    amount_minor bigint      NOT NULL CONSTRAINT payout_pays_something CHECK (amount_minor > 0),
    -- How much of the cash they owed was kept back for it, on top.
    dues_minor   bigint      NOT NULL CONSTRAINT payout_dues_are_not_negative CHECK (dues_minor >= 0),
    -- OPEN is on its way; SETTLED arrived; FAILED came back.
    state        text        NOT NULL
        CONSTRAINT payout_state_is_known CHECK (state IN ('OPEN', 'SETTLED', 'FAILED')),
    -- Why it came back.
    reason       text,
    -- Who sent it: their role and id.
    made_by      text        NOT NULL,
    -- When.
    created_at   timestamptz NOT NULL,
    -- When it arrived or came back.
    closed_at    timestamptz,
    CONSTRAINT payout_pkey PRIMARY KEY (driver_id, payout_id),
    CONSTRAINT payout_closed_once_not_open CHECK ((state = 'OPEN') = (closed_at IS NULL)),
    CONSTRAINT payout_reason_once_failed CHECK ((state = 'FAILED') = (reason IS NOT NULL))
);

-- One at a time: two at once would each find the same money owed.
CREATE UNIQUE INDEX payout_one_open_per_driver ON payout (driver_id) WHERE state = 'OPEN';
-- A driver's, newest first.
CREATE INDEX payout_by_driver ON payout (driver_id, created_at, payout_id);
-- Everybody's, newest first.
CREATE INDEX payout_by_time ON payout (created_at, payout_id);

ALTER TABLE idempotency DROP CONSTRAINT idempotency_scope_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_scope_is_known CHECK (
    scope IN ('authorize', 'capture', 'void', 'refund', 'tip', 'payout')
);
ALTER TABLE idempotency DROP CONSTRAINT idempotency_outcome_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_outcome_is_known CHECK (
    outcome IN ('DONE', 'ALREADY_HELD', 'QUOTE_EXPIRED', 'DECLINED', 'HOLD_NOT_OPEN', 'ABOVE_HOLD',
                'ABOVE_CAPTURED', 'TIP_TOO_HIGH', 'TIP_TOO_LATE', 'PAYOUT_OPEN', 'ABOVE_OWED')
);

GRANT SELECT, INSERT, UPDATE ON payout TO jitney_billing;
REVOKE DELETE, TRUNCATE ON payout FROM PUBLIC, jitney_billing;
