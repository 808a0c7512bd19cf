-- A driver may have a second ride beside the first, and a destination that only some rides lead to.

-- Where they want to get to, degrees; null when they take any ride.
ALTER TABLE driver ADD COLUMN destination_latitude double precision;
ALTER TABLE driver ADD COLUMN destination_longitude double precision;
ALTER TABLE driver ADD CONSTRAINT driver_destination_whole CHECK (
    (destination_latitude IS NULL) = (destination_longitude IS NULL)
);

-- More of the live trip, the first of two: how many riders, null when nobody said.
ALTER TABLE driver ADD COLUMN seats integer;
-- Whether they may share the car; null when nobody said.
ALTER TABLE driver ADD COLUMN shares boolean;
-- When they got in; null while they wait.
ALTER TABLE driver ADD COLUMN boarded_at timestamptz;

-- The ride beside the first. When the first ends, it takes its place in the driver's row.
CREATE TABLE second_ride (
    -- The driver.
    driver_id text CONSTRAINT second_ride_pkey PRIMARY KEY,
    -- The trip.
    trip_id uuid NOT NULL,
    -- How far it has come: TO_PICKUP or TO_DROPOFF.
    leg text NOT NULL,
    -- When the trip service first said that it is this driver's.
    trip_since timestamptz NOT NULL,
    -- Where it begins, degrees; null when the trip service did not say.
    pickup_latitude double precision,
    pickup_longitude double precision,
    -- Where it ends, degrees; null when the trip service did not say.
    dropoff_latitude double precision,
    dropoff_longitude double precision,
    -- How many riders.
    seats integer NOT NULL,
    -- Whether they may share the car.
    shares boolean NOT NULL,
    -- When they got in; null while they wait.
    boarded_at timestamptz,
    -- Whether they share it with the first ride's riders; otherwise it begins when that one has ended.
    shared boolean NOT NULL,
    -- The order of both rides' stops: A and a where the first ride's riders get in and out, B and b where
    -- the second's do.
    stop_order text NOT NULL,
    CONSTRAINT second_ride_leg_known CHECK (leg IN ('TO_PICKUP', 'TO_DROPOFF')),
    CONSTRAINT second_ride_pickup_whole CHECK ((pickup_latitude IS NULL) = (pickup_longitude IS NULL)),
    CONSTRAINT second_ride_dropoff_whole CHECK ((dropoff_latitude IS NULL) = (dropoff_longitude IS NULL)),
    CONSTRAINT second_ride_seats_positive CHECK (seats > 0),
    CONSTRAINT second_ride_stop_order_known CHECK (
        stop_order IN ('AaBb', 'ABab', 'ABba', 'BAba', 'BAab', 'BbAa')
    )
);

-- To end the ride of a trip that ended.
CREATE INDEX second_ride_trip_id ON second_ride (trip_id);

-- How many riders an offer is for.
ALTER TABLE offer ADD COLUMN seats integer NOT NULL DEFAULT 1;
-- The driver's ride that it would come on top of; null for a driver who is free.
ALTER TABLE offer ADD COLUMN beside_trip_id uuid;
-- Whether both would share the car.
ALTER TABLE offer ADD COLUMN shared boolean NOT NULL DEFAULT false;
-- The order of both rides' stops, as in second_ride.
ALTER TABLE offer ADD COLUMN stop_order text NOT NULL DEFAULT 'AaBb';
ALTER TABLE offer ADD CONSTRAINT offer_seats_positive CHECK (seats > 0);
ALTER TABLE offer ADD CONSTRAINT offer_stop_order_known CHECK (
    stop_order IN ('AaBb', 'ABab', 'ABba', 'BAba', 'BAab', 'BbAa')
);
