-- What billing tells of trips' money, once and in order.

-- The version of the payment that payment_state is from: that of the last event of billing's that was
-- applied, or of its last answer. 0 for a trip of which billing has told nothing with a version.
ALTER TABLE trip ADD COLUMN payment_version bigint NOT NULL DEFAULT 0;
ALTER TABLE trip ADD CONSTRAINT trip_payment_version_counts CHECK (payment_version >= 0);

-- Events of other services that were taken in; written in the statement of their effect.
CREATE TABLE inbox (
    -- The event, by the id that its service gave it.
    event_id uuid NOT NULL CONSTRAINT inbox_pkey PRIMARY KEY,
    -- Whose it is, for example `billing`.
    source text NOT NULL,
    -- When it was taken in, by the database's clock.
    received_at timestamptz NOT NULL
);
-- Old ones are purged: far behind them, versions tell what is old.
CREATE INDEX inbox_by_age ON inbox (received_at);
