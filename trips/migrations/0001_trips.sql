-- Where every ride stands. The schema is named `trips`; the service sets the search path.
--
-- One change of a trip is one transaction over trip, trip_transition, offer, driver_claims and outbox.
-- The trip's row is locked first, always, so two changes of one trip never wait for each other in a
-- circle. Names of constraints are part of the program: violations are told apart by them.

CREATE TABLE quote (
    -- Names the quote for CreateTrip.
    quote_id uuid NOT NULL,
    -- Who asked: the rider, or the operator or service that asked for one.
    asked_by text NOT NULL,
    -- The product.
    product text NOT NULL,
    -- Where the rider waits, WGS84 degrees.
    pickup_latitude double precision NOT NULL,
    pickup_longitude double precision NOT NULL,
    -- Where the rider goes, WGS84 degrees.
    dropoff_latitude double precision NOT NULL,
    dropoff_longitude double precision NOT NULL,
    -- Driving distance, metres.
    distance_m bigint NOT NULL,
    -- Driving time, milliseconds.
    duration_ms bigint NOT NULL,
    -- Billing's name for the price; the hold is made under it.
    fare_quote_id text NOT NULL,
    -- The price, minor units.
    fare_minor bigint NOT NULL,
    -- The price's currency, ISO 4217.
    fare_currency text NOT NULL,
    -- Until when a trip may be made of it; billing's expiry.
    expires_at timestamptz NOT NULL,
    -- When it was made.
    created_at timestamptz NOT NULL,
    CONSTRAINT quote_pkey PRIMARY KEY (quote_id),
    CONSTRAINT quote_distance_not_negative CHECK (distance_m >= 0),
    CONSTRAINT quote_duration_not_negative CHECK (duration_ms >= 0),
    CONSTRAINT quote_fare_not_negative CHECK (fare_minor >= 0),
    CONSTRAINT quote_currency_iso CHECK (fare_currency ~ '^[A-Z]{3}$')
);
-- Expired quotes are purged.
CREATE INDEX quote_by_expiry ON quote (expires_at);

CREATE TABLE idempotency (
    -- Whose key: the rider of the trip.
    scope text NOT NULL,
    -- The client's name for the request.
    key text NOT NULL,
    -- SHA-256 of the request, so that the same key with another body is refused.
    request_hash bytea NOT NULL,
    -- The trip the request makes; chosen first, so that a repetition makes the same one.
    trip_id uuid NOT NULL,
    -- The quote the fare is held under; chosen first, so that a repetition holds the same.
    quote_id uuid NOT NULL,
    -- STARTED: the hold may exist, the trip does not. DONE: the trip exists. REFUSED: there is and will
    -- be no trip. ABANDONED: nobody finished it in time; the hold is being released.
    state text NOT NULL DEFAULT 'STARTED',
    -- DONE: the encoded CreateTripResponse as the rider sees it.
    answer bytea,
    -- REFUSED: the reason from the closed list of error codes.
    refusal text,
    -- Whether billing holds nothing for this request, or the trip answers for what it holds.
    hold_settled boolean NOT NULL DEFAULT false,
    -- When it was started, by the database's clock.
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_pkey PRIMARY KEY (scope, key),
    CONSTRAINT idempotency_key_length CHECK (length(key) BETWEEN 1 AND 128),
    CONSTRAINT idempotency_state_known CHECK (state IN ('STARTED', 'DONE', 'REFUSED', 'ABANDONED')),
    CONSTRAINT idempotency_answer_when_done CHECK ((answer IS NOT NULL) = (state = 'DONE')),
    CONSTRAINT idempotency_refusal_when_refused CHECK ((refusal IS NOT NULL) = (state = 'REFUSED')),
    CONSTRAINT idempotency_settled_when_done CHECK (state <> 'DONE' OR hold_settled)
);
-- The recovery of holds reads what is unsettled, oldest first.
CREATE INDEX idempotency_unsettled ON idempotency (created_at) WHERE NOT hold_settled;
-- Old keys are purged.
CREATE INDEX idempotency_by_age ON idempotency (created_at) WHERE hold_settled;

