-- A driver may have a second live trip beside the first: their next one, or one that shares the car.

-- How many ride along, the rider included.
ALTER TABLE trip ADD COLUMN seats integer NOT NULL DEFAULT 1;
ALTER TABLE trip ADD CONSTRAINT trip_seats_positive CHECK (seats >= 1);

-- How many riders the product has seats for; null for quotes made before this was kept.
ALTER TABLE quote ADD COLUMN seats_max integer;

-- The driver's live trip that the offered one would come on top of; null for a driver who is free.
ALTER TABLE offer ADD COLUMN beside_trip_id uuid;
-- Whether its riders would share the car with that trip's.
ALTER TABLE offer ADD COLUMN shared boolean NOT NULL DEFAULT false;

-- Two places per driver: 0 is that of the trip they are on, 1 that of the one beside it. A row in place
-- 1 names no trip to be beside of: it is beside the row in place 0, and takes its place in the
-- transaction that deletes that row.
ALTER TABLE driver_claims ADD COLUMN slot smallint NOT NULL DEFAULT 0;
-- Of a row in place 1: whether its riders share the car with the other trip's; otherwise it begins when
-- that one has ended.
ALTER TABLE driver_claims ADD COLUMN shared boolean NOT NULL DEFAULT false;
ALTER TABLE driver_claims ADD CONSTRAINT driver_claims_slot_known CHECK (slot IN (0, 1));
ALTER TABLE driver_claims ADD CONSTRAINT driver_claims_first_not_shared CHECK (slot = 1 OR NOT shared);
-- A driver has at most one trip in each place.
ALTER TABLE driver_claims DROP CONSTRAINT driver_claims_pkey;
ALTER TABLE driver_claims ADD CONSTRAINT driver_claims_pkey PRIMARY KEY (driver_id, slot);
