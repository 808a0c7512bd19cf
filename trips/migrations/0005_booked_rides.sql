-- Rides that are booked for later.

-- When the rider wants to be picked up; null is now.
ALTER TABLE quote ADD COLUMN pickup_at timestamptz;
-- When the rider wants to be picked up; null for a ride that was wanted at once.
ALTER TABLE trip ADD COLUMN pickup_at timestamptz;
-- Of a booked ride: when it is next looked at whether the search for a driver begins.
ALTER TABLE trip ADD COLUMN release_at timestamptz;
-- Of a booked ride: billing's name for the price. The fare is held under it when the search begins.
ALTER TABLE trip ADD COLUMN fare_quote_id text;
-- Whether it is going to be paid in cash; false for rides made before that was kept.
ALTER TABLE trip ADD COLUMN pay_in_cash boolean NOT NULL DEFAULT false;
-- Of a booked ride: whether billing may hold a fare that the trip does not answer for yet. Set before
-- the fare is held, cleared with the search's beginning, or once what was held for nothing is released.
ALTER TABLE trip ADD COLUMN hold_pending boolean NOT NULL DEFAULT false;
ALTER TABLE trip ADD CONSTRAINT trip_booked_completely CHECK (
    (pickup_at IS NULL) = (release_at IS NULL) AND (pickup_at IS NULL) = (fare_quote_id IS NULL));
ALTER TABLE trip ADD CONSTRAINT trip_scheduled_when_booked CHECK (
    state <> 'SCHEDULED' OR pickup_at IS NOT NULL);
ALTER TABLE trip ADD CONSTRAINT trip_hold_pending_when_booked CHECK (
    NOT hold_pending OR pickup_at IS NOT NULL);
-- Booked rides by when they are looked at next.
CREATE INDEX trip_by_release ON trip (release_at) WHERE state = 'SCHEDULED';
-- Holds that may be open for booked rides which have ended.
CREATE INDEX trip_hold_pending ON trip (updated_at) WHERE hold_pending;
