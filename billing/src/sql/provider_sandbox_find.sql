-- provider_sandbox_find: what the sandbox has under a key
-- $1 subject, $2 key
SELECT reference, declined, true AS is_same FROM provider_sandbox WHERE subject_id = $1 AND key = $2
