-- close_payout: an open payout arrived, or came back; one that is so already stays so
-- $1 driver, $2 payout, $3 what became of it, $4 why, when it came back
--
-- Answers one row, or none when there is no such payout. It needs no key: the row is locked first, and
-- what it says is the answer to every repetition.
WITH payout_then AS (
    SELECT * FROM payout WHERE driver_id = $1 AND payout_id = $2 FOR UPDATE
),
judged AS (
    SELECT
        clock_timestamp() AS at,
        CASE WHEN state IN ('OPEN', $3) THEN 'DONE' ELSE 'PAYOUT_NOT_OPEN' END AS outcome
    FROM payout_then
),
closed AS (
    UPDATE payout
    SET state = $3, reason = $4, closed_at = judged.at
    FROM judged
    WHERE payout.driver_id = $1 AND payout.payout_id = $2 AND payout.state = 'OPEN'
    RETURNING payout.*
),
planned AS (
    SELECT posting.*
    FROM closed
    CROSS JOIN LATERAL (
        VALUES
            ('payout_in_transit', NULL, closed.amount_minor, 1),
            (
                CASE closed.state WHEN 'SETTLED' THEN 'psp_clearing' ELSE 'driver_payable' END,
                CASE closed.state WHEN 'SETTLED' THEN NULL ELSE closed.driver_id END,
                -closed.amount_minor,
                2
            )
    ) AS posting (account, owner_id, amount_minor, position)
),
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT
        closed.payout_id, 'PAYOUT_' || closed.state, 1, closed.currency,
        (SELECT count(*) FROM planned), (SELECT coalesce(sum(amount_minor), 0) FROM planned),
        closed.closed_at
    FROM closed
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
)
SELECT judged.outcome, coalesce(to_jsonb(closed), to_jsonb(payout_then)) AS payout
FROM judged
CROSS JOIN payout_then
LEFT JOIN closed ON true
