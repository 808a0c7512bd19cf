-- Tips: what a rider gives the driver on top of the fare.

-- What the tips of the trip add up to.
ALTER TABLE trip_charge ADD COLUMN tipped bigint NOT NULL DEFAULT 0
    CONSTRAINT trip_charge_tipped_is_not_negative CHECK (tipped >= 0);
-- How many there are; numbers the next one.
ALTER TABLE trip_charge ADD COLUMN tips integer NOT NULL DEFAULT 0
    CONSTRAINT trip_charge_tips_are_counted CHECK (tips >= 0);

-- A tip. Never changed.
CREATE TABLE tip (
    -- The trip.
    trip_id      uuid        NOT NULL CONSTRAINT tip_trip_id_fkey REFERENCES trip_charge (trip_id),
    -- Which one of the trip's, from 1; its entry has the same number.
    seq          integer     NOT NULL CONSTRAINT tip_seq_is_positive CHECK (seq > 0),
    -- ISO 4217.
    currency     text        NOT NULL,
    -- How much; all of it is the driver's.
    amount_minor bigint      NOT NULL CONSTRAINT tip_gives_something CHECK (amount_minor > 0),
    -- Who gave it: their role and id. The rider pays, whoever it was.
    made_by      text        NOT NULL,
    -- When.
    tipped_at    timestamptz NOT NULL,
    CONSTRAINT tip_pkey PRIMARY KEY (trip_id, seq)
);

ALTER TABLE idempotency DROP CONSTRAINT idempotency_scope_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_scope_is_known CHECK (
    scope IN ('authorize', 'capture', 'void', 'refund', 'tip')
);

ALTER TABLE idempotency DROP CONSTRAINT idempotency_outcome_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_outcome_is_known CHECK (
    outcome IN ('DONE', 'ALREADY_HELD', 'QUOTE_EXPIRED', 'DECLINED', 'HOLD_NOT_OPEN', 'ABOVE_HOLD',
                'ABOVE_CAPTURED', 'TIP_TOO_HIGH', 'TIP_TOO_LATE')
);

GRANT SELECT, INSERT ON tip TO jitney_billing;
REVOKE UPDATE, DELETE, TRUNCATE ON tip FROM PUBLIC, jitney_billing;
