-- provider_looked: remembers until when the ledger was looked through
-- $1 provider, $2 until when
UPDATE provider_since SET looked_until = $2 WHERE provider = $1 AND looked_until < $2