CREATE TABLE trip (
    -- The trip.
    trip_id uuid NOT NULL,
    -- Counts the changes, from 1; each is a row of trip_transition and of outbox.
    version bigint NOT NULL,
    -- Where it stands: proto TripState.
    state text NOT NULL,
    -- The rider.
    rider_id text NOT NULL,
    -- The driver: from assignment on, until they give the trip back.
    driver_id text,
    -- The driver's number plate, as matching knew it at assignment; empty when it did not say in time.
    driver_plate text,
    -- The driver's vehicle in words; empty when matching did not say in time.
    driver_vehicle text,
    -- The open offer (OFFERED) or the accepted one (whenever there is a driver).
    offer_id uuid,
    -- The product.
    product text NOT NULL,
    -- Where the rider waits, WGS84 degrees.
    pickup_latitude double precision NOT NULL,
    pickup_longitude double precision NOT NULL,
    -- Where the rider goes, WGS84 degrees.
    dropoff_latitude double precision NOT NULL,
    dropoff_longitude double precision NOT NULL,
    -- The up-front fare, minor units.
    fare_minor bigint NOT NULL,
    -- The fare's currency, ISO 4217.
    fare_currency text NOT NULL,
    -- Driving distance from pick-up to drop-off as quoted, metres.
    distance_m bigint NOT NULL,
    -- Driving time from pick-up to drop-off as quoted, milliseconds.
    duration_ms bigint NOT NULL,
    -- Where the money stands: proto PaymentState. Moves beside the version: billing's answers are no
    -- events.
    payment_state text NOT NULL,
    -- What the rider tells the driver at the kerb: four digits.
    pin text NOT NULL,
    -- How often the present driver gave a wrong PIN.
    wrong_pins integer NOT NULL DEFAULT 0,
    -- The reservation of MatchDriver to use first.
    reservation_id uuid,
    -- When the present search is given up.
    search_until timestamptz NOT NULL,
    -- Who called it off: proto Actor.
    cancelled_by text,
    -- Why it ended, for people; empty while it is live.
    end_reason text NOT NULL DEFAULT '',
    -- When it was asked for.
    created_at timestamptz NOT NULL,
    -- When it last changed.
    updated_at timestamptz NOT NULL,
    -- When the driver took it.
    assigned_at timestamptz,
    -- When the driver was at the pick-up.
    arrived_at timestamptz,
    -- When the ride began.
    started_at timestamptz,
    -- When it ended, whichever way.
    ended_at timestamptz,
    CONSTRAINT trip_pkey PRIMARY KEY (trip_id),
    CONSTRAINT trip_version_from_one CHECK (version >= 1),
    CONSTRAINT trip_state_known CHECK (state IN (
        'SCHEDULED', 'SEARCHING', 'OFFERED', 'ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS',
        'COMPLETED', 'CANCELLED', 'NO_SHOW', 'EXPIRED')),
    CONSTRAINT trip_payment_state_known CHECK (payment_state IN (
        'NONE', 'HELD', 'CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED', 'VOIDED', 'FAILED', 'UNKNOWN')),
    CONSTRAINT trip_cancelled_by_known CHECK (
        cancelled_by IN ('RIDER', 'DRIVER', 'OPERATOR', 'SYSTEM')),
    CONSTRAINT trip_driver_where_needed CHECK (
        driver_id IS NOT NULL
        OR state NOT IN ('ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS', 'COMPLETED', 'NO_SHOW')),
    CONSTRAINT trip_no_driver_before_assignment CHECK (
        driver_id IS NULL OR state NOT IN ('SCHEDULED', 'SEARCHING', 'OFFERED', 'EXPIRED')),
    CONSTRAINT trip_vehicle_with_driver CHECK (
        (driver_id IS NULL) = (driver_plate IS NULL) AND (driver_id IS NULL) = (driver_vehicle IS NULL)),
    CONSTRAINT trip_assigned_at_with_driver CHECK ((driver_id IS NULL) = (assigned_at IS NULL)),
    CONSTRAINT trip_offer_when_offered_or_taken CHECK (
        (offer_id IS NOT NULL) = (state = 'OFFERED' OR driver_id IS NOT NULL)),
    CONSTRAINT trip_arrived_at_where_needed CHECK (
        arrived_at IS NOT NULL
        OR state NOT IN ('DRIVER_ARRIVED', 'IN_PROGRESS', 'COMPLETED', 'NO_SHOW')),
    CONSTRAINT trip_started_at_where_needed CHECK (
        started_at IS NOT NULL OR state NOT IN ('IN_PROGRESS', 'COMPLETED')),
    CONSTRAINT trip_ended_at_when_ended CHECK (
        (ended_at IS NOT NULL) = (state IN ('COMPLETED', 'CANCELLED', 'NO_SHOW', 'EXPIRED'))),
    CONSTRAINT trip_end_reason_when_ended CHECK ((end_reason <> '') = (ended_at IS NOT NULL)),
    CONSTRAINT trip_cancelled_by_when_cancelled CHECK (
        (cancelled_by IS NOT NULL) = (state = 'CANCELLED')),
    CONSTRAINT trip_pin_four_digits CHECK (pin ~ '^[0-9]{4}$'),
    CONSTRAINT trip_wrong_pins_not_negative CHECK (wrong_pins >= 0),
    CONSTRAINT trip_fare_not_negative CHECK (fare_minor >= 0),
    CONSTRAINT trip_currency_iso CHECK (fare_currency ~ '^[A-Z]{3}$'),
    CONSTRAINT trip_distance_not_negative CHECK (distance_m >= 0),
    CONSTRAINT trip_duration_not_negative CHECK (duration_ms >= 0)
);
-- A rider has at most one live trip; booked ones are not live yet.
CREATE UNIQUE INDEX trip_one_live_per_rider ON trip (rider_id)
    WHERE state IN ('SEARCHING', 'OFFERED', 'ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS');
