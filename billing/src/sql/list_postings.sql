-- list_postings: a person's postings, newest first
-- $1 owner, $2 accounts, $3 from, $4 to, $5 how many at most; $6 time, $7 what about, $8 kind,
-- $9 number and $10 position of the last posting of the page before, or nulls
--
-- What is not given is taken for what lies behind everything, so that the index is entered where the
-- page begins.
SELECT trip_id AS about, kind, seq, position, account, currency, amount_minor, posted_at
FROM posting
WHERE owner_id = $1 AND account = ANY ($2::text[])
    AND posted_at >= coalesce($3::timestamptz, '-infinity')
    AND posted_at < coalesce($4::timestamptz, 'infinity')
    AND (posted_at, trip_id, kind, seq, position) < (
        coalesce($6::timestamptz, 'infinity'),
        coalesce($7::uuid, '00000000-0000-0000-0000-000000000000'), coalesce($8::text, ''),
        coalesce($9::integer, 0), coalesce($10::integer, 0)
    )
ORDER BY posted_at DESC, trip_id DESC, kind DESC, seq DESC, position DESC
LIMIT $5
