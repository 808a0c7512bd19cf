-- Payment providers: what is asked of one, and what became of it. The ledger says what is to be charged,
-- given back and paid out; the rows here say how far the provider has been told.

-- Which process does a job that only one may do at a time.
CREATE TABLE lease (
    -- The job.
    name       text        NOT NULL CONSTRAINT lease_pkey PRIMARY KEY,
    -- The process, by a random id that it takes at its start.
    holder     uuid        NOT NULL,
    -- When another may take over, by the database's clock.
    expires_at timestamptz NOT NULL
);

-- Since when each provider is used. What was over by then is not its business.
CREATE TABLE provider_since (
    -- The provider.
    provider     text        NOT NULL CONSTRAINT provider_since_pkey PRIMARY KEY,
    -- Since when.
    since        timestamptz NOT NULL,
    -- Everything that the ledger closed before this has its operations.
    looked_until timestamptz NOT NULL
);

-- One thing asked of a provider. Its key is made from what it is about and never changes: whatever gets
-- lost on the way, it is asked for again under the same name.
CREATE TABLE provider_operation (
    -- The trip, or the payout.
    subject_id      uuid        NOT NULL,
    -- What is asked.
    kind            text        NOT NULL CONSTRAINT provider_operation_kind_is_known
        CHECK (kind IN ('AUTHORIZE', 'CAPTURE', 'VOID', 'REFUND', 'TRANSFER')),
    -- Which one of its kind, from 1. A refund has the number of the refund.
    seq             integer     NOT NULL
        CONSTRAINT provider_operation_seq_is_positive CHECK (seq > 0),
    -- Its place among the operations about the same thing, which are carried out one after the other.
    step            integer     NOT NULL,
    -- Its name at the provider.
    key             text        NOT NULL,
    -- Which provider.
    provider        text        NOT NULL,
    -- Who pays, or is paid.
    owner_id        text        NOT NULL,
    -- How much; 0 only for what moves nothing.
    amount_minor    bigint      NOT NULL CONSTRAINT provider_operation_moves_something
        CHECK ((amount_minor > 0) = (kind <> 'VOID') AND amount_minor >= 0),
    -- ISO 4217.
    currency        text        NOT NULL
        CONSTRAINT provider_operation_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$'),
    -- PENDING was never sent; SENT is on its way, or the process that sent it is gone; UNKNOWN has had no
    -- answer. The others are ends.
    state           text        NOT NULL CONSTRAINT provider_operation_state_is_known
        CHECK (state IN ('PENDING', 'SENT', 'SUCCEEDED', 'DECLINED', 'UNKNOWN')),
    -- The provider's name for it.
    reference       text,
    -- How often it was taken up; fences an answer to an earlier time.
    attempts        integer     NOT NULL DEFAULT 0,
    -- When it is taken up next, unless it is at an end.
    next_attempt_at timestamptz NOT NULL,
    -- What went wrong last, or why it was declined.
    last_error      text,
    -- When the ledger's fact was seen.
    created_at      timestamptz NOT NULL,
    -- When it last moved.
    updated_at      timestamptz NOT NULL,
    CONSTRAINT provider_operation_pkey PRIMARY KEY (subject_id, kind, seq),
    CONSTRAINT provider_operation_key UNIQUE (subject_id, key),
    CONSTRAINT provider_operation_succeeded_has_reference
        CHECK (state <> 'SUCCEEDED' OR reference IS NOT NULL)
);
-- What is to be done, by when.
CREATE INDEX provider_operation_by_due ON provider_operation (next_attempt_at)
    WHERE state IN ('PENDING', 'SENT', 'UNKNOWN');
-- What was asked for in a time.
CREATE INDEX provider_operation_by_time ON provider_operation (created_at);

-- Ends of charges and refunds by when they were, to find what is new.
CREATE INDEX trip_charge_by_close ON trip_charge (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX refund_by_time ON refund (refunded_at);

-- The book of the sandbox, which plays a provider: what it carried out or declined, under which key. In
-- the database, so that it outlives a restart and processes share it. Nothing else of ours reads it.
CREATE TABLE provider_sandbox (
    -- The trip, or the payout.
    subject_id   uuid        NOT NULL,
    -- The key it was asked under.
    key          text        NOT NULL,
    -- What was asked.
    kind         text        NOT NULL,
    -- Which one of its kind.
    seq          integer     NOT NULL,
    -- How much.
    amount_minor bigint      NOT NULL,
    -- ISO 4217.
    currency     text        NOT NULL,
    -- The sandbox's name for it.
    reference    text        NOT NULL,
    -- Why it was declined; null for what was carried out.
    declined     text,
    -- When.
    made_at      timestamptz NOT NULL,
    CONSTRAINT provider_sandbox_pkey PRIMARY KEY (subject_id, key)
);
CREATE INDEX provider_sandbox_by_time ON provider_sandbox (made_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON lease TO jitney_billing;
REVOKE TRUNCATE ON lease FROM PUBLIC, jitney_billing;
GRANT SELECT, INSERT, UPDATE ON provider_since, provider_operation TO jitney_billing;
REVOKE DELETE, TRUNCATE ON provider_since, provider_operation FROM PUBLIC, jitney_billing;
GRANT SELECT, INSERT ON provider_sandbox TO jitney_billing;
REVOKE UPDATE, DELETE, TRUNCATE ON provider_sandbox FROM PUBLIC, jitney_billing;
