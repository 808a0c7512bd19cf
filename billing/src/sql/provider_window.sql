-- provider_window: from when until when the ledger is looked through for what is new to a provider
-- $1 provider
--
-- Answers one row. A provider that is new begins now. A long way is gone in parts. `done_until` stays
-- behind the clock: what a statement is writing at this moment is seen the next time.
WITH known AS (
    SELECT since, looked_until FROM provider_since WHERE provider = $1
),
new AS (
    INSERT INTO provider_since (provider, since, looked_until)
    SELECT $1, now(), now() WHERE NOT EXISTS (SELECT 1 FROM known)
    ON CONFLICT (provider) DO NOTHING
    RETURNING since, looked_until
)
SELECT
    since, looked_until, least(now(), looked_until + interval '10 minutes') AS until,
    greatest(
        looked_until,
        least(now() - interval '30 seconds', looked_until + interval '10 minutes')
    ) AS done_until
FROM (SELECT * FROM known UNION ALL SELECT * FROM new) AS window_of
