-- grant_credit: gives a rider credit; writes it, its entry and postings
-- $1 key, $2 request hash, $3 rider, $4 credit, $5 currency, $6 amount, $7 reason, $8 by whom
--
-- Answers one row. A duplicate that runs at the same time fails as a whole on the primary key of
-- idempotency and, run again, finds the answer.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'credit' AND key = $1
),
made AS (
    INSERT INTO credit (
        rider_id, credit_id, currency, amount_minor, reason, made_by, granted_at
    )
    SELECT $3, $4::uuid, $5, $6, $7, $8, clock_timestamp()
    WHERE NOT EXISTS (SELECT 1 FROM prior)
    RETURNING *
),
planned AS (
    SELECT posting.*
    FROM made
    CROSS JOIN LATERAL (
        VALUES
            ('promo_expense', NULL, made.amount_minor, 1),
            ('rider_credit', made.rider_id, -made.amount_minor, 2)
    ) AS posting (account, owner_id, amount_minor, position)
),
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT
        made.credit_id, 'CREDIT', 1, made.currency, (SELECT count(*) FROM planned),
        (SELECT coalesce(sum(amount_minor), 0) FROM planned), made.granted_at
    FROM made
    RETURNING *
),
posted AS (
    INSERT INTO posting (trip_id, kind, seq, position, account, owner_id, currency, amount_minor)
    SELECT
        entered.trip_id, entered.kind, entered.seq, planned.position, planned.account,
        planned.owner_id, entered.currency, planned.amount_minor
    FROM entered CROSS JOIN planned
    RETURNING account, owner_id, currency, amount_minor
),
balanced AS (
    INSERT INTO account_balance AS balance (owner_id, account, currency, balance_minor)
    SELECT owner_id, account, currency, amount_minor
    FROM posted WHERE owner_id IS NOT NULL
    ON CONFLICT (owner_id, account, currency) DO UPDATE
        SET balance_minor = balance.balance_minor + excluded.balance_minor
),
decided AS (
    SELECT granted_at AS at, 'DONE' AS outcome, jsonb_build_object('credit', to_jsonb(made)) AS answer
    FROM made
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'credit', $1, $2, outcome, answer, at FROM decided
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
