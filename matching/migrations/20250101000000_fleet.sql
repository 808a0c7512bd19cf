-- What matching must still know after a restart. The fleet lives in memory; this is its recovery.

-- One row per driver who was ever on shift, seen, or given a trip.
CREATE TABLE driver (
    -- The id in the driver's token.
    driver_id text CONSTRAINT driver_pkey PRIMARY KEY,
    -- Ids of the products they serve.
    products text[] NOT NULL DEFAULT '{}',
    -- The number plate; null when they never said.
    plate text,
    -- Colour, make and model; null when they never said.
    vehicle text,
    -- On shift, or going off it once the live trip is over.
    available boolean NOT NULL DEFAULT false,
    -- Counts the changes of products, vehicle and shift; a row with a higher number is newer.
    shift_no bigint NOT NULL DEFAULT 0,
    -- The last position that was believed, as measured, degrees; null before the first.
    latitude double precision,
    longitude double precision,
    -- Degrees clockwise from north; null when the app did not say.
    heading real,
    -- When it was measured; null before the first.
    located_at timestamptz,
    -- The live trip; null when there is none.
    trip_id uuid,
    -- How far it has come: TO_PICKUP or TO_DROPOFF.
    leg text,
    -- When the trip service first said that it is this driver's.
    trip_since timestamptz,
    -- Where it begins, degrees.
    pickup_latitude double precision,
    pickup_longitude double precision,
    -- Where it ends, degrees; null when the trip service did not say.
    dropoff_latitude double precision,
    dropoff_longitude double precision,
    -- When the row was last written.
    saved_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT driver_vehicle_whole CHECK ((plate IS NULL) = (vehicle IS NULL)),
    CONSTRAINT driver_position_whole CHECK (
        (latitude IS NULL) = (longitude IS NULL) AND (latitude IS NULL) = (located_at IS NULL)
    ),
    CONSTRAINT driver_leg_known CHECK (leg IN ('TO_PICKUP', 'TO_DROPOFF')),
    CONSTRAINT driver_ride_whole CHECK (
        (trip_id IS NULL) = (leg IS NULL) AND (trip_id IS NULL) = (trip_since IS NULL)
    ),
    CONSTRAINT driver_pickup_whole CHECK ((pickup_latitude IS NULL) = (pickup_longitude IS NULL)),
    CONSTRAINT driver_dropoff_whole CHECK ((dropoff_latitude IS NULL) = (dropoff_longitude IS NULL))
);

-- To free whoever has a trip that ended. Not unique: the trip service's claims are what keeps a trip
-- to one driver; a second truth here could only get in its way.
CREATE INDEX driver_trip_id ON driver (trip_id) WHERE trip_id IS NOT NULL;

-- The offer that is open for a trip, written before anybody hears of it. Rows of offers that ended are
-- deleted soon after; one that is left over has run out and means nothing.
CREATE TABLE offer (
    -- The trip; it has one open offer at a time.
    trip_id uuid CONSTRAINT offer_pkey PRIMARY KEY,
    -- The offer.
    offer_id uuid NOT NULL CONSTRAINT offer_id_unique UNIQUE,
    -- Whose trip it is.
    rider_id text NOT NULL,
    -- To whom it is offered.
    driver_id text NOT NULL,
    -- The product.
    product text NOT NULL,
    -- Where the rider waits, degrees.
    pickup_latitude double precision NOT NULL,
    pickup_longitude double precision NOT NULL,
    -- Where the rider goes, degrees; null when the trip service did not say.
    dropoff_latitude double precision,
    dropoff_longitude double precision,
    -- What the rider pays, minor units; null when the trip service did not say.
    fare_minor bigint,
    -- The currency of that, ISO 4217.
    fare_currency text,
    -- Driving time to the pick-up, milliseconds.
    pickup_duration_ms bigint NOT NULL,
    -- Driving distance to the pick-up, metres.
    pickup_distance_m bigint NOT NULL,
    -- When it ends by itself.
    expires_at timestamptz NOT NULL,
    CONSTRAINT offer_dropoff_whole CHECK ((dropoff_latitude IS NULL) = (dropoff_longitude IS NULL)),
    CONSTRAINT offer_fare_whole CHECK ((fare_minor IS NULL) = (fare_currency IS NULL))
);

-- To delete what ran out.
CREATE INDEX offer_expires_at ON offer (expires_at);

-- How far the events of each trip have been applied; an event that is not above changes nothing.
CREATE TABLE trip_applied (
    -- The trip.
    trip_id uuid CONSTRAINT trip_applied_pkey PRIMARY KEY,
    -- Its version after the last event applied.
    version bigint NOT NULL CONSTRAINT trip_applied_version_positive CHECK (version > 0),
    -- When that was; old rows are deleted.
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- To delete what is old.
CREATE INDEX trip_applied_applied_at ON trip_applied (applied_at);
