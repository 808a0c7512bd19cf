-- provider_hear: what a provider told by itself, kept once; what it is about is looked for at once
-- $1 event, $2 its type, $3 subject, or null
--
-- Answers whether it is news, and how many operations wait for it. What it says is not believed: it only
-- makes us ask. An operation whose call is under way is left to that call.
WITH news AS (
    INSERT INTO provider_event (event_id, type, subject_id, received_at)
    VALUES ($1, $2, $3, clock_timestamp())
    ON CONFLICT (event_id) DO NOTHING
    RETURNING subject_id
),
woken AS (
    UPDATE provider_operation AS op
    SET next_attempt_at = now()
    FROM news
    WHERE op.subject_id = news.subject_id AND op.state = 'UNKNOWN'
    RETURNING op.key
)
SELECT EXISTS (SELECT 1 FROM news) AS is_news, (SELECT count(*) FROM woken) AS waiting
