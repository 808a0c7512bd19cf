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
    -- The event itself, an encoded Protobuf message.
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

-- Which process does a job that only one may do at a time.
CREATE TABLE lease (
    -- The job.
    name text NOT NULL CONSTRAINT lease_pkey PRIMARY KEY,
    -- The process, by a random id that it takes at its start.
    holder uuid NOT NULL,
    -- When another may take over, by the database's clock.
    expires_at timestamptz NOT NULL
);
