-- list_postings: a person's postings, newest first
-- $1 owner, $2 accounts, $3 from, $4 to, $5 how many at most; $6 time, $7 what about, $8 kind,
-- $9 number and $10 position of the last posting of the page before, or nulls
SELECT trip_id AS about, kind, seq, position, account, currency, amount_minor, posted_at
FROM posting
WHERE owner_id = $1 AND account = ANY ($2::text[])
    AND ($3::timestamptz IS NULL OR posted_at >= $3)
    AND ($4::timestamptz IS NULL OR posted_at < $4)
    AND (
        $6::timestamptz IS NULL
        OR (posted_at, trip_id, kind, seq, position)
            < ($6, $7::uuid, $8::text, $9::integer, $10::integer)
    )
ORDER BY posted_at DESC, trip_id DESC, kind DESC, seq DESC, position DESC
LIMIT $5
