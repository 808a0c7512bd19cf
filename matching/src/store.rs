//! What the database remembers for matching, see the migrations for the tables.
//!
//! Two kinds of writing: *soft* (positions, shifts: batched, each part kept only if newer, so late and
//! repeated writes do no harm) and *hard* (trip events: the version and its effect in one transaction).
//! The store knows rows; what they mean is decided by its callers.

mod rides;
mod rounds;
mod rows;
mod traffic;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::FutureExt;
use jitney_platform::db::transaction;
use jitney_proto::ids::OfferId;
use jitney_roads::LatLon;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{fleet::Vehicle, news::News, offer::Offer, rides::Rides};

/// Every statement of this service.
pub mod statements {
    jitney_platform::statements! {
        /// Positions and shifts of many drivers.
        SAVE_DRIVERS = include_str!("sql/save_drivers.sql");
        /// Drivers whose rides are to be written down. On its own, not in the transaction that locks drivers:
        /// who keeps a new row and then waits for another can be waited for by `SAVE_DRIVERS`.
        INTERN_DRIVERS = "-- intern_drivers: the drivers have a row
            INSERT INTO driver (driver_id)
            SELECT driver_id FROM unnest($1::text[]) AS said (driver_id) ORDER BY driver_id
            ON CONFLICT (driver_id) DO NOTHING";
        /// Drivers whose rides events change.
        LOCK_DRIVERS = include_str!("sql/lock_drivers.sql");
        /// Their rides.
        RIDES_OF_DRIVERS = include_str!("sql/rides_of_drivers.sql");
        /// Drivers' live trips, each the first of two.
        SAVE_FIRST_RIDES = include_str!("sql/save_first_rides.sql");
        /// The ride beside it.
        SAVE_SECOND_RIDE = include_str!("sql/save_second_ride.sql");
        /// There is none beside it any more.
        DELETE_SECOND_RIDE = "-- delete_second_ride: one ride is all
            DELETE FROM second_ride WHERE driver_id = $1";
        /// How the stops were offered that a driver accepted.
        OFFERED_STOP_ORDER = "-- offered_stop_order: the order of stops that an offer said
            SELECT stop_order FROM offer WHERE trip_id = $1 AND driver_id = $2";
        /// Offers about to be made.
        SAVE_OFFERS = include_str!("sql/save_offers.sql");
        /// The gate every trip event passes first. The rows stay locked until the effects are committed,
        /// so two deliveries of one event, or two events of one trip, go one after the other.
        ADVANCE_TRIPS = "-- advance_trips: the trips whose event is above the last one applied
            INSERT INTO trip_applied (trip_id, version) SELECT * FROM unnest($1::uuid[], $2::bigint[])
            ON CONFLICT (trip_id) DO UPDATE SET version = excluded.version, applied_at = now()
            WHERE trip_applied.version < excluded.version
            RETURNING trip_id";
        /// What events say is over, in the order in which offers are saved.
        DELETE_OFFERS = include_str!("sql/delete_offers.sql");
        /// Offers that ended as far as the fleet knows. One that another transaction has is deleted or
        /// replaced by it: nobody here waits for it.
        DELETE_ENDED_OFFERS = "-- delete_ended_offers: these offers ended
            DELETE FROM offer WHERE trip_id IN (
                SELECT trip_id FROM offer WHERE offer_id = ANY($1) FOR UPDATE SKIP LOCKED
            ) AND offer_id = ANY($1)";
        /// Everybody, at start.
        LOAD_DRIVERS = include_str!("sql/load_drivers.sql");
        /// Open offers, at start.
        LOAD_OFFERS = "-- load_offers: offers that had not run out at that moment, the youngest first
            SELECT trip_id, offer_id, rider_id, driver_id, product,
                   pickup_latitude, pickup_longitude, dropoff_latitude, dropoff_longitude,
                   fare_minor, fare_currency, pickup_duration_ms, pickup_distance_m, expires_at,
                   seats, beside_trip_id, shared, stop_order
            FROM offer WHERE expires_at > $1 ORDER BY expires_at DESC, offer_id DESC";
        /// Housekeeping.
        DELETE_OLD_OFFERS = "-- delete_old_offers: leftovers that ran out long ago
            DELETE FROM offer WHERE trip_id IN (
                SELECT trip_id FROM offer WHERE expires_at < $1 FOR UPDATE SKIP LOCKED
            ) AND expires_at < $1";
        /// Rounds, in bulk; one that is there already stays as it is.
        SAVE_ROUNDS = "-- save_rounds: dispatch rounds that were held
            INSERT INTO round (round_id, decided_at, policy, requests, assigned, body)
            SELECT * FROM unnest(
                $1::uuid[], $2::timestamptz[], $3::text[], $4::integer[], $5::integer[], $6::bytea[]
            )
            ON CONFLICT (round_id) DO NOTHING";
        /// The trips of rounds, in bulk.
        SAVE_ROUND_TRIPS = "-- save_round_trips: which trips were in them
            INSERT INTO round_trip (trip_id, round_id) SELECT * FROM unnest($1::uuid[], $2::uuid[])
            ON CONFLICT (trip_id, round_id) DO NOTHING";
        /// The latest rounds before a moment.
        LIST_ROUNDS = "-- list_rounds: rounds before a moment, latest first
            SELECT round_id, decided_at, policy, requests, assigned FROM round
            WHERE decided_at < $1 ORDER BY decided_at DESC, round_id DESC LIMIT $2";
        /// The same, of one trip.
        LIST_ROUNDS_OF_TRIP = "-- list_rounds_of_trip: rounds a trip was in, latest first
            SELECT round_id, decided_at, policy, requests, assigned
            FROM round_trip JOIN round USING (round_id)
            WHERE trip_id = $1 AND decided_at < $2
            ORDER BY decided_at DESC, round_id DESC LIMIT $3";
        /// One round with all it was decided from.
        LOAD_ROUND = "-- load_round: a round
            SELECT body FROM round WHERE round_id = $1";
        /// Housekeeping.
        DELETE_OLD_ROUNDS = "-- delete_old_rounds: rounds decided before a moment
            DELETE FROM round WHERE decided_at < $1";
        /// Housekeeping.
        DELETE_SPARE_ROUNDS = "-- delete_spare_rounds: the oldest of more than that many
            DELETE FROM round WHERE decided_at <= (
                SELECT decided_at FROM round ORDER BY decided_at DESC, round_id DESC LIMIT 1 OFFSET $1
            )";
        /// What was learnt of the traffic, in bulk.
        SAVE_TRAFFIC = "-- save_traffic: what is known of a map's arcs, in the place of what was
            INSERT INTO traffic (map_id, arc, weight, ratio, observed_ms)
            SELECT $1, * FROM unnest(
                $2::bigint[], $3::double precision[], $4::double precision[], $5::bigint[]
            )
            ON CONFLICT (map_id, arc) DO UPDATE SET
                weight = excluded.weight, ratio = excluded.ratio, observed_ms = excluded.observed_ms";
        /// What was learnt of the traffic, at start.
        LOAD_TRAFFIC = "-- load_traffic: what is known of a map's arcs, by arc
            SELECT arc, weight, ratio, observed_ms FROM traffic WHERE map_id = $1 ORDER BY arc";
        /// Housekeeping.
        DELETE_OLD_TRAFFIC = "-- delete_old_traffic: what was observed too long ago to tell anything
            DELETE FROM traffic WHERE observed_ms < $1";
        /// What an operator set.
        LOAD_SETTING = "-- load_setting: a setting
            SELECT value FROM setting WHERE name = $1";
        /// What an operator sets.
        SAVE_SETTING = "-- save_setting: a setting, in the place of what it was
            INSERT INTO setting (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value, set_at = now()";
        /// Housekeeping.
        DELETE_OLD_TRIPS = "-- delete_old_trips: versions of trips that no late event can be about
            DELETE FROM trip_applied WHERE applied_at < now() - make_interval(secs => $1)";
    }
}
use statements::*;

use rides::Stopped;
pub use rounds::RoundRow;
pub use rows::DriverRow;
use rows::{read_driver, read_offer, read_rides};

/// The matching schema.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

/// Rows of one statement, at most.
const BATCH: usize = 1_000;

impl Store {
    /// A store on a pool whose connections see the matching schema.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Writes soft state.
    ///
    /// # Errors
    /// The database's.
    pub async fn save_drivers(&self, mut rows: Vec<DriverRow>) -> Result<(), sqlx::Error> {
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        for rows in rows.chunks(BATCH) {
            let column =
                |value: fn(&DriverRow) -> Option<f64>| rows.iter().map(value).collect::<Vec<_>>();
            let text = |value: fn(&Vehicle) -> &String| {
                rows.iter()
                    .map(|row| row.vehicle.as_ref().map(value).cloned())
                    .collect::<Vec<_>>()
            };
            sqlx::query(SAVE_DRIVERS)
                .bind(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>())
                .bind(
                    rows.iter()
                        .map(|row| row.products.join(","))
                        .collect::<Vec<_>>(),
                )
                .bind(text(|vehicle| &vehicle.plate))
                .bind(text(|vehicle| &vehicle.description))
                .bind(rows.iter().map(|row| row.available).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.shift_no).collect::<Vec<_>>())
                .bind(column(|row| row.position.map(|(place, _, _)| place.lat())))
                .bind(column(|row| row.position.map(|(place, _, _)| place.lon())))
                .bind(
                    rows.iter()
                        .map(|row| row.position.and_then(|(_, heading, _)| heading))
                        .collect::<Vec<_>>(),
                )
                .bind(
                    rows.iter()
                        .map(|row| row.position.map(|(_, _, at)| at))
                        .collect::<Vec<_>>(),
                )
                .bind(column(|row| row.destination.map(LatLon::lat)))
                .bind(column(|row| row.destination.map(LatLon::lon)))
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// Writes down offers that are about to be made.
    ///
    /// # Errors
    /// The database's; then none of them was written.
    pub async fn save_offers(&self, offers: &[Offer]) -> Result<(), sqlx::Error> {
        let place = |value: fn(&Offer) -> Option<f64>| offers.iter().map(value).collect::<Vec<_>>();
        let text = |value: fn(&Offer) -> String| offers.iter().map(value).collect::<Vec<_>>();
        let number =
            |value: fn(&Offer) -> Option<i64>| offers.iter().map(value).collect::<Vec<_>>();
        let currency = |offer: &Offer| offer.fare.map(|fare| fare.currency.to_string());
        sqlx::query(SAVE_OFFERS)
            .bind(offers.iter().map(|offer| offer.trip.0).collect::<Vec<_>>())
            .bind(offers.iter().map(|offer| offer.id.0).collect::<Vec<_>>())
            .bind(text(|offer| offer.rider.to_string()))
            .bind(text(|offer| offer.driver.to_string()))
            .bind(text(|offer| offer.product.to_string()))
            .bind(place(|offer| Some(offer.places.pickup.lat())))
            .bind(place(|offer| Some(offer.places.pickup.lon())))
            .bind(place(|offer| offer.places.dropoff.map(LatLon::lat)))
            .bind(place(|offer| offer.places.dropoff.map(LatLon::lon)))
            .bind(number(|offer| offer.fare.map(|fare| fare.minor)))
            .bind(offers.iter().map(currency).collect::<Vec<_>>())
            .bind(number(|offer| Some(i64::from(offer.to_pickup.duration_ms))))
            .bind(number(|offer| Some(i64::from(offer.to_pickup.distance_m))))
            .bind(
                offers
                    .iter()
                    .map(|offer| offer.expires_at)
                    .collect::<Vec<_>>(),
            )
            .bind(
                offers
                    .iter()
                    .map(|offer| i32::try_from(offer.seats).unwrap_or(i32::MAX))
                    .collect::<Vec<_>>(),
            )
            .bind(
                offers
                    .iter()
                    .map(|offer| offer.beside.map(|beside| beside.trip.0))
                    .collect::<Vec<_>>(),
            )
            .bind(
                offers
                    .iter()
                    .map(|offer| offer.beside.is_some_and(|beside| beside.shared))
                    .collect::<Vec<_>>(),
            )
            .bind(text(|offer| {
                let order = offer.beside.map(|beside| beside.order).unwrap_or_default();
                order.name().to_owned()
            }))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes offers that ended; one that is in another transaction's hands is left to it.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_offers(&self, offers: &[OfferId]) -> Result<(), sqlx::Error> {
        let ids: Vec<Uuid> = offers.iter().map(|offer| offer.0).collect();
        sqlx::query(DELETE_ENDED_OFFERS)
            .bind(ids)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Writes trip events down, versions and effects in one transaction, those of one trip in their order;
    /// whether each was above the last one applied.
    ///
    /// # Errors
    /// The database's. Whether they were written down is then unknown: deliver them again.
    pub async fn apply(&self, news: Vec<News>) -> Result<Vec<bool>, sqlx::Error> {
        let news: Arc<[News]> = news.into();
        loop {
            let news = Arc::clone(&news);
            let applied = transaction(&self.pool, "apply_trip_events", move |connection| {
                let news = Arc::clone(&news);
                async move { rides::apply(connection, &news).await }.boxed()
            });
            match applied.await {
                Ok(applied) => return Ok(applied),
                Err(Stopped::Store(error)) => return Err(error),
                Err(Stopped::UnknownDrivers(drivers)) => {
                    let interned = sqlx::query(INTERN_DRIVERS).bind(drivers);
                    interned.execute(&self.pool).await?;
                }
            }
        }
    }

    /// Everybody, by id.
    ///
    /// # Errors
    /// The database's, and [`sqlx::Error::Decode`] for a row that cannot be.
    pub async fn load_drivers(&self) -> Result<Vec<(DriverRow, Rides)>, sqlx::Error> {
        let rows = sqlx::query(LOAD_DRIVERS).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Ok((read_driver(row)?, read_rides(row)?)))
            .collect()
    }

    /// Offers that end later than a moment, the youngest first: of two to one driver the older one had
    /// ended, and only its row was left.
    ///
    /// # Errors
    /// The database's, and [`sqlx::Error::Decode`] for a row that cannot be.
    pub async fn load_offers(&self, moment: DateTime<Utc>) -> Result<Vec<Offer>, sqlx::Error> {
        let rows = sqlx::query(LOAD_OFFERS)
            .bind(moment)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_offer).collect()
    }

    /// Deletes what nobody will ask for: offers that ran out before `offers_before` and versions of
    /// trips older than `trip_memory`.
    ///
    /// # Errors
    /// The database's.
    pub async fn tidy(
        &self,
        offers_before: DateTime<Utc>,
        trip_memory: Duration,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(DELETE_OLD_OFFERS)
            .bind(offers_before)
            .execute(&self.pool)
            .await?;
        sqlx::query(DELETE_OLD_TRIPS)
            .bind(trip_memory.as_secs_f64())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
