-- provider_post: posts what operations moved that a version settled which did not post
-- $1 provider, $2 how many at most
--
-- Answers how many. Safe to repeat, and side by side with itself: `posted_at` is set in the same statement.
-- What it posts: as in provider_settle.
WITH found AS (
    SELECT subject_id, kind, seq
    FROM provider_operation
    WHERE provider = $1 AND state = 'SUCCEEDED' AND kind IN ('CAPTURE', 'REFUND')
        AND posted_at IS NULL
    ORDER BY subject_id, kind, seq
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
settled AS (
    UPDATE provider_operation AS op
    SET posted_at = now()
    FROM found
    WHERE op.subject_id = found.subject_id AND op.kind = found.kind AND op.seq = found.seq
    RETURNING op.*
),
taken AS (
    SELECT
        subject_id, kind, seq, currency, owner_id,
        CASE kind WHEN 'CAPTURE' THEN amount_minor ELSE -amount_minor END AS minor
    FROM settled
),
