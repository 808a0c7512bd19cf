-- Chargebacks: payments that riders had their bank take back.

-- What was taken back of the trip's payments and not won, and how often; numbers the next one.
ALTER TABLE trip_charge ADD COLUMN charged_back bigint NOT NULL DEFAULT 0
    CONSTRAINT trip_charge_charged_back_is_not_negative CHECK (charged_back >= 0);
ALTER TABLE trip_charge ADD COLUMN chargebacks integer NOT NULL DEFAULT 0
    CONSTRAINT trip_charge_chargebacks_are_counted CHECK (chargebacks >= 0);

CREATE TABLE chargeback (
    -- The provider's name for the dispute.
    dispute_id   text        NOT NULL CONSTRAINT chargeback_pkey PRIMARY KEY,
    -- The trip whose payment it is about.
    trip_id      uuid        NOT NULL
        CONSTRAINT chargeback_trip_id_fkey REFERENCES trip_charge (trip_id),
    -- Which one of the trip's, from 1; its entries have the same number.
    seq          integer     NOT NULL CONSTRAINT chargeback_seq_is_positive CHECK (seq > 0),
    -- ISO 4217.
    currency     text        NOT NULL,
    -- How much was taken back.
    amount_minor bigint      NOT NULL CONSTRAINT chargeback_takes_something CHECK (amount_minor > 0),
    -- OPEN is disputed; WON was given to us; LOST stays lost.
    state        text        NOT NULL
        CONSTRAINT chargeback_state_is_known CHECK (state IN ('OPEN', 'WON', 'LOST')),
    -- Who told us first: their role and id, or the provider.
    recorded_by  text        NOT NULL,
    -- When we heard of it.
    opened_at    timestamptz NOT NULL,
    -- When we heard of its end.
    closed_at    timestamptz,
    CONSTRAINT chargeback_closed_once_not_open CHECK ((state = 'OPEN') = (closed_at IS NULL))
);
CREATE INDEX chargeback_by_trip ON chargeback (trip_id);

GRANT SELECT, INSERT, UPDATE ON chargeback TO jitney_billing;
REVOKE DELETE, TRUNCATE ON chargeback FROM PUBLIC, jitney_billing;
