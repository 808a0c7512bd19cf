-- Dispatch rounds, kept for as long as the configuration says, to be explained and decided again.

-- One row per round that was held.
CREATE TABLE round (
    -- The round.
    round_id uuid CONSTRAINT round_pkey PRIMARY KEY,
    -- When it was decided.
    decided_at timestamptz NOT NULL,
    -- The name of the policy it was decided under.
    policy text NOT NULL,
    -- Requests in it.
    requests integer NOT NULL CONSTRAINT round_not_empty CHECK (requests > 0),
    -- Requests that got a driver.
    assigned integer NOT NULL,
    -- All it was decided from and what was decided, in the form of matching's round/record.rs.
    body bytea NOT NULL,
    CONSTRAINT round_assigned_of_requests CHECK (assigned BETWEEN 0 AND requests)
);

-- To list the latest, and to drop the oldest.
CREATE INDEX round_decided_at ON round (decided_at, round_id);

-- Which trips were in a round.
CREATE TABLE round_trip (
    -- The trip.
    trip_id uuid NOT NULL,
    -- The round.
    round_id uuid NOT NULL CONSTRAINT round_trip_round REFERENCES round (round_id) ON DELETE CASCADE,
    CONSTRAINT round_trip_pkey PRIMARY KEY (trip_id, round_id)
);

-- To drop them with their round.
CREATE INDEX round_trip_round_id ON round_trip (round_id);

-- What operators have set while the service ran, over what the configuration says.
CREATE TABLE setting (
    -- What: POLICY.
    name text CONSTRAINT setting_pkey PRIMARY KEY,
    -- To what.
    value text NOT NULL,
    -- Since when.
    set_at timestamptz NOT NULL DEFAULT now()
);
