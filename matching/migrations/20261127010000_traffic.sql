-- What was learnt of the traffic, so that a start knows it.

-- One row per arc of a map that was observed.
CREATE TABLE traffic (
    -- The map, as 16 hex digits.
    map_id text NOT NULL,
    -- The arc's number on it.
    arc bigint NOT NULL,
    -- Whole cars' worth of observations, as of observed_ms.
    weight double precision NOT NULL,
    -- Mean driving time against the free one.
    ratio double precision NOT NULL,
    -- When it was last observed, milliseconds since 1970.
    observed_ms bigint NOT NULL,
    CONSTRAINT traffic_pkey PRIMARY KEY (map_id, arc)
);
