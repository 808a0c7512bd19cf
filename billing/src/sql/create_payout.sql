-- create_payout: sends a driver what they are owed, or a part of it, less the cash they owe
-- $1 key, $2 request hash, $3 driver, $4 payout, $5 currency, $6 amount, or null for all, $7 by whom
--
-- Answers one row. The driver's balances are locked first, by account, and judged as they are then:
-- of payouts at once the later one sees what the earlier one took. It does not see the earlier payout
-- itself: where enough is left it fails as a whole on payout_one_open_per_driver, and where it came
-- under the same key on the primary key of idempotency; run again, it finds the payout or the answer.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'payout' AND key = $1
),
balances AS (
    SELECT account, balance_minor FROM account_balance
    WHERE owner_id = $3 AND account IN ('driver_cash_due', 'driver_payable') AND currency = $5
        AND NOT EXISTS (SELECT 1 FROM prior)
    ORDER BY account
    FOR UPDATE
),
-- Credits are what a driver is owed.
owed AS (
    SELECT
        clock_timestamp() AS at,
        coalesce(-sum(balance_minor), 0)::bigint AS net_minor,
        coalesce(sum(balance_minor) FILTER (WHERE account = 'driver_cash_due'), 0)::bigint
            AS dues_minor
    FROM balances
    HAVING NOT EXISTS (SELECT 1 FROM prior)
),
judged AS (
    SELECT
        at, net_minor, greatest(dues_minor, 0) AS dues_minor,
        coalesce($6::bigint, net_minor) AS amount_minor,
        CASE
            WHEN EXISTS (SELECT 1 FROM payout WHERE driver_id = $3 AND state = 'OPEN')
                THEN 'PAYOUT_OPEN'
            -- With no amount: nothing is owed.
            WHEN net_minor < coalesce($6::bigint, 1) THEN 'ABOVE_OWED'
            ELSE 'DONE'
        END AS outcome
    FROM owed
),
made AS (
    INSERT INTO payout (
        driver_id, payout_id, currency, amount_minor, dues_minor, state, made_by, created_at
    )
    SELECT $3, $4::uuid, $5, amount_minor, dues_minor, 'OPEN', $7, at
    FROM judged WHERE outcome = 'DONE'
    RETURNING *
),
planned AS (
    SELECT account, owner_id, amount_minor, row_number() OVER (ORDER BY position) AS position
    FROM (
        SELECT posting.*
        FROM made
        CROSS JOIN LATERAL (
            VALUES
                ('driver_payable', made.driver_id, made.amount_minor + made.dues_minor, 1),
                ('driver_cash_due', made.driver_id, -made.dues_minor, 2),
                ('payout_in_transit', NULL, -made.amount_minor, 3)
        ) AS posting (account, owner_id, amount_minor, position)
        WHERE posting.amount_minor <> 0
    ) AS postings
),
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT
        made.payout_id, 'PAYOUT', 1, made.currency, (SELECT count(*) FROM planned),
        (SELECT coalesce(sum(amount_minor), 0) FROM planned), made.created_at
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
    ORDER BY account
    ON CONFLICT (owner_id, account, currency) DO UPDATE
        SET balance_minor = balance.balance_minor + excluded.balance_minor
),
decided AS (
    SELECT
        judged.at, judged.outcome,
        jsonb_build_object('payout', to_jsonb(made), 'owed_minor', judged.net_minor) AS answer
    FROM judged LEFT JOIN made ON true
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'payout', $1, $2, outcome, answer, at FROM decided
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
