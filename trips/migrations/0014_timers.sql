-- Rides that go on for long.

-- When billing was last asked to renew the hold; NULL when it never was. Nobody is told: no version.
ALTER TABLE trip ADD COLUMN hold_renewed_at timestamptz;
