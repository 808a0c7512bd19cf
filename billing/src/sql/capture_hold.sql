-- capture_hold: takes a held fare once; writes receipt, entry and postings, and moves the balances
-- $1 key, $2 request hash, $3 trip, $4 driver, $5 amount, $6 what was held when planned,
-- $7 the lines, in the order of `FareLines`, $8 the driver's share, $9 the platform's share,
-- $10 accounts, $11 owners, $12 amounts of the postings, $13 currency of the amount, or null,
-- $14 the promotion when planned, or null, $15 what it takes off, $16 how much is paid with credit,
-- $17 earlier fees that are paid with it, $18 how much the driver takes in cash, $19 how much is to be
-- paid with the next ride
-- $20 the trace context it happens in, or null
--
-- Answers one row, or none when there is no such charge. The charge is locked first and judged as
-- it is then, by the clock of then. A duplicate that waited for the lock finds the charge captured; it
-- refuses, unless it came under the same key: then it fails as a whole on the primary key of
-- idempotency and, run again, finds the answer.
--
-- Locks, in this order: the charge, the rider's credit, their dues, the key, account_balance (by account),
-- rider_exposure. `WHERE (SELECT count(*) ...) >= 0` has one step wait for the end of another.
--
-- What is added to or taken away goes by ON CONFLICT, which takes the row as it is now: an UPDATE begins with
-- the row as it was when the statement began, does not find a newer one, and may fail on what an older one
-- would become.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'capture' AND key = $1
),
charge AS (
    SELECT * FROM trip_charge
    WHERE trip_id = $3 AND NOT EXISTS (SELECT 1 FROM prior)
    FOR UPDATE
),
credit AS (
    SELECT -balance_minor AS minor
    FROM account_balance
    WHERE $16::bigint > 0 AND account = 'rider_credit' AND owner_id = (SELECT rider_id FROM charge)
        AND currency = (SELECT currency FROM charge)
    FOR UPDATE
),
dues AS (
    SELECT due_minor
    FROM rider_dues
    WHERE $17::bigint > 0 AND rider_id = (SELECT rider_id FROM charge)
        AND currency = (SELECT currency FROM charge)
    FOR UPDATE
),
judged AS (
    SELECT
        trip_id, at,
        CASE
            WHEN currency <> $13::text THEN 'OTHER_CURRENCY'
            WHEN state <> 'HELD' OR expires_at <= at THEN 'HOLD_NOT_OPEN'
            WHEN $5 > authorised THEN 'ABOVE_HOLD'
            WHEN authorised <> $6 OR promotion_code IS DISTINCT FROM $14::text THEN 'CHANGED'
            WHEN $16 > 0 AND $16 > coalesce((SELECT minor FROM credit), 0) THEN 'CHANGED'
            WHEN $17 > 0 AND $17 > coalesce((SELECT due_minor FROM dues), 0) THEN 'CHANGED'
            ELSE 'DONE'
        END AS outcome
    FROM (SELECT charge.*, clock_timestamp() AS at FROM charge) AS locked
),
taken AS (
    UPDATE trip_charge AS charge
    SET state = 'CAPTURED', captured = $5, driver_id = $4, closed_at = judged.at,
        version = charge.version + 1
    FROM judged
    WHERE charge.trip_id = judged.trip_id AND charge.state = 'HELD' AND judged.outcome = 'DONE'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'CAPTURED', version,
        convert_to(row_to_json(taken)::text, 'UTF8'), $20::text
    FROM taken
),
owing AS (
    INSERT INTO rider_dues AS dues (rider_id, currency, due_minor)
    SELECT rider_id, currency, $19::bigint FROM taken WHERE $17 > 0 OR $19::bigint > 0
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET due_minor = dues.due_minor + excluded.due_minor - $17
    RETURNING rider_id
),
told AS (
    INSERT INTO receipt (
        trip_id, rider_id, driver_id, product, tariff_version, currency,
        base_minor, distance_minor, time_minor, minimum_top_up_minor, waiting_minor, night_minor,
        extra_stop_minor, surge_minor, cancellation_fee_minor, no_show_fee_minor, zone_fee_minor,
        toll_minor, booking_fee_minor, tax_minor,
        total_minor, driver_share_minor, platform_share_minor, captured_at, promotion_minor,
        credit_minor, payment_method, dues_minor, cash_minor, carried_minor
    )
    SELECT
        taken.trip_id, taken.rider_id, taken.driver_id, quote.product, quote.tariff_version,
        taken.currency,
        ($7::bigint[])[1], ($7::bigint[])[2], ($7::bigint[])[3], ($7::bigint[])[4],
        ($7::bigint[])[5], ($7::bigint[])[6], ($7::bigint[])[7], ($7::bigint[])[8],
        ($7::bigint[])[9], ($7::bigint[])[10], ($7::bigint[])[11], ($7::bigint[])[12],
        ($7::bigint[])[13], ($7::bigint[])[14],
        taken.captured, $8, $9, taken.closed_at, $15, $16,
        taken.payment_method, $17, $18, $19
    FROM taken JOIN fare_quote AS quote ON quote.id = taken.quote_id
    RETURNING *
),
planned AS (
    SELECT account, owner_id, amount_minor, position
    FROM unnest($10::text[], $11::text[], $12::bigint[])
        WITH ORDINALITY AS posting (account, owner_id, amount_minor, position)
),
-- Count and sum come from the very rows that `posted` writes: a CHECK refuses any sum but zero, and
-- with it everything else in this statement.
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT
        taken.trip_id, 'CAPTURE', 1, taken.currency, (SELECT count(*) FROM planned),
        (SELECT coalesce(sum(amount_minor), 0) FROM planned), taken.closed_at
    FROM taken
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
decided AS (
    SELECT
        judged.at, judged.outcome,
        jsonb_build_object(
            'hold', coalesce(to_jsonb(taken), to_jsonb(charge)), 'receipt', to_jsonb(told)
        ) AS answer
    FROM judged
    CROSS JOIN charge
    LEFT JOIN taken ON true
    LEFT JOIN told ON true
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'capture', $1, $2, outcome, answer, at
    FROM decided
    WHERE outcome NOT IN ('OTHER_CURRENCY', 'CHANGED') AND (SELECT count(*) FROM owing) >= 0
    RETURNING key
),
balanced AS (
    INSERT INTO account_balance AS balance (owner_id, account, currency, balance_minor)
    SELECT owner_id, account, currency, amount_minor
    FROM posted WHERE owner_id IS NOT NULL AND (SELECT count(*) FROM kept) >= 0
    ORDER BY account
    ON CONFLICT (owner_id, account, currency) DO UPDATE
        SET balance_minor = balance.balance_minor + excluded.balance_minor
    RETURNING owner_id
),
-- It is no longer an open hold.
freed AS (
    INSERT INTO rider_exposure AS exposure (rider_id, currency, held_minor)
    SELECT rider_id, currency, authorised
    FROM taken WHERE payment_method <> 'CASH' AND (SELECT count(*) FROM balanced) >= 0
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET held_minor = exposure.held_minor - excluded.held_minor
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
