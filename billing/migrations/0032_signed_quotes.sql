-- Quotes are signed by the process that makes them: what they say cannot be changed in the table unnoticed.

-- The key's name, a dot, and an HMAC-SHA256 of the quote in hex. Null in what the version before wrote.
ALTER TABLE fare_quote ADD COLUMN signature text
    CONSTRAINT fare_quote_signature_is_hmac CHECK (signature ~ '^[0-9a-f]{16}\.[0-9a-f]{64}$');

-- Since when this database has signed quotes: one row. Unsigned ones count for a while after it, as long as
-- the version before may still be running.
CREATE TABLE quote_signing (
    -- There is one row only.
    id    integer     NOT NULL CONSTRAINT quote_signing_pkey PRIMARY KEY
        CONSTRAINT quote_signing_is_one CHECK (id = 1),
    -- Since when.
    since timestamptz NOT NULL
);
INSERT INTO quote_signing (id, since) VALUES (1, now());

GRANT SELECT ON quote_signing TO jitney_billing;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON quote_signing FROM PUBLIC, jitney_billing;
