-- Postings by whose they are and when, for lists and monthly statements.

-- When its entry was written. Statements of the version before leave it to the default, which is the
-- same moment but for the time the statement waited for a lock.
ALTER TABLE posting ADD COLUMN posted_at timestamptz NOT NULL DEFAULT now();
UPDATE posting SET posted_at = entry.posted_at
FROM journal_entry AS entry
WHERE entry.trip_id = posting.trip_id AND entry.kind = posting.kind AND entry.seq = posting.seq;

-- A person's postings, oldest first or newest first.
CREATE INDEX posting_by_owner ON posting (owner_id, posted_at, trip_id, kind, seq, position)
    WHERE owner_id IS NOT NULL;
