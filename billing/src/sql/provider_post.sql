-- provider_post: posts what operations moved that a version settled which did not post
-- $1 provider, $2 how many at most
--
-- Answers how many. Safe to repeat, and side by side with itself: `posted_at` is set in the same statement.
-- What it posts: as in provider_settle.
WITH found AS (
    SELECT subject_id, kind, seq
    FROM provider_operation
    WHERE provider = $1 AND state = 'SUCCEEDED' AND kind IN ('CAPTURE', 'REFUND')
        AND posted_at IS NULL
    ORDER BY subject_id, kind, seq
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
settled AS (
    UPDATE provider_operation AS op
    SET posted_at = now()
    FROM found
    WHERE op.subject_id = found.subject_id AND op.kind = found.kind AND op.seq = found.seq
    RETURNING op.*
),
moved AS (
    SELECT
        subject_id, kind, seq, currency, owner_id,
        CASE kind WHEN 'CAPTURE' THEN amount_minor ELSE -amount_minor END AS minor
    FROM settled
),
planned AS (
    SELECT
        moved.subject_id, 'PROVIDER_' || moved.kind AS kind, moved.seq, moved.currency,
        side.account, side.owner_id, side.amount_minor, side.position
    FROM moved
    CROSS JOIN LATERAL (
        VALUES
            ('psp_clearing', NULL, moved.minor, 1),
            ('rider_receivable', moved.owner_id, -moved.minor, 2)
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
SELECT count(*) FROM settled