-- ListTrips: a rider's, a driver's, all; newest first.
CREATE INDEX trip_by_rider ON trip (rider_id, created_at DESC, trip_id DESC);
CREATE INDEX trip_by_driver ON trip (driver_id, created_at DESC, trip_id DESC);
CREATE INDEX trip_by_age ON trip (created_at DESC, trip_id DESC);
-- The recovery of searches reads the few trips that are being searched for.
CREATE INDEX trip_in_search ON trip (search_until) WHERE state IN ('SEARCHING', 'OFFERED');

CREATE TABLE trip_transition (
    -- The trip.
    trip_id uuid NOT NULL,
    -- The trip's version after the change.
    version bigint NOT NULL,
    -- The state before; null for the first.
    from_state text,
    -- The state after.
    to_state text NOT NULL,
    -- Who: proto Actor.
    actor text NOT NULL,
    -- The actor's id; empty for Jitney itself.
    actor_id text NOT NULL,
    -- Why, for people; may be empty.
    reason text NOT NULL,
    -- When.
    at timestamptz NOT NULL,
    CONSTRAINT trip_transition_pkey PRIMARY KEY (trip_id, version),
    CONSTRAINT trip_transition_trip FOREIGN KEY (trip_id) REFERENCES trip (trip_id),
    CONSTRAINT trip_transition_from_state_known CHECK (from_state IN (
        'SCHEDULED', 'SEARCHING', 'OFFERED', 'ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS',
        'COMPLETED', 'CANCELLED', 'NO_SHOW', 'EXPIRED')),
    CONSTRAINT trip_transition_to_state_known CHECK (to_state IN (
        'SCHEDULED', 'SEARCHING', 'OFFERED', 'ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS',
        'COMPLETED', 'CANCELLED', 'NO_SHOW', 'EXPIRED')),
    CONSTRAINT trip_transition_actor_known CHECK (
        actor IN ('RIDER', 'DRIVER', 'OPERATOR', 'SYSTEM')),
    CONSTRAINT trip_transition_first_from_nothing CHECK ((from_state IS NULL) = (version = 1)),
    CONSTRAINT trip_transition_ends_stay CHECK (
        from_state NOT IN ('COMPLETED', 'CANCELLED', 'NO_SHOW', 'EXPIRED'))
);

CREATE TABLE offer (
    -- The offer; matching names it.
    offer_id uuid NOT NULL,
    -- The trip that is offered.
    trip_id uuid NOT NULL,
    -- To whom.
    driver_id text NOT NULL,
    -- Until when it may be accepted, by the database's clock.
    expires_at timestamptz NOT NULL,
    -- PENDING: the answer is awaited. The others are ends. A driver whose offer of a trip ended
    -- ACCEPTED (and was given back), DECLINED or EXPIRED is not offered that trip again.
    state text NOT NULL,
    -- When it was recorded.
    created_at timestamptz NOT NULL,
    -- When it ended.
    ended_at timestamptz,
    CONSTRAINT offer_pkey PRIMARY KEY (offer_id),
    CONSTRAINT offer_trip FOREIGN KEY (trip_id) REFERENCES trip (trip_id),
    CONSTRAINT offer_state_known CHECK (
        state IN ('PENDING', 'ACCEPTED', 'DECLINED', 'EXPIRED', 'WITHDRAWN')),
    CONSTRAINT offer_ended_at_when_ended CHECK ((ended_at IS NULL) = (state = 'PENDING'))
);
-- The offers of a trip; at most one of them is open.
CREATE INDEX offer_by_trip ON offer (trip_id);
CREATE UNIQUE INDEX offer_one_pending_per_trip ON offer (trip_id) WHERE state = 'PENDING';

-- Who drives what. A row exists exactly while a driver is on a live trip; it is written in the
-- transaction that assigns the trip and deleted in the one that ends it or gives it back. Both keys
-- are unique: a driver has at most one live trip, a trip at most one driver.
CREATE TABLE driver_claims (
    -- The driver.
    driver_id text NOT NULL,
    -- The live trip.
    trip_id uuid NOT NULL,
    -- The epoch of the shard whose offer was accepted; 1 while there is one owner of all shards.
    epoch bigint NOT NULL,
    CONSTRAINT driver_claims_pkey PRIMARY KEY (driver_id),
    CONSTRAINT driver_claims_trip UNIQUE (trip_id),
    CONSTRAINT driver_claims_epoch_from_one CHECK (epoch >= 1)
);
