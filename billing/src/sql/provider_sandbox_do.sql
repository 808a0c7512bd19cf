-- provider_sandbox_do: the sandbox carries something out, or declines it, once per key
-- $1 subject, $2 key, $3 kind, $4 seq, $5 amount, $6 currency, $7 reference, $8 why it is declined
-- anyway, or null
--
-- Answers a row with what became of it, now or under the same key before.
WITH prior AS (
    SELECT reference, declined, kind = $3 AND amount_minor = $5 AND currency = $6 AS is_same
    FROM provider_sandbox WHERE subject_id = $1 AND key = $2
),
book AS (
    SELECT
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'AUTHORIZE' AND seq = $4), 0) AS authorised,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'CAPTURE'), 0) AS captured,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'REFUND'), 0) AS refunded,
        count(*) FILTER (WHERE kind IN ('CAPTURE', 'VOID') AND seq = $4) AS closed
    FROM provider_sandbox WHERE subject_id = $1 AND currency = $6 AND declined IS NULL
),
made AS (
    INSERT INTO provider_sandbox (
        subject_id, key, kind, seq, amount_minor, currency, reference, declined, made_at
    )
    SELECT
        $1, $2, $3::text, $4, $5, $6, $7,
        coalesce(
            $8::text,
            CASE
                WHEN $3 IN ('CAPTURE', 'VOID') AND authorised = 0 THEN 'nothing is authorised'
                WHEN $3 IN ('CAPTURE', 'VOID') AND closed > 0 THEN 'taken or released before'
                WHEN $3 = 'CAPTURE' AND $5 > authorised THEN 'more than is authorised'
                WHEN $3 = 'REFUND' AND $5 > captured - refunded THEN 'more than was taken'
            END
        ),
        clock_timestamp()
    FROM book WHERE NOT EXISTS (SELECT 1 FROM prior)
    ON CONFLICT (subject_id, key) DO NOTHING
    RETURNING reference, declined, true AS is_same
)
SELECT * FROM prior UNION ALL SELECT * FROM made
