-- renew_hold: an open hold may be captured for its full time again, counted from now
-- $1 trip, $2 validity in ms, $3 how old a hold may become by that, in ms
--
-- Answers one row, or none when there is no such charge. Repeated it does the same again, so it needs no
-- key; nobody else reckons with the end of a hold, so nobody is told. Locks: the charge alone. One that ran
-- out is not open any more, whether or not lapse_holds has released it yet.
WITH charge AS (
    SELECT * FROM trip_charge WHERE trip_id = $1 FOR UPDATE
),
judged AS (
    SELECT
        trip_id,
        CASE WHEN state <> 'HELD' OR expires_at <= at THEN 'HOLD_NOT_OPEN' ELSE 'DONE' END AS outcome,
        greatest(
            expires_at,
            least(
                at + $2::bigint * interval '1 millisecond',
                created_at + $3::bigint * interval '1 millisecond'
            )
        ) AS until
    FROM (SELECT charge.*, clock_timestamp() AS at FROM charge) AS locked
),
renewed AS (
    UPDATE trip_charge AS charge
    SET expires_at = judged.until
    FROM judged
    WHERE charge.trip_id = judged.trip_id AND judged.outcome = 'DONE'
    RETURNING charge.*
)
SELECT judged.outcome, coalesce(to_jsonb(renewed), to_jsonb(charge)) AS hold
FROM judged
CROSS JOIN charge
LEFT JOIN renewed ON true
