-- What riders and drivers do beside the ride: share it, call for help, rate it.

-- A link by which somebody without an account sees one trip. The link's token names the row and is
-- signed; there is nothing in here that could be used as one.
CREATE TABLE trip_share (
    -- Names the link; the subject of its token.
    share_id uuid NOT NULL,
    -- The trip.
    trip_id uuid NOT NULL,
    -- Who made it: proto Actor, and their id.
    actor text NOT NULL,
    actor_id text NOT NULL,
    -- When.
    created_at timestamptz NOT NULL,
    -- Until when it shows something, by the database's clock.
    expires_at timestamptz NOT NULL,
    CONSTRAINT trip_share_pkey PRIMARY KEY (share_id),
    CONSTRAINT trip_share_trip FOREIGN KEY (trip_id) REFERENCES trip (trip_id),
    CONSTRAINT trip_share_actor_known CHECK (actor IN ('RIDER', 'DRIVER', 'OPERATOR', 'SYSTEM'))
);
CREATE INDEX trip_share_by_trip ON trip_share (trip_id);

-- What one of a trip's two thought of the other.
CREATE TABLE trip_rating (
    -- The trip.
    trip_id uuid NOT NULL,
    -- Who rated: RIDER or DRIVER.
    rated_by text NOT NULL,
    -- Whom: the driver's or the rider's id.
    rated_id text NOT NULL,
    -- 1 to 5.
    stars smallint NOT NULL,
    -- In words; may be empty.
    comment text NOT NULL,
    -- When it was last given.
    rated_at timestamptz NOT NULL,
    CONSTRAINT trip_rating_pkey PRIMARY KEY (trip_id, rated_by),
    CONSTRAINT trip_rating_trip FOREIGN KEY (trip_id) REFERENCES trip (trip_id),
    CONSTRAINT trip_rating_by_known CHECK (rated_by IN ('RIDER', 'DRIVER')),
    CONSTRAINT trip_rating_stars_in_range CHECK (stars BETWEEN 1 AND 5)
);
-- The newest ratings of one person.
CREATE INDEX trip_rating_of ON trip_rating (rated_id, rated_by, rated_at DESC);

-- A call for help from a ride.
CREATE TABLE sos (
    -- The call.
    sos_id uuid NOT NULL,
    -- The trip.
    trip_id uuid NOT NULL,
    -- Who called: proto Actor, and their id.
    actor text NOT NULL,
    actor_id text NOT NULL,
    -- Where they were, WGS84 degrees; null when their phone did not say.
    latitude double precision,
    longitude double precision,
    -- What they said; may be empty.
    note text NOT NULL,
    -- When.
    raised_at timestamptz NOT NULL,
    -- When an operator took it up; null while nobody has.
    acknowledged_at timestamptz,
    -- Which operator.
    acknowledged_by text,
    CONSTRAINT sos_pkey PRIMARY KEY (sos_id),
    CONSTRAINT sos_trip FOREIGN KEY (trip_id) REFERENCES trip (trip_id),
    CONSTRAINT sos_actor_known CHECK (actor IN ('RIDER', 'DRIVER', 'OPERATOR', 'SYSTEM')),
    CONSTRAINT sos_place_whole CHECK ((latitude IS NULL) = (longitude IS NULL)),
    CONSTRAINT sos_acknowledged_by_somebody CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
-- One open call per trip and person: a repetition finds it.
CREATE UNIQUE INDEX sos_one_open ON sos (trip_id, actor_id) WHERE acknowledged_at IS NULL;
-- Operators read the newest first.
CREATE INDEX sos_by_age ON sos (raised_at DESC, sos_id DESC);
