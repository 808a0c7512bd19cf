-- trip_stats: how rides went that were asked for in a time, by when they were
-- $1 from when, $2 until when, not itself, $3 milliseconds counted together, $4 product or null
--
-- One walk over trip_by_age. Minutes without a ride have no row. The last row, without a bucket, is all of
-- them together.
WITH asked AS (
    SELECT floor(extract(epoch FROM created_at - $1::timestamptz) * 1000 / $3::bigint)::bigint AS bucket,
        state,
        -- A ride for later has a driver when it is time, however long that is after the request.
        CASE WHEN pickup_at IS NULL
            THEN (extract(epoch FROM arrived_at - created_at) * 1000)::double precision
        END AS pickup_ms
    FROM trip
    WHERE created_at >= $1 AND created_at < $2 AND ($4::text IS NULL OR product = $4)
)
SELECT bucket,
    count(*) AS requested,
    count(*) FILTER (WHERE state = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE state = 'CANCELLED') AS cancelled,
    count(*) FILTER (WHERE state = 'EXPIRED') AS expired,
    count(*) FILTER (WHERE state = 'NO_SHOW') AS no_show,
    count(pickup_ms) AS picked_up,
    avg(pickup_ms)::bigint AS mean_ms,
    (percentile_cont(0.5) WITHIN GROUP (ORDER BY pickup_ms))::bigint AS median_ms,
    (percentile_cont(0.95) WITHIN GROUP (ORDER BY pickup_ms))::bigint AS p95_ms
FROM asked
GROUP BY GROUPING SETS ((bucket), ())
ORDER BY bucket NULLS LAST
