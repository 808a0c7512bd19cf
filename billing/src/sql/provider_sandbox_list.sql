-- provider_sandbox_list: what the sandbox did and declined in a time
-- $1 from when, $2 until when, $3 how many at most
SELECT subject_id, key, amount_minor, currency, declined
FROM provider_sandbox
WHERE made_at >= $1 AND made_at < $2
ORDER BY made_at, key
LIMIT $3
