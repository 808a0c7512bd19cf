-- add_tip: a rider gives the driver something on top; writes the tip, its entry and postings
-- $1 key, $2 request hash, $3 trip, $4 amount, $5 its currency, $6 what the tips of a trip may add up
-- to, $7 how long after the capture in ms, $8 by whom
-- $9 the trace context it happens in, or null
--
-- Answers one row, or none when nothing was captured for the trip. Locks: as in refund_trip. The sum
-- and the number of the trip's tips are in the locked row. A refusal is kept as well: a duplicate that
-- waited for the lock may be refused for what its twin did, and finds the twin's answer only because
-- the two keys collide.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'tip' AND key = $1
),
charge AS (
    SELECT * FROM trip_charge
    WHERE trip_id = $3 AND state = 'CAPTURED' AND NOT EXISTS (SELECT 1 FROM prior)
    FOR UPDATE
),
judged AS (
    SELECT
        trip_id, at,
        CASE
            WHEN currency <> $5::text THEN 'OTHER_CURRENCY'
            -- Nobody would collect it, and the driver be paid it all the same.
            WHEN payment_method = 'CASH' THEN 'TIP_IN_CASH'
            WHEN closed_at + $7::bigint * interval '1 millisecond' <= at THEN 'TIP_TOO_LATE'
            WHEN tipped + $4::bigint > $6::bigint THEN 'TIP_TOO_HIGH'
            ELSE 'DONE'
        END AS outcome
    FROM (SELECT charge.*, clock_timestamp() AS at FROM charge) AS locked
),
taken AS (
    UPDATE trip_charge AS charge
    SET tipped = charge.tipped + $4, tips = charge.tips + 1, version = charge.version + 1
    FROM judged
    WHERE charge.trip_id = judged.trip_id AND charge.state = 'CAPTURED' AND judged.outcome = 'DONE'
        AND charge.tipped + $4 <= $6
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'TIPPED', version,
        convert_to(row_to_json(taken)::text, 'UTF8'), $9::text
    FROM taken
),
told AS (
    INSERT INTO tip (trip_id, seq, currency, amount_minor, made_by, tipped_at)
    SELECT taken.trip_id, taken.tips, taken.currency, $4, $8, judged.at
    FROM taken CROSS JOIN judged
    RETURNING *
),
planned AS (
    SELECT account, owner_id, amount_minor, position
    FROM taken
    CROSS JOIN LATERAL (
        VALUES
            ('rider_receivable', taken.rider_id, $4::bigint, 1),
            ('driver_payable', taken.driver_id, -$4::bigint, 2)
    ) AS posting (account, owner_id, amount_minor, position)
),
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT
        told.trip_id, 'TIP', told.seq, told.currency, (SELECT count(*) FROM planned),
        (SELECT coalesce(sum(amount_minor), 0) FROM planned), told.tipped_at
    FROM told
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
        jsonb_build_object(
            'hold', coalesce(to_jsonb(taken), to_jsonb(charge)), 'tip', to_jsonb(told)
        ) AS answer
    FROM judged
    CROSS JOIN charge
    LEFT JOIN taken ON true
    LEFT JOIN told ON true
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'tip', $1, $2, outcome, answer, at
    FROM decided WHERE outcome NOT IN ('OTHER_CURRENCY', 'TIP_IN_CASH')
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
