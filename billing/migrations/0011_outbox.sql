-- What happened to charges is told to the other services: an outbox as trips has one (its 0002), and a
-- version per charge. The table of leases that relays need as well comes with 0030.

-- How often the charge was moved. Every statement that moves one counts on, and writes the event of that
-- version. 0 for one that nobody has moved since this was kept.
ALTER TABLE trip_charge ADD COLUMN version bigint NOT NULL DEFAULT 0;
ALTER TABLE trip_charge ADD CONSTRAINT trip_charge_version_counts CHECK (version >= 0);
-- What the payment provider thinks of it, where that is not what the ledger says: UNKNOWN has had no
-- answer, DECLINED was to be taken and could not be. Null otherwise.
ALTER TABLE trip_charge ADD COLUMN provider_state text;
ALTER TABLE trip_charge ADD CONSTRAINT trip_charge_provider_state_is_known
    CHECK (provider_state IN ('UNKNOWN', 'DECLINED'));

-- The outbox: what has happened and is to be told, written in the transaction that made it happen.
-- Column names follow Debezium's outbox event router.
CREATE TABLE outbox (
    -- The order of events within one transaction.
    seq bigint GENERATED ALWAYS AS IDENTITY,
    -- The transaction that wrote the event. An event may be told once every transaction up to this
    -- one has ended; until then an earlier one could still appear.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- The event's id, by which consumers know it again.
    id uuid NOT NULL CONSTRAINT outbox_pkey PRIMARY KEY,
    -- What kind of thing it happened to, for example `trip`.
    aggregatetype text NOT NULL,
    -- Which of them. Events of one thing are told in the order of their versions.
    aggregateid uuid NOT NULL,
    -- What happened, for example `ASSIGNED`.
    type text NOT NULL,
    -- The thing's version that the event made.
    version bigint NOT NULL,
    -- The charge as it is in that version, as JSON. Only the statement that moves it knows the row, so the
    -- message that others are told is made of this when it is told.
    payload bytea NOT NULL,
    -- When it happened, by the database's clock.
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_by_position ON outbox (xid, seq);

-- How far each consumer has been told: everything up to here was delivered or is parked.
CREATE TABLE outbox_cursor (
    -- The consumer.
    consumer text NOT NULL CONSTRAINT outbox_cursor_pkey PRIMARY KEY,
    -- The position of the last event, as in outbox.
    xid xid8 NOT NULL,
    -- The position of the last event, as in outbox.
    seq bigint NOT NULL
);

-- Events that a consumer would not take, and all later ones of the same thing, which wait for them.
CREATE TABLE outbox_parked (
    -- The consumer.
    consumer text NOT NULL,
    -- The event.
    event_id uuid NOT NULL,
    -- The thing it happened to.
    aggregateid uuid NOT NULL,
    -- The event's position, as in outbox.
    xid xid8 NOT NULL,
    -- The event's position, as in outbox.
    seq bigint NOT NULL,
    -- How often it was tried; 0 for one that waits for another.
    attempts int NOT NULL,
    -- When it is tried next, unless it waits for another.
    next_attempt_at timestamptz NOT NULL,
    -- What went wrong at the last try.
    last_error text,
    CONSTRAINT outbox_parked_pkey PRIMARY KEY (consumer, event_id)
);
CREATE INDEX outbox_parked_by_aggregate ON outbox_parked (consumer, aggregateid);

-- Events are added and, once everybody was told, deleted; they never change.
GRANT SELECT, INSERT, DELETE ON outbox TO jitney_billing;
REVOKE UPDATE, TRUNCATE ON outbox FROM PUBLIC, jitney_billing;
GRANT SELECT, INSERT, UPDATE ON outbox_cursor TO jitney_billing;
REVOKE DELETE, TRUNCATE ON outbox_cursor FROM PUBLIC, jitney_billing;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_parked TO jitney_billing;
REVOKE TRUNCATE ON outbox_parked FROM PUBLIC, jitney_billing;
