-- capture_holds: takes several held fares; does for each what capture_hold does for one
-- $1 keys, $2 request hashes, $3 trips, $4 drivers, $5 amounts, $6 what was held when planned,
-- $7 the lines of all, one command's after another's, each in the order of `FareLines`,
-- $8 the drivers' shares, $9 the platform's shares, $10 currencies of the amounts, or nulls;
-- the postings of all: $11 which command's (its place, from 1), $12 which of its postings,
-- $13 accounts, $14 owners, $15 amounts; $16 the trace contexts the commands come in, or nulls
--
-- It takes plain fares only: paid by card, without a promotion, credit, or fees of before. A charge that
-- has got a promotion since it was planned is to be asked for alone; credit or fees that came since are
-- left for the next ride, as if they had come after this.
--
-- No key and no trip may be in it twice. Answers a row per command with its place, judged on its
-- own; none for one whose charge is not there, or is locked by another statement: nobody here waits
-- for it, it is to be asked for alone. What refuses a row as a whole (a constraint, a key that
-- another statement has just used for something else) fails all of them: then none has happened,
-- and each is to be asked for alone.
--
-- Two of these at once take their locks in the same order, and capture_hold takes its own in it
-- too: charges, keys, account_balance (by account and owner), rider_exposure. `WHERE (SELECT
-- count(*) ...) >= 0` has one step wait for the end of another.
WITH asked AS MATERIALIZED (
    SELECT
        place::int AS place, (place::int - 1) * 14 AS before, key, request_hash, trip_id, driver_id,
        amount, authorised, driver_share, platform_share, currency, traceparent
    FROM unnest(
        $1::text[], $2::bytea[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $8::bigint[],
        $9::bigint[], $10::text[], $16::text[]
    ) WITH ORDINALITY AS command (
        key, request_hash, trip_id, driver_id, amount, authorised, driver_share, platform_share,
        currency, traceparent, place
    )
),
prior AS MATERIALIZED (
    SELECT asked.place, kept.outcome, kept.request_hash, kept.answer
    FROM asked
    JOIN idempotency AS kept ON kept.key = asked.key
    -- Said twice, so that no plan made for a small table reads all of a large one.
    WHERE kept.scope = 'capture' AND kept.key = ANY($1)
),
locked AS MATERIALIZED (
    SELECT asked.place, charge.*
    FROM asked JOIN trip_charge AS charge ON charge.trip_id = asked.trip_id
    WHERE NOT EXISTS (SELECT 1 FROM prior WHERE prior.place = asked.place)
    ORDER BY charge.trip_id
    FOR UPDATE OF charge SKIP LOCKED
),
judged AS MATERIALIZED (
    SELECT
        place, locked.trip_id, at,
        CASE
            WHEN locked.currency <> asked.currency THEN 'OTHER_CURRENCY'
            WHEN locked.state <> 'HELD' OR locked.expires_at <= at THEN 'HOLD_NOT_OPEN'
            WHEN asked.amount > locked.authorised THEN 'ABOVE_HOLD'
            WHEN locked.authorised <> asked.authorised THEN 'CHANGED'
            -- Only plain fares are planned for this statement.
            WHEN locked.promotion_code IS NOT NULL OR locked.payment_method = 'CASH' THEN 'CHANGED'
            ELSE 'DONE'
        END AS outcome
    FROM (SELECT locked.*, clock_timestamp() AS at FROM locked) AS locked
    JOIN asked USING (place)
),
taken AS (
    UPDATE trip_charge AS charge
    SET state = 'CAPTURED', captured = asked.amount, driver_id = asked.driver_id,
        closed_at = judged.at, version = charge.version + 1
    FROM judged JOIN asked USING (place)
    WHERE charge.trip_id = judged.trip_id AND charge.state = 'HELD' AND judged.outcome = 'DONE'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', taken.trip_id, 'CAPTURED', version,
        convert_to(row_to_json(taken)::text, 'UTF8'), traceparent
    FROM taken JOIN asked USING (trip_id)
),
told AS (
    INSERT INTO receipt (
        trip_id, rider_id, driver_id, product, tariff_version, currency,
        base_minor, distance_minor, time_minor, minimum_top_up_minor, waiting_minor, night_minor,
        extra_stop_minor, surge_minor, cancellation_fee_minor, no_show_fee_minor, zone_fee_minor,
        toll_minor, booking_fee_minor, tax_minor,
        total_minor, driver_share_minor, platform_share_minor, captured_at
    )
    SELECT
        taken.trip_id, taken.rider_id, taken.driver_id, quote.product, quote.tariff_version,
        taken.currency,
        ($7::bigint[])[before + 1], ($7::bigint[])[before + 2], ($7::bigint[])[before + 3],
        ($7::bigint[])[before + 4], ($7::bigint[])[before + 5], ($7::bigint[])[before + 6],
        ($7::bigint[])[before + 7], ($7::bigint[])[before + 8], ($7::bigint[])[before + 9],
        ($7::bigint[])[before + 10], ($7::bigint[])[before + 11], ($7::bigint[])[before + 12],
        ($7::bigint[])[before + 13], ($7::bigint[])[before + 14],
        taken.captured, asked.driver_share, asked.platform_share, taken.closed_at
    FROM taken
    JOIN asked USING (trip_id)
    JOIN fare_quote AS quote ON quote.id = taken.quote_id
    RETURNING *
),
planned AS MATERIALIZED (
    SELECT place, position, account, owner_id, amount_minor
    FROM unnest($11::int[], $12::int[], $13::text[], $14::text[], $15::bigint[])
        AS posting (place, position, account, owner_id, amount_minor)
),
-- Count and sum come from the very rows that `posted` writes; see capture_hold.
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT
        taken.trip_id, 'CAPTURE', 1, taken.currency, coalesce(sums.postings, 0),
        coalesce(sums.sum_minor, 0), taken.closed_at
    FROM taken
    JOIN asked USING (trip_id)
    LEFT JOIN (
        SELECT place, count(*) AS postings, sum(amount_minor) AS sum_minor
        FROM planned GROUP BY place
    ) AS sums USING (place)
    RETURNING trip_id, kind, seq, currency
),
posted AS (
    INSERT INTO posting (trip_id, kind, seq, position, account, owner_id, currency, amount_minor)
    SELECT
        entered.trip_id, entered.kind, entered.seq, planned.position, planned.account,
        planned.owner_id, entered.currency, planned.amount_minor
    FROM entered
    JOIN asked USING (trip_id)
    JOIN planned USING (place)
    RETURNING account, owner_id, currency, amount_minor
),
decided AS MATERIALIZED (
    SELECT
        judged.place, judged.at, judged.outcome,
        jsonb_build_object(
            'hold', coalesce(to_jsonb(taken), to_jsonb(locked) - 'place'),
            'receipt', to_jsonb(told)
        ) AS answer
    FROM judged
    JOIN locked USING (place)
    LEFT JOIN taken ON taken.trip_id = judged.trip_id
    LEFT JOIN told ON told.trip_id = judged.trip_id
),
kept AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'capture', asked.key, asked.request_hash, outcome, answer, at
    FROM decided JOIN asked USING (place)
    WHERE outcome = 'DONE'
    ORDER BY asked.key
    RETURNING key
),
-- A refusal has moved nothing. Where its key has just been used by another statement, that one's
-- answer is to be given: it is there when the command is asked for again.
refused AS (
    INSERT INTO idempotency (scope, key, request_hash, outcome, answer, created_at)
    SELECT 'capture', asked.key, asked.request_hash, outcome, answer, at
    FROM decided JOIN asked USING (place)
    WHERE outcome NOT IN ('DONE', 'OTHER_CURRENCY', 'CHANGED')
    ORDER BY asked.key
    ON CONFLICT (scope, key) DO NOTHING
    RETURNING key
),
balanced AS (
    INSERT INTO account_balance AS balance (owner_id, account, currency, balance_minor)
    SELECT owner_id, account, currency, sum(amount_minor)
    FROM posted
    WHERE owner_id IS NOT NULL AND (SELECT count(*) FROM kept) >= 0
    GROUP BY owner_id, account, currency
    ORDER BY account, owner_id, currency
    ON CONFLICT (owner_id, account, currency) DO UPDATE
        SET balance_minor = balance.balance_minor + excluded.balance_minor
    RETURNING owner_id
),
-- They are no longer open holds.
freed AS (
    INSERT INTO rider_exposure AS exposure (rider_id, currency, held_minor)
    SELECT rider_id, currency, sum(authorised)
    FROM taken
    WHERE (SELECT count(*) FROM balanced) >= 0
    GROUP BY rider_id, currency
    ORDER BY rider_id, currency
    ON CONFLICT (rider_id, currency) DO UPDATE
        SET held_minor = exposure.held_minor - excluded.held_minor
)
SELECT place, outcome, request_hash, answer FROM prior
UNION ALL
SELECT
    place,
    CASE
        WHEN outcome IN ('DONE', 'OTHER_CURRENCY', 'CHANGED') OR refused.key IS NOT NULL
            THEN outcome
        ELSE 'CHANGED'
    END,
    asked.request_hash, answer
FROM decided
JOIN asked USING (place)
LEFT JOIN refused ON refused.key = asked.key
