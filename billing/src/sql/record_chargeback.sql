-- record_chargeback: a payment was taken back from us, or a dispute about that has ended
-- $1 dispute, $2 trip, $3 amount, $4 currency, $5 where it stands, $6 who says so, $7 the trace
-- context it happens in, or null
--
-- Answers one row. The dispute's name is the key: it is written down once, and ends once. Whoever hears of
-- the end first writes both. Of two at once about a new dispute the later fails as a whole on
-- chargeback_pkey and, run again, finds the row. Locks: trip_charge, always, then chargeback; no balances,
-- because both accounts are the platform's.
WITH locked AS MATERIALIZED (
    SELECT * FROM trip_charge WHERE trip_id = $2 FOR UPDATE
),
known AS (
    SELECT * FROM chargeback
    WHERE dispute_id = $1 AND (SELECT count(*) FROM locked) >= 0
    FOR UPDATE
),
charge AS (
    SELECT
        charge.trip_id, charge.currency,
        charge.captured + charge.tipped + coalesce(receipt.dues_minor, 0) AS charged_minor,
        charge.charged_back
    FROM locked AS charge
    LEFT JOIN receipt ON receipt.trip_id = charge.trip_id
    WHERE charge.state = 'CAPTURED' AND charge.payment_method = 'CARD'
),
-- The bound is judged on the row that was locked, as the last writer left it.
counted AS (
    UPDATE trip_charge AS counted
    SET chargebacks = counted.chargebacks + 1, version = counted.version + 1,
        charged_back = counted.charged_back + CASE $5 WHEN 'WON' THEN 0 ELSE $3::bigint END
    FROM charge
    WHERE counted.trip_id = charge.trip_id AND counted.currency = $4
        AND NOT EXISTS (SELECT 1 FROM known)
        AND charge.charged_back + $3 <= charge.charged_minor
    RETURNING counted.*
),
opened AS (
    INSERT INTO chargeback (
        dispute_id, trip_id, seq, currency, amount_minor, state, recorded_by, opened_at, closed_at
    )
    SELECT
        $1, trip_id, chargebacks, currency, $3, $5, $6, clock_timestamp(),
        CASE WHEN $5 <> 'OPEN' THEN clock_timestamp() END
    FROM counted
    RETURNING *
),
closed AS (
    UPDATE chargeback
    SET state = $5, closed_at = clock_timestamp()
    FROM known
    WHERE chargeback.dispute_id = known.dispute_id AND chargeback.state = 'OPEN' AND $5 <> 'OPEN'
        AND known.trip_id = $2 AND known.amount_minor = $3 AND known.currency = $4
    RETURNING chargeback.*
),
given_back AS (
    UPDATE trip_charge AS charge
    SET charged_back = charge.charged_back - closed.amount_minor, version = charge.version + 1
    FROM closed
    WHERE charge.trip_id = closed.trip_id AND closed.state = 'WON'
    RETURNING charge.*
),
-- What the others are told: the row as it is now, in the version it has now.
announced AS (
    INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent)
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'CHARGED_BACK', version,
        convert_to(row_to_json(counted)::text, 'UTF8'), coalesce($7::text, ride_traceparent)
    FROM counted
    UNION ALL
    SELECT
        gen_random_uuid(), 'charge', trip_id, 'CHARGEBACK_WON', version,
        convert_to(row_to_json(given_back)::text, 'UTF8'), coalesce($7::text, ride_traceparent)
    FROM given_back
),
moved AS (
    SELECT trip_id, 'CHARGEBACK' AS kind, seq, currency, amount_minor AS minor FROM opened
    UNION ALL
    SELECT trip_id, 'CHARGEBACK_WON', seq, currency, -amount_minor FROM opened WHERE state = 'WON'
    UNION ALL
    SELECT trip_id, 'CHARGEBACK_WON', seq, currency, -amount_minor FROM closed WHERE state = 'WON'
),
planned AS (
    SELECT moved.*, side.account, side.amount_minor, side.position
    FROM moved
    CROSS JOIN LATERAL (
        VALUES ('chargeback_loss', moved.minor, 1), ('psp_clearing', -moved.minor, 2)
    ) AS side (account, amount_minor, position)
),
entered AS (
    INSERT INTO journal_entry (
        trip_id, kind, seq, currency, postings, postings_sum_minor, posted_at
    )
    SELECT trip_id, kind, seq, currency, count(*), sum(amount_minor), clock_timestamp()
    FROM planned GROUP BY trip_id, kind, seq, currency
    RETURNING *
),
posted AS (
    INSERT INTO posting (trip_id, kind, seq, position, account, currency, amount_minor)
    SELECT
        entered.trip_id, entered.kind, entered.seq, planned.position, planned.account,
        entered.currency, planned.amount_minor
    FROM entered
    JOIN planned USING (trip_id, kind, seq)
)
SELECT
    CASE
        WHEN known.dispute_id IS NOT NULL AND (
            known.trip_id <> $2 OR known.amount_minor <> $3 OR known.currency <> $4
        ) THEN 'OTHER_DISPUTE'
        WHEN known.state <> 'OPEN' AND $5 <> 'OPEN' AND known.state <> $5 THEN 'ENDED_OTHERWISE'
        WHEN known.dispute_id IS NOT NULL OR opened.dispute_id IS NOT NULL THEN 'DONE'
        WHEN charge.trip_id IS NULL THEN 'NOT_CHARGED'
        WHEN charge.currency <> $4 THEN 'OTHER_CURRENCY'
        ELSE 'ABOVE_CHARGED'
    END AS outcome,
    coalesce(to_jsonb(closed), to_jsonb(opened), to_jsonb(known)) AS chargeback,
    charge.charged_minor - charge.charged_back AS left_minor
FROM (SELECT 1) AS asked (one)
LEFT JOIN known ON true
LEFT JOIN charge ON true
LEFT JOIN opened ON true
LEFT JOIN closed ON true
