//! Every SQL statement of this service. A test has the database prepare each of them.

jitney_platform::statements! {
    /// The first version of a trip.
    INSERT_TRIP = include_str!("sql/insert_trip.sql");
    /// The next version of a trip, with its log and its event.
    UPDATE_TRIP = include_str!("sql/update_trip.sql");
    /// The next versions of several trips, with their logs and their events.
    MOVE_TRIPS = include_str!("sql/move_trips.sql");
    /// A trip, locked.
    LOCK_TRIP = include_str!("sql/lock_trip.sql");
    /// A trip, not locked.
    READ_TRIP = include_str!("sql/read_trip.sql");
    /// Several trips, not locked.
    READ_TRIPS = include_str!("sql/read_trips.sql");
    /// A page of a rider's trips.
    LIST_TRIPS_OF_RIDER = include_str!("sql/list_trips_of_rider.sql");
    /// A page of a driver's trips.
    LIST_TRIPS_OF_DRIVER = include_str!("sql/list_trips_of_driver.sql");
    /// A page of all trips.
    LIST_TRIPS = include_str!("sql/list_trips.sql");
    /// How rides went.
    TRIP_STATS = include_str!("sql/trip_stats.sql");
    /// Why rides ended.
    END_REASONS = include_str!("sql/end_reasons.sql");
    /// The first row of a trip's log.
    INSERT_TRANSITION = "-- insert_transition: what happened, beside the trip's first version
        INSERT INTO trip_transition
            (trip_id, version, from_state, to_state, actor, actor_id, reason, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    /// A trip's log.
    READ_LOG = "-- read_log: a trip's log, oldest first
        SELECT version, from_state, to_state, actor, actor_id, reason, at
        FROM trip_transition WHERE trip_id = $1 ORDER BY version";
    /// One more wrong PIN.
    COUNT_WRONG_PIN = "-- count_wrong_pin: one more; the trip's row is locked, so that tries at the same
        -- moment are counted one after the other. No version: nobody but the driver is told.
        UPDATE trip SET wrong_pins = wrong_pins + 1 WHERE trip_id = $1";
    /// Billing's answer.
    SET_PAYMENT_STATE = "-- set_payment_state: what billing answered, unless it has told something later. $3
        -- is the payment's version in the answer. Without one (a refusal; nothing was held; an answer from
        -- before versions) it counts where the money has not moved otherwise
        UPDATE trip SET payment_state = $2, payment_version = greatest(payment_version, $3)
        WHERE trip_id = $1 AND payment_state <> $2 AND NOT (payment_state = 'FAILED' AND $2 = 'VOIDED')
            AND (payment_version < $3
                OR ($3 = 0 AND (payment_state IN ('HELD', 'UNKNOWN')
                    OR (payment_state = 'VOIDED' AND $2 = 'FAILED'))))";
    /// What billing tells.
    APPLY_BILLING_EVENT = include_str!("sql/apply_billing_event.sql");
    /// Old events of others.
    PURGE_INBOX = "-- purge_inbox: events of others that nobody tells again
        DELETE FROM inbox WHERE event_id IN (
            SELECT event_id FROM inbox
            WHERE received_at < clock_timestamp() - $1 * interval '1 millisecond'
            LIMIT 10000)";
    /// A trip goes another way.
    CHANGE_WAY = "-- change_way: where a trip goes and for how much; beside its next version
        UPDATE trip SET dropoff_latitude = $2, dropoff_longitude = $3, distance_m = $4, duration_ms = $5,
            fare_minor = $6, cancellation_fee_minor = $7, no_show_fee_minor = $8, tariff_version = $9,
            surge_percent = $10, price_quote_id = $11,
            fare_quote_id = CASE WHEN fare_quote_id IS NULL THEN NULL ELSE $11 END
        WHERE trip_id = $1";
    /// What a trip costs.
    DECIDE_FARE = "-- decide_fare: what a trip costs that was driven; the first decision counts
        UPDATE trip SET driven_m = $2, final_fare_minor = $3, final_quote_id = $4
        WHERE trip_id = $1 AND final_fare_minor IS NULL";
    /// Versions of watched trips.
    READ_VERSIONS = "-- read_versions: how far the watched trips are, in one statement for all watchers
        SELECT trip_id, version, payment_state FROM trip WHERE trip_id = ANY ($1)";
    /// A rider's live trip.
    LIVE_TRIP_OF_RIDER = "-- live_trip_of_rider: whether a hold would be in vain. A hint:
        -- trip_one_live_per_rider decides
        SELECT 1 AS one FROM trip
        WHERE rider_id = $1 AND trip_id <> $2
            AND state IN ('SEARCHING', 'OFFERED', 'ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS')";

    /// Offers of a trip.
    READ_OFFERS = "-- read_offers: some offers of one trip; the trip's row is locked, and with it these
        SELECT offer_id, driver_id, expires_at, state, beside_trip_id, shared, pickup_duration_ms
        FROM offer
        WHERE trip_id = $1 AND offer_id = ANY ($2)";
    /// Whose offer it is.
    READ_OFFER_DRIVER = "-- read_offer_driver: to whom an offer was made, which never changes
        SELECT driver_id FROM offer WHERE offer_id = $1 AND trip_id = $2";
    /// An offer is made.
    OPEN_OFFER = "-- open_offer: an offer is made; a second open one violates offer_one_pending_per_trip
        INSERT INTO offer (offer_id, trip_id, driver_id, expires_at, state, created_at, beside_trip_id,
            shared, pickup_duration_ms)
        VALUES ($1, $2, $3, $4, 'PENDING', $5, $6, $7, $8)";
    /// An offer is accepted in time.
    ACCEPT_OFFER = "-- accept_offer: takes the offer if it is still open and in time. The time is the
        -- database's at this statement, after every wait for the trip's lock
        UPDATE offer SET state = 'ACCEPTED', ended_at = $4
        WHERE offer_id = $1 AND trip_id = $2 AND driver_id = $3 AND state = 'PENDING'
            AND expires_at > clock_timestamp()";
    /// An offer ends otherwise.
    CLOSE_OFFER = "-- close_offer: an offer ends in another way than by being accepted
        UPDATE offer SET state = $3, ended_at = $4
        WHERE offer_id = $1 AND trip_id = $2 AND state = 'PENDING'";
    /// Whether a driver gave the trip back.
    HAS_ACCEPTED = "-- has_accepted: whether a driver ever accepted this trip; one who did and is not its
        -- driver now has given it back
        SELECT EXISTS (
            SELECT 1 FROM offer WHERE trip_id = $1 AND driver_id = $2 AND state = 'ACCEPTED'
        ) AS has_accepted";
    /// Who is not asked again.
    EXCLUDED_DRIVERS = "-- excluded_drivers: who declined, did not answer, or gave the trip back
        SELECT DISTINCT driver_id FROM offer
        WHERE trip_id = $1 AND state IN ('DECLINED', 'EXPIRED', 'ACCEPTED')
        ORDER BY driver_id";

    /// A driver's other claim, locked.
    LOCK_CLAIM = "-- lock_claim: whether the driver still is on the trip that another is to come on top of.
        -- If so, it cannot end before this transaction does; one that is just ending is waited for
        SELECT slot FROM driver_claims WHERE driver_id = $1 AND trip_id = $2 FOR UPDATE";
    /// A driver is taken.
    CLAIM_DRIVER = "-- claim_driver: the driver is on this trip: in slot 0, or in slot 1 beside the one whose
        -- claim is locked. A claim on the same slot by a transaction that has not committed yet is
        -- waited for; if it commits, driver_claims_pkey is violated
        INSERT INTO driver_claims (driver_id, trip_id, epoch, slot, shared) VALUES ($1, $2, $3, $4, $5)";
    /// A driver is off a trip.
    RELEASE_DRIVER = "-- release_driver: the driver is off this trip. Whoever has locked the claim, to come
        -- beside it, is waited for
        DELETE FROM driver_claims WHERE driver_id = $1 AND trip_id = $2 RETURNING slot";
    /// A driver's other ride comes first.
    MOVE_CLAIM_UP = "-- move_claim_up: the first ride is over, so the one beside it is the first now. A
        -- statement of its own: it has to see what release_driver has waited for
        UPDATE driver_claims SET slot = 0, shared = false WHERE driver_id = $1 AND slot = 1";
    /// Whether a ride's turn has not come yet.
    HAS_EARLIER_RIDE = "-- has_earlier_ride: whether another ride of the driver's has to end before this one.
        -- No lock: it may end meanwhile, but no other can come before this one any more
        SELECT EXISTS (
            SELECT 1 FROM driver_claims c JOIN driver_claims f ON f.driver_id = c.driver_id AND f.slot = 0
            WHERE c.trip_id = $1 AND c.slot = 1 AND NOT c.shared
        ) AS has_earlier_ride";

    /// Booked rides to look at.
    DUE_RELEASES = "-- due_releases: booked rides whose search may have to begin, those due longest first
        SELECT trip_id FROM trip
        WHERE state = 'SCHEDULED' AND release_at <= clock_timestamp()
        ORDER BY release_at LIMIT $1";
    /// A booked ride is looked at later.
    POSTPONE_RELEASE = "-- postpone_release: the search need not begin yet. No version: nobody is told
        UPDATE trip SET release_at = $2 WHERE trip_id = $1 AND state = 'SCHEDULED'";
    /// A booked ride's fare is about to be held.
    BEGIN_HOLD = "-- begin_hold: from now on billing may hold a fare for the booked ride
        UPDATE trip SET hold_pending = true WHERE trip_id = $1 AND state = 'SCHEDULED'";
    /// A booked ride's fare is held.
    MARK_HELD = "-- mark_held: the trip answers for the hold from now on; beside its next version. Billing may
        -- have told by itself meanwhile
        UPDATE trip SET hold_pending = false,
            payment_state = CASE payment_version WHEN 0 THEN 'HELD' ELSE payment_state END
        WHERE trip_id = $1";
    /// Holds of booked rides that have ended.
    PENDING_HOLDS = "-- pending_holds: booked rides that ended before their search began, and for which
        -- a fare may be held all the same; those that ended so long ago that nobody is holding it now
        SELECT trip_id FROM trip
        WHERE hold_pending AND state <> 'SCHEDULED'
            AND updated_at < clock_timestamp() - $1 * interval '1 millisecond'
        ORDER BY updated_at LIMIT 100";
    /// Nothing is held any more.
    SETTLE_HOLD = "-- settle_hold: billing holds nothing for a booked ride that has ended
        UPDATE trip SET hold_pending = false WHERE trip_id = $1 AND state <> 'SCHEDULED'";
    /// Rides whose hold has to be renewed.
    DUE_RENEWALS = "-- due_renewals: live rides whose hold was made or renewed longer ago than $1, oldest first;
        -- there are as many live rides as riders on the way, and trip_one_live_per_rider has them all
        SELECT trip_id FROM trip
        WHERE state IN ('SEARCHING', 'OFFERED', 'ASSIGNED', 'DRIVER_ARRIVED', 'IN_PROGRESS')
            AND payment_state IN ('HELD', 'UNKNOWN')
            AND coalesce(hold_renewed_at, created_at) < clock_timestamp() - $1 * interval '1 millisecond'
        ORDER BY coalesce(hold_renewed_at, created_at) LIMIT $2";
    /// A ride's hold was renewed.
    RENEWED = "-- renewed: billing was asked to renew the ride's hold. No version: nobody is told
        UPDATE trip SET hold_renewed_at = clock_timestamp() WHERE trip_id = $1";
    /// Riders who do not come.
    DUE_NO_SHOWS = "-- due_no_shows: rides whose driver has waited at the pick-up for longer than $1, not counting
        -- the time before the one that was booked
        SELECT trip_id FROM trip
        WHERE state = 'DRIVER_ARRIVED'
            AND greatest(arrived_at, pickup_at) < clock_timestamp() - $1 * interval '1 millisecond'
        ORDER BY arrived_at LIMIT $2";

    /// A link is made.
    ADD_SHARE = "-- add_share: a link to a trip
        INSERT INTO trip_share (share_id, trip_id, actor, actor_id, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// What a link shows.
    READ_SHARE = "-- read_share: what a link shows, if it shows anything, by the database's clock
        SELECT s.trip_id, s.expires_at FROM trip_share s JOIN trip t ON t.trip_id = s.trip_id
        WHERE s.share_id = $1 AND s.expires_at > clock_timestamp()
            AND (t.ended_at IS NULL OR t.ended_at > clock_timestamp() - $2 * interval '1 millisecond')";
    /// Links are taken back.
    DROP_SHARES = "-- drop_shares: the links that one person made of a trip are taken back
        DELETE FROM trip_share WHERE trip_id = $1 AND actor = $2 AND actor_id = $3";

    /// A rating is given.
    RATE = "-- rate: what one thought of the other; the last word counts
        INSERT INTO trip_rating (trip_id, rated_by, rated_id, stars, comment, rated_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT ON CONSTRAINT trip_rating_pkey
        DO UPDATE SET stars = excluded.stars, comment = excluded.comment, rated_at = excluded.rated_at";
    /// What is thought of somebody.
    READ_OPINION = "-- read_opinion: the newest ratings of somebody, added up
        SELECT count(*), coalesce(sum(stars), 0)::bigint FROM (
            SELECT stars FROM trip_rating WHERE rated_id = $1 AND rated_by = $2
            ORDER BY rated_at DESC LIMIT $3) AS newest";

    /// Somebody calls for help.
    RAISE_SOS = "-- raise_sos: a call for help, unless the same person has an open one from this trip
        INSERT INTO sos (sos_id, trip_id, actor, actor_id, latitude, longitude, note, raised_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (trip_id, actor_id) WHERE acknowledged_at IS NULL DO NOTHING";
    /// Somebody's open call.
    READ_OPEN_SOS = "-- read_open_sos: somebody's open call from a trip
        SELECT sos_id, trip_id, actor, actor_id, latitude, longitude, note, raised_at, acknowledged_at,
            acknowledged_by
        FROM sos WHERE trip_id = $1 AND actor_id = $2 AND acknowledged_at IS NULL";
    /// Calls for help.
    LIST_SOS = "-- list_sos: the newest calls for help; only open ones if so asked
        SELECT sos_id, trip_id, actor, actor_id, latitude, longitude, note, raised_at, acknowledged_at,
            acknowledged_by
        FROM sos WHERE NOT $1 OR acknowledged_at IS NULL
        ORDER BY raised_at DESC, sos_id DESC LIMIT $2";
    /// A call is taken up.
    ACKNOWLEDGE_SOS = "-- acknowledge_sos: who takes a call up first is kept
        UPDATE sos SET acknowledged_at = coalesce(acknowledged_at, $3),
            acknowledged_by = coalesce(acknowledged_by, $2)
        WHERE sos_id = $1
        RETURNING sos_id, trip_id, actor, actor_id, latitude, longitude, note, raised_at,
            acknowledged_at, acknowledged_by";

    /// Trips in search.
    TRIPS_IN_SEARCH = "-- trips_in_search: what a driver is looked for; those that wait longest first
        SELECT trip_id FROM trip WHERE state IN ('SEARCHING', 'OFFERED')
        ORDER BY search_until LIMIT $1";
    /// Offers nobody ended.
    OVERDUE_OFFERS = "-- overdue_offers: open offers that are past their end and past matching's grace
        SELECT t.trip_id, t.offer_id FROM trip t JOIN offer o ON o.offer_id = t.offer_id
        WHERE t.state = 'OFFERED'
            AND o.expires_at < clock_timestamp() - $1 * interval '1 millisecond'
        LIMIT 1000";
    /// Searches nobody ended.
    OVERDUE_SEARCHES = "-- overdue_searches: searches that are past their end and past matching's grace
        SELECT trip_id, search_until FROM trip
        WHERE state = 'SEARCHING'
            AND search_until < clock_timestamp() - $1 * interval '1 millisecond'
        LIMIT 1000";

    /// Quotes are kept.
    INSERT_QUOTES = "-- insert_quotes: the quotes of one way, one per product
        INSERT INTO quote (
            quote_id, asked_by, product, pickup_latitude, pickup_longitude, dropoff_latitude,
            dropoff_longitude, distance_m, duration_ms, fare_quote_id, fare_minor, fare_currency,
            expires_at, created_at, seats_max, cancellation_fee_minor, no_show_fee_minor,
            pickup_at, stops, tariff_version, surge_percent)
        SELECT q.quote_id, $1, q.product, $2, $3, $4, $5, $6, $7, q.fare_quote_id, q.fare_minor,
            q.fare_currency, q.expires_at, $8, q.seats_max, q.cancellation_fee_minor, q.no_show_fee_minor,
            $18, $19, q.tariff_version, q.surge_percent
        FROM unnest($9::uuid[], $10::text[], $11::text[], $12::bigint[], $13::text[],
            $14::timestamptz[], $15::integer[], $16::bigint[], $17::bigint[],
            $20::text[], $21::integer[])
            AS q (quote_id, product, fare_quote_id, fare_minor, fare_currency, expires_at, seats_max,
                cancellation_fee_minor, no_show_fee_minor, tariff_version, surge_percent)";
    /// A quote.
    READ_QUOTE = "-- read_quote: a quote and whether it still holds, by the database's clock
        SELECT quote_id, asked_by, product, pickup_latitude, pickup_longitude, dropoff_latitude,
            dropoff_longitude, distance_m, duration_ms, fare_quote_id, fare_minor, fare_currency,
            seats_max, cancellation_fee_minor, no_show_fee_minor, pickup_at, stops,
            tariff_version, surge_percent, expires_at > clock_timestamp() AS holds
        FROM quote WHERE quote_id = $1";
    /// Quotes nobody can use any more.
    PURGE_QUOTES = "-- purge_quotes: quotes that ran out longer ago than a request may take
        DELETE FROM quote WHERE quote_id IN (
            SELECT q.quote_id FROM quote q
            WHERE q.expires_at < clock_timestamp() - $1 * interval '1 millisecond'
                AND NOT EXISTS (
                    SELECT 1 FROM idempotency i
                    WHERE i.quote_id = q.quote_id AND NOT i.hold_settled)
            LIMIT 10000)";

    /// What became of a request.
    READ_KEY = "-- read_key: what became of the request with this key
        SELECT request_hash, trip_id, quote_id, state, answer, refusal
        FROM idempotency WHERE scope = $1 AND key = $2";
    /// A request begins.
    START_KEY = "-- start_key: the request begins; nothing happens when another with the same key has
        INSERT INTO idempotency (scope, key, request_hash, trip_id, quote_id)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT ON CONSTRAINT idempotency_pkey DO NOTHING";
    /// A request, locked.
    LOCK_KEY = "-- lock_key: as read_key, locked, so that of two equal requests one makes the trip
        SELECT request_hash, trip_id, quote_id, state, answer, refusal
        FROM idempotency WHERE scope = $1 AND key = $2 FOR UPDATE";
    /// A request is done.
    FINISH_KEY = "-- finish_key: the trip exists and answers for the hold; beside the trip's first row
        UPDATE idempotency SET state = 'DONE', answer = $3, hold_settled = true
        WHERE scope = $1 AND key = $2 AND state = 'STARTED'";
    /// A request is refused.
    REFUSE_KEY = "-- refuse_key: there will be no trip; what is held is released unless nothing is
        UPDATE idempotency SET state = 'REFUSED', refusal = $4, hold_settled = $5
        WHERE scope = $1 AND key = $2 AND trip_id = $3 AND state = 'STARTED'";
    /// Requests nobody finishes.
    ABANDON_KEYS = "-- abandon_keys: requests that nobody finished in time can be finished no more
        UPDATE idempotency SET state = 'ABANDONED'
        WHERE state = 'STARTED' AND NOT hold_settled
            AND created_at < clock_timestamp() - $1 * interval '1 millisecond'";
    /// Holds without a trip.
    UNSETTLED_HOLDS = "-- unsettled_holds: requests without a trip whose hold may be open
        SELECT scope, key, trip_id, state FROM idempotency
        WHERE NOT hold_settled AND state IN ('REFUSED', 'ABANDONED')
        ORDER BY created_at LIMIT 100";
    /// A refused request's hold is released.
    SETTLE_KEY = "-- settle_key: billing holds nothing for a refused request
        UPDATE idempotency SET hold_settled = true
        WHERE scope = $1 AND key = $2 AND trip_id = $3 AND state = 'REFUSED'";
    /// An abandoned request's hold is released.
    FREE_KEY = "-- free_key: billing holds nothing for an abandoned request; its key may be used again
        DELETE FROM idempotency
        WHERE scope = $1 AND key = $2 AND trip_id = $3 AND state = 'ABANDONED'";
    /// Old answers.
    PURGE_KEYS = "-- purge_keys: answers that were kept long enough
        DELETE FROM idempotency WHERE (scope, key) IN (
            SELECT scope, key FROM idempotency
            WHERE hold_settled AND created_at < clock_timestamp() - $1 * interval '1 millisecond'
            LIMIT 10000)";
}
