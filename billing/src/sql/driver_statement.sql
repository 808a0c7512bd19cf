-- driver_statement: what a driver was owed before, and what every entry since did to it; one snapshot
-- $1 driver, $2 currency, $3 from, $4 to
--
-- Credits are what a driver is owed, so everything is turned round.
WITH own AS (
    SELECT * FROM posting
    WHERE owner_id = $1 AND account IN ('driver_payable', 'driver_cash_due') AND currency = $2
        AND posted_at < $4
),
entries AS (
    SELECT
        kind, trip_id AS about, seq, min(posted_at) AS at,
        -coalesce(sum(amount_minor) FILTER (WHERE account = 'driver_payable'), 0)
            AS payable_minor,
        -coalesce(sum(amount_minor) FILTER (WHERE account = 'driver_cash_due'), 0)
            AS cash_due_minor
    FROM own WHERE posted_at >= $3
    GROUP BY kind, trip_id, seq
)
SELECT
    (SELECT -coalesce(sum(amount_minor), 0) FROM own WHERE posted_at < $3)::bigint
        AS opening_minor,
    coalesce(
        (SELECT jsonb_agg(to_jsonb(entries) ORDER BY at, about, kind, seq) FROM entries),
        '[]'::jsonb
    ) AS entries
