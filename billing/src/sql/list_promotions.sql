-- list_promotions: promotions by code
-- $1 the code of the last one of the page before, or null, $2 how many at most
SELECT to_jsonb(promotion)
FROM promotion
WHERE code > coalesce($1::text, '')
ORDER BY code
LIMIT $2
