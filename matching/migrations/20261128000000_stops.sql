-- Whoever has stops ahead is offered no ride beside theirs.

-- Stops of the live trip, the first of two, between pick-up and drop-off that are still to be made.
ALTER TABLE driver ADD COLUMN stops_left integer NOT NULL DEFAULT 0;
ALTER TABLE driver ADD CONSTRAINT driver_stops_left_counted CHECK (stops_left >= 0);
-- The same of the ride beside the first.
ALTER TABLE second_ride ADD COLUMN stops_left integer NOT NULL DEFAULT 0;
ALTER TABLE second_ride ADD CONSTRAINT second_ride_stops_left_counted CHECK (stops_left >= 0);
