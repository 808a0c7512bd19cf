-- refund_trip: gives a captured fare or a part of it back; writes the refund, its entry and postings
-- $1 key, $2 request hash, $3 trip, $4 amount, or null for all that is left, $5 currency of the
-- amount, or null, $6 what was given back before when planned, $7 what the plan gives back,
-- $8 the lines, in the order of `FareLines`, $9 the driver's share, $10 the platform's share,
-- $11 accounts, $12 owners, $13 amounts of the postings, $14 reason, $15 by whom,
-- $16 what of a promotion is taken back with it, $17 how much is given back as credit
-- $18 the trace context it happens in, or null
--
-- Answers one row, or none when nothing was captured for the trip. The charge is locked first and
-- judged as it is then; account_balance (by account) and idempotency follow, as in capture_hold. The
-- number of the refund is counted in the locked row, so of refunds at once each gets its own; one
-- that was planned before another went through says CHANGED and is planned again. What a bank has taken
-- back, and we have not won, is not there to be given back once more.
WITH prior AS (
    SELECT outcome, request_hash, answer FROM idempotency WHERE scope = 'refund' AND key = $1
),
charge AS (
    SELECT * FROM trip_charge
    WHERE trip_id = $3 AND state = 'CAPTURED' AND NOT EXISTS (SELECT 1 FROM prior)
    FOR UPDATE
),
-- A fee that is to be paid with the next ride is not to be paid any more.
dues AS (
    SELECT due_minor
    FROM rider_dues
    WHERE rider_id = (
            SELECT charge.rider_id FROM charge
            JOIN receipt ON receipt.trip_id = charge.trip_id AND receipt.carried_minor > 0
        )
        AND currency = (SELECT currency FROM charge)
    FOR UPDATE
),
judged AS (
    SELECT
        trip_id, at,
        CASE
            WHEN currency <> $5::text THEN 'OTHER_CURRENCY'
            -- With no amount: there is nothing left.
            WHEN left_minor < coalesce($4::bigint, 1) THEN 'ABOVE_CAPTURED'
            WHEN refunded <> $6 OR coalesce($4::bigint, left_minor) <> $7 THEN 'CHANGED'
            ELSE 'DONE'
        END AS outcome
    FROM (
        SELECT
            charge.*, greatest(captured - refunded - charged_back, 0) AS left_minor,
            clock_timestamp() AS at
        FROM charge
    ) AS locked
),
taken AS (
    UPDATE trip_charge AS charge
    SET refunded = charge.refunded + $7, refunds = charge.refunds + 1,
        version = charge.version + 1
    FROM judged
    WHERE charge.trip_id = judged.trip_id AND charge.state = 'CAPTURED' AND judged.outcome = 'DONE'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id,
        CASE WHEN refunded < captured THEN 'PARTIALLY_REFUNDED' ELSE 'REFUNDED' END,
        version,
        convert_to(row_to_json(taken)::text, 'UTF8'), $18::text
    FROM taken
),
lifted AS (
    SELECT taken.rider_id, taken.currency, least(dues.due_minor, $7 - $17::bigint) AS lifted_minor
    FROM taken CROSS JOIN dues
),
lowered AS (
    INSERT INTO rider_dues AS dues (rider_id, currency, due_minor)
    SELECT rider_id, currency, lifted_minor FROM lifted
    -- The row as it is now, as captures do.
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET due_minor = dues.due_minor - excluded.due_minor
),
told AS (
    INSERT INTO refund (
        trip_id, seq, currency,
        base_minor, distance_minor, time_minor, minimum_top_up_minor, waiting_minor, night_minor,
        extra_stop_minor, surge_minor, cancellation_fee_minor, no_show_fee_minor, zone_fee_minor,
        toll_minor, booking_fee_minor, tax_minor,
        total_minor, driver_share_minor, platform_share_minor, reason, made_by, refunded_at,
        promotion_minor, credit_minor, dues_minor
    )
    SELECT
        taken.trip_id, taken.refunds, taken.currency,
        ($8::bigint[])[1], ($8::bigint[])[2], ($8::bigint[])[3], ($8::bigint[])[4],
        ($8::bigint[])[5], ($8::bigint[])[6], ($8::bigint[])[7], ($8::bigint[])[8],
        ($8::bigint[])[9], ($8::bigint[])[10], ($8::bigint[])[11], ($8::bigint[])[12],
        ($8::bigint[])[13], ($8::bigint[])[14],
        $7, $9, $10, $14, $15, judged.at, $16, $17,
        coalesce((SELECT lifted_minor FROM lifted), 0)
    FROM taken CROSS JOIN judged
    RETURNING *
),
planned AS (
    SELECT account, owner_id, amount_minor, position
    FROM unnest($11::text[], $12::text[], $13::bigint[])
        WITH ORDINALITY AS posting (account, owner_id, amount_minor, position)
),
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT
        told.trip_id, 'REFUND', told.seq, told.currency, (SELECT count(*) FROM planned),
        (SELECT coalesce(sum(amount_minor), 0) FROM planned), told.refunded_at
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
    -- Credit first, as captures do.
    ORDER BY account <> 'rider_credit', account
    ON CONFLICT (owner_id, account, currency) DO UPDATE
        SET balance_minor = balance.balance_minor + excluded.balance_minor
),
decided AS (
    SELECT
        judged.at, judged.outcome,
        jsonb_build_object(
            'hold', coalesce(to_jsonb(taken), to_jsonb(charge)), 'refund', to_jsonb(told)
        ) AS answer
    FROM judged
    CROSS JOIN charge
    LEFT JOIN taken ON true
    LEFT JOIN told ON true
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'refund', $1, $2, outcome, answer, at
    FROM decided WHERE outcome NOT IN ('OTHER_CURRENCY', 'CHANGED')
)
SELECT outcome, request_hash, answer FROM prior
UNION ALL
SELECT outcome, $2, answer FROM decided
