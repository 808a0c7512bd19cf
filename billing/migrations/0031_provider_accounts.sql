-- Under which names a payment provider knows riders and drivers, and what it told us by itself.

CREATE TABLE provider_account (
    -- The rider or the driver.
    owner_id       text        NOT NULL,
    -- Which of both.
    role           text        NOT NULL
        CONSTRAINT provider_account_role_is_known CHECK (role IN ('RIDER', 'DRIVER')),
    -- The provider's name for them: who is charged, or to whom money is sent.
    account        text        NOT NULL,
    -- The provider's name for what a rider pays with; no number of a card.
    payment_method text,
    -- Who put it last: their role and id.
    put_by         text        NOT NULL,
    -- When.
    put_at         timestamptz NOT NULL,
    CONSTRAINT provider_account_pkey PRIMARY KEY (owner_id, role)
);

-- The account as it was when the operation was first taken up: it is looked for and sent again with it.
ALTER TABLE provider_operation ADD COLUMN account text;
ALTER TABLE provider_operation ADD COLUMN payment_method text;

-- What a provider told us by itself, so that hearing it twice is hearing it once.
CREATE TABLE provider_event (
    -- The provider's name for it.
    event_id    text        NOT NULL CONSTRAINT provider_event_pkey PRIMARY KEY,
    -- What it is about, in the provider's words.
    type        text        NOT NULL,
    -- The trip or the payout; null when it is about none of ours.
    subject_id  uuid,
    -- When we heard it.
    received_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON provider_account TO jitney_billing;
REVOKE DELETE, TRUNCATE ON provider_account FROM PUBLIC, jitney_billing;
GRANT SELECT, INSERT ON provider_event TO jitney_billing;
REVOKE UPDATE, DELETE, TRUNCATE ON provider_event FROM PUBLIC, jitney_billing;
