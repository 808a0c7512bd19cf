-- Stops between pick-up and drop-off.

-- In driving order: [{"latitude": …, "longitude": …}], WGS84 degrees.
ALTER TABLE quote ADD COLUMN stops jsonb NOT NULL DEFAULT '[]';
-- In driving order: [{"latitude": …, "longitude": …, "arrived_at": … or null}].
ALTER TABLE trip ADD COLUMN stops jsonb NOT NULL DEFAULT '[]';
