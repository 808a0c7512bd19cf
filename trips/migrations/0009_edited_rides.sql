-- Rides whose destination was changed on the way.

-- Billing's name for the up-front fare since then; null while it is that of the quote.
ALTER TABLE trip ADD COLUMN price_quote_id text;
