-- list_trip_entries: every posting about a trip, entry by entry, oldest first
-- $1 trip
SELECT entry.kind, entry.seq, entry.posted_at, posting.account, posting.owner_id, posting.currency,
    posting.amount_minor
FROM journal_entry AS entry
JOIN posting ON posting.trip_id = entry.trip_id AND posting.kind = entry.kind AND posting.seq = entry.seq
WHERE entry.trip_id = $1
ORDER BY entry.posted_at, entry.kind, entry.seq, posting.position
