-- Rides that became longer or shorter than their quote: the hold is put under another one.

-- The price the ride was ordered at; null while the hold is under the quote it was made from.
ALTER TABLE trip_charge ADD COLUMN upfront_minor bigint;
ALTER TABLE trip_charge ADD CONSTRAINT trip_charge_upfront_is_not_negative CHECK (upfront_minor >= 0);

ALTER TABLE idempotency DROP CONSTRAINT idempotency_scope_is_known;
ALTER TABLE idempotency ADD CONSTRAINT idempotency_scope_is_known CHECK (
    scope IN ('authorize', 'capture', 'void', 'refund', 'tip', 'payout', 'credit', 'change')
);
