-- end_reasons: why rides ended that were asked for in a time and not driven, the most frequent first
-- $1 from when, $2 until when, not itself, $3 product or null, $4 how many at most
SELECT state, end_reason, count(*) AS trips
FROM trip
WHERE created_at >= $1 AND created_at < $2 AND ($3::text IS NULL OR product = $3)
    AND state IN ('CANCELLED', 'EXPIRED', 'NO_SHOW')
GROUP BY state, end_reason
ORDER BY trips DESC, state, end_reason
LIMIT $4
