-- What operations took (`taken`, negative for what they gave back) is entered, posted and counted into the
-- balances: the rest of provider_settle and of provider_post.
planned AS (
    SELECT
        taken.subject_id, 'PROVIDER_' || taken.kind AS kind, taken.seq, taken.currency,
        side.account, side.owner_id, side.amount_minor, side.position
    FROM taken
    CROSS JOIN LATERAL (
        VALUES
            ('psp_clearing', NULL, taken.minor, 1),
            ('rider_receivable', taken.owner_id, -taken.minor, 2)
    ) AS side (account, owner_id, amount_minor, position)
),
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT subject_id, kind, seq, currency, count(*), sum(amount_minor), clock_timestamp()
    FROM planned GROUP BY subject_id, kind, seq, currency
    RETURNING *
),
posted AS (
    INSERT INTO posting (trip_id, kind, seq, position, account, owner_id, currency, amount_minor)
    SELECT
        entered.trip_id, entered.kind, entered.seq, planned.position, planned.account,
        planned.owner_id, entered.currency, planned.amount_minor
    FROM entered
    JOIN planned
        ON planned.subject_id = entered.trip_id AND planned.kind = entered.kind
            AND planned.seq = entered.seq
    RETURNING account, owner_id, currency, amount_minor
),
balanced AS (
    INSERT INTO account_balance AS balance (owner_id, account, currency, balance_minor)
    SELECT owner_id, account, currency, sum(amount_minor)
    FROM posted WHERE owner_id IS NOT NULL
    GROUP BY owner_id, account, currency
    ORDER BY account, owner_id, currency
    ON CONFLICT (owner_id, account, currency) DO UPDATE
        SET balance_minor = balance.balance_minor + excluded.balance_minor
)
