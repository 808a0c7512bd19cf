-- check_ledger: sums the whole ledger; one statement, so all of it is one snapshot
WITH by_currency AS (
    SELECT trip_id, kind, seq, currency, count(*) AS postings, sum(amount_minor) AS total
    FROM posting GROUP BY trip_id, kind, seq, currency
),
by_entry AS (
    SELECT
        trip_id, kind, seq, sum(postings) AS postings, bool_and(total = 0) AS sums_to_zero,
        min(currency) AS currency, count(*) AS currencies
    FROM by_currency GROUP BY trip_id, kind, seq
),
unbalanced AS (
    SELECT count(*) AS n
    FROM journal_entry AS entry
    FULL JOIN by_entry USING (trip_id, kind, seq)
    WHERE entry.postings IS NULL
        OR entry.postings <> coalesce(by_entry.postings, 0)
        OR NOT coalesce(by_entry.sums_to_zero, true)
        OR coalesce(by_entry.currencies, 1) <> 1
        OR coalesce(by_entry.currency, entry.currency) <> entry.currency
),
by_owner AS (
    SELECT owner_id, account, currency, sum(amount_minor) AS total
    FROM posting WHERE owner_id IS NOT NULL GROUP BY owner_id, account, currency
),
owed_dues AS (
    SELECT rider_id, currency, sum(minor) AS total
    FROM (
        SELECT rider_id, currency, carried_minor - dues_minor AS minor FROM receipt
        WHERE carried_minor <> 0 OR dues_minor <> 0
        UNION ALL
        SELECT charge.rider_id, charge.currency, -refund.dues_minor
        FROM refund JOIN trip_charge AS charge ON charge.trip_id = refund.trip_id
        WHERE refund.dues_minor <> 0
    ) AS moves
    GROUP BY rider_id, currency
),
wrong_balances AS (
    SELECT
        (
            SELECT count(*)
            FROM account_balance AS balance
            FULL JOIN by_owner USING (owner_id, account, currency)
            WHERE coalesce(balance.balance_minor, 0) <> coalesce(by_owner.total, 0)
        ) + (
            SELECT count(*)
            FROM rider_dues
            FULL JOIN owed_dues USING (rider_id, currency)
            WHERE coalesce(rider_dues.due_minor, 0) <> coalesce(owed_dues.total, 0)
        ) AS n
),
captured AS (
    SELECT
        trip_id, entry.currency,
        coalesce(sum(amount_minor) FILTER (
            WHERE account IN ('rider_receivable', 'rider_credit')
        ), 0) AS total,
        coalesce(sum(amount_minor) FILTER (WHERE account = 'rider_credit'), 0) AS credit,
        coalesce(sum(amount_minor) FILTER (WHERE account = 'promo_expense'), 0) AS promotion,
        coalesce(sum(amount_minor) FILTER (
            WHERE account IN ('driver_payable', 'driver_cash_due')
        ), 0) AS drivers
    FROM journal_entry AS entry
    LEFT JOIN posting USING (trip_id, kind, seq)
    WHERE kind = 'CAPTURE'
    GROUP BY trip_id, entry.currency
),
refunded AS (
    SELECT
        trip_id, count(DISTINCT seq) AS refunds,
        -coalesce(sum(amount_minor) FILTER (
            WHERE account IN ('rider_receivable', 'rider_credit')
        ), 0) AS total
    FROM journal_entry AS entry
    LEFT JOIN posting USING (trip_id, kind, seq)
    WHERE kind = 'REFUND'
    GROUP BY trip_id
),
told AS (
    SELECT trip_id, count(*) AS refunds, sum(total_minor) AS total FROM refund GROUP BY trip_id
),
tipped AS (
    SELECT
        trip_id, count(DISTINCT seq) AS tips,
        coalesce(sum(amount_minor) FILTER (WHERE account = 'rider_receivable'), 0) AS total
    FROM journal_entry AS entry
    LEFT JOIN posting USING (trip_id, kind, seq)
    WHERE kind = 'TIP'
    GROUP BY trip_id
),
thanked AS (
    SELECT trip_id, count(*) AS tips, sum(amount_minor) AS total FROM tip GROUP BY trip_id
),
-- What was posted of a provider is what it did. What it did may be posted a moment later.
provided AS (
    SELECT count(*) AS n
    FROM (
        SELECT trip_id, kind, seq, currency, sum(amount_minor) AS minor
        FROM posting
        WHERE kind IN ('PROVIDER_CAPTURE', 'PROVIDER_REFUND') AND account = 'psp_clearing'
        GROUP BY trip_id, kind, seq, currency
    ) AS posted
    FULL JOIN (
        SELECT
            subject_id AS trip_id, 'PROVIDER_' || kind AS kind, seq, currency,
            CASE kind WHEN 'CAPTURE' THEN amount_minor ELSE -amount_minor END AS minor
        FROM provider_operation
        WHERE posted_at IS NOT NULL AND state = 'SUCCEEDED' AND kind IN ('CAPTURE', 'REFUND')
    ) AS done USING (trip_id, kind, seq)
    WHERE posted.minor IS DISTINCT FROM done.minor OR posted.currency <> done.currency
),
-- Chargebacks are what was posted of them, and what their charges count.
disputed AS (
    SELECT count(*) AS n
    FROM (
        SELECT
            trip_id, seq,
            sum(amount_minor) FILTER (WHERE kind = 'CHARGEBACK') AS taken,
            coalesce(sum(amount_minor) FILTER (WHERE kind = 'CHARGEBACK_WON'), 0) AS won
        FROM posting
        WHERE kind IN ('CHARGEBACK', 'CHARGEBACK_WON') AND account = 'chargeback_loss'
        GROUP BY trip_id, seq
    ) AS posted
    FULL JOIN chargeback USING (trip_id, seq)
    WHERE posted.taken IS DISTINCT FROM chargeback.amount_minor
        OR posted.won <> CASE chargeback.state WHEN 'WON' THEN -chargeback.amount_minor ELSE 0 END
),
uncounted AS (
    SELECT count(*) AS n
    FROM trip_charge AS charge
    FULL JOIN (
        SELECT
            trip_id, count(*) AS chargebacks,
            coalesce(sum(amount_minor) FILTER (WHERE state <> 'WON'), 0) AS minor
        FROM chargeback GROUP BY trip_id
    ) AS of USING (trip_id)
    WHERE charge.charged_back IS DISTINCT FROM coalesce(of.minor, 0)
        OR charge.chargebacks IS DISTINCT FROM coalesce(of.chargebacks, 0)
),
wrong_charges AS (
    SELECT count(DISTINCT trip_id) AS n
    FROM (SELECT * FROM trip_charge WHERE state = 'CAPTURED') AS charge
    FULL JOIN captured USING (trip_id)
    FULL JOIN receipt USING (trip_id)
    FULL JOIN refunded USING (trip_id)
    FULL JOIN told USING (trip_id)
    FULL JOIN tipped USING (trip_id)
    FULL JOIN thanked USING (trip_id)
    WHERE charge.captured IS NULL OR captured.total IS NULL OR receipt.total_minor IS NULL
        OR charge.captured <> captured.total + receipt.cash_minor
        OR charge.captured <> receipt.total_minor
        OR captured.drivers <> receipt.cash_minor - receipt.driver_share_minor
        OR charge.currency <> captured.currency OR charge.currency <> receipt.currency
        OR receipt.credit_minor <> captured.credit
        OR receipt.promotion_minor <> captured.promotion
        OR charge.refunded <> coalesce(refunded.total, 0)
        OR charge.refunded <> coalesce(told.total, 0)
        OR charge.refunds <> coalesce(refunded.refunds, 0)
        OR charge.refunds <> coalesce(told.refunds, 0)
        OR charge.tipped <> coalesce(tipped.total, 0)
        OR charge.tipped <> coalesce(thanked.total, 0)
        OR charge.tips <> coalesce(tipped.tips, 0)
        OR charge.tips <> coalesce(thanked.tips, 0)
),
paid_out AS (
    SELECT
        trip_id AS payout_id, count(DISTINCT kind) AS entries,
        coalesce(sum(amount_minor) FILTER (
            WHERE kind = 'PAYOUT' AND account = 'payout_in_transit'
        ), 0) AS sent,
        coalesce(sum(amount_minor) FILTER (
            WHERE kind = 'PAYOUT' AND account = 'driver_cash_due'
        ), 0) AS kept_back,
        coalesce(sum(amount_minor) FILTER (
            WHERE kind = 'PAYOUT_SETTLED' AND account = 'psp_clearing'
        ), 0) AS arrived,
        coalesce(sum(amount_minor) FILTER (
            WHERE kind = 'PAYOUT_FAILED' AND account = 'driver_payable'
        ), 0) AS came_back
    FROM journal_entry AS entry
    LEFT JOIN posting USING (trip_id, kind, seq)
    WHERE kind IN ('PAYOUT', 'PAYOUT_SETTLED', 'PAYOUT_FAILED')
    GROUP BY trip_id
),
wrong_payouts AS (
    SELECT count(*) AS n
    FROM payout
    FULL JOIN paid_out USING (payout_id)
    WHERE payout.state IS NULL OR paid_out.sent IS NULL
        OR paid_out.entries <> CASE payout.state WHEN 'OPEN' THEN 1 ELSE 2 END
        OR paid_out.sent <> -payout.amount_minor OR paid_out.kept_back <> -payout.dues_minor
        OR paid_out.arrived
            <> CASE payout.state WHEN 'SETTLED' THEN -payout.amount_minor ELSE 0 END
        OR paid_out.came_back
            <> CASE payout.state WHEN 'FAILED' THEN -payout.amount_minor ELSE 0 END
),
credited AS (
    SELECT
        trip_id AS credit_id, owner_id AS rider_id,
        coalesce(sum(amount_minor) FILTER (WHERE account = 'rider_credit'), 0) AS total
    FROM posting WHERE kind = 'CREDIT' AND owner_id IS NOT NULL
    GROUP BY trip_id, owner_id
),
wrong_credits AS (
    SELECT count(*) AS n
    FROM credit
    FULL JOIN credited USING (credit_id, rider_id)
    WHERE credit.amount_minor IS NULL OR credited.total IS NULL
        OR credit.amount_minor <> -credited.total
),
by_account AS (
    SELECT account, currency, sum(amount_minor) AS total
    FROM posting GROUP BY account, currency
)
SELECT
    (SELECT count(*) FROM journal_entry) AS entries,
    (SELECT n FROM unbalanced) AS unbalanced_entries,
    (SELECT n FROM wrong_balances) AS wrong_balances,
    (SELECT sum(n) FROM (
        SELECT n FROM wrong_charges UNION ALL SELECT n FROM provided
        UNION ALL SELECT n FROM disputed UNION ALL SELECT n FROM uncounted
    ) AS wrong)::bigint AS wrong_charges,
    (SELECT n FROM wrong_payouts) AS wrong_payouts,
    (SELECT n FROM wrong_credits) AS wrong_credits,
    (
        SELECT coalesce(
            jsonb_agg(
                jsonb_build_object('account', account, 'currency', currency, 'total_minor', total)
                ORDER BY account, currency
            ),
            '[]'::jsonb
        )
        FROM by_account
    ) AS totals
