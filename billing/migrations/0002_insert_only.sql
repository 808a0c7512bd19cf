-- Insert-only by privilege. The service's connections act as the role `jitney_billing`, which may
-- read and add, and may change only the three tables that are meant to move. Nothing may be
-- deleted.
--
-- What this keeps out: any statement of ours that would rewrite history, by mistake or by a change
-- that nobody looked at twice. What it does not: whoever connects as the owner of the tables or as
-- a superuser and does not take the role, or takes it off again with SET ROLE. The ledger check is
-- for them.
--
-- The role cannot log in, so the one who connects must be a member of it. Where they may not make
-- roles, an administrator runs these first, and this migration then has nothing left to do:
--   CREATE ROLE jitney_billing NOLOGIN;  GRANT jitney_billing TO <who connects>;

DO $$
BEGIN
    -- Roles belong to the whole server: another database on it may have made this one already, or
    -- be making it at this moment.
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'jitney_billing') THEN
        CREATE ROLE jitney_billing NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'role jitney_billing is missing; run as an administrator: '
            'CREATE ROLE jitney_billing NOLOGIN; GRANT jitney_billing TO %;', current_user;
END
$$;

DO $$
BEGIN
    -- A superuser takes any role. Who made a role is its administrator, but from version 16 on not
    -- one who may take it, so everybody else is granted it even so.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT jitney_billing TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        IF NOT pg_has_role(current_user, 'jitney_billing', 'MEMBER') THEN
            RAISE EXCEPTION '% is not a member of role jitney_billing; run as an administrator: '
                'GRANT jitney_billing TO %;', current_user, current_user;
        END IF;
END
$$;

DO $$
BEGIN
    -- The schema has whatever name it was opened under.
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO jitney_billing', current_schema());
END
$$;

-- History: read and add.
GRANT SELECT, INSERT ON tariff, fare_quote, receipt, journal_entry, posting, idempotency
    TO jitney_billing;
-- Where things stand: read, add and move.
GRANT SELECT, INSERT, UPDATE ON trip_charge, rider_exposure, account_balance
    TO jitney_billing;

-- Nobody got more by default; said once more so that it reads as the rule it is.
REVOKE UPDATE, DELETE, TRUNCATE ON tariff, fare_quote, receipt, journal_entry, posting, idempotency
    FROM PUBLIC, jitney_billing;
