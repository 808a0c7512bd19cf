//! The database: one transaction per change, and the readings. Which change it is was decided by
//! [`crate::state`]; here it is made to hold against everybody else.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use jitney_platform::db;
use jitney_proto::ids::{OfferId, TripId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    command::Command,
    error::Error,
    state::Limits,
    statements,
    trip::{LogEntry, PaymentState, Trip},
};

mod bookings;
mod change;
mod claims;
pub mod fares;
pub mod inbox;
pub mod keys;
pub mod list;
pub mod quotes;
pub mod ratings;
mod rows;
pub mod shares;
pub mod sos;
pub mod stats;
mod timers;
mod together;
mod trace;

use rows::LogRow;
pub use together::Job;

/// The trip service's schema.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

/// What commands are judged by, beside the trip.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Now.
    pub now: DateTime<Utc>,
    /// What is configured.
    pub limits: Limits,
}

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The trip after it.
    pub trip: Trip,
    /// Whether it changed the trip.
    pub is_changed: bool,
}

/// How far a trip is.
pub type Standing = (i64, PaymentState);

/// A fresh time-ordered id.
pub fn fresh_id(now: DateTime<Utc>) -> Uuid {
    let seconds = now.timestamp().max(0).cast_unsigned();
    Uuid::new_v7(uuid::Timestamp::from_unix(
        uuid::NoContext,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

impl Store {
    /// The schema behind a pool.
    pub fn new(pool: PgPool) -> Store {
        Store { pool }
    }

    /// The pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Carries a command out, or not at all. A wrong PIN is refused and yet counted.
    ///
    /// # Errors
    /// The refusal, what the database's constraints refuse, and the database's failures.
    pub async fn carry_out(
        &self,
        trip_id: TripId,
        command: Command,
        rules: Rules,
    ) -> Result<Outcome, Error> {
        let name = command.kind().name();
        let command = Arc::new(command);
        db::transaction(&self.pool, name, move |connection| {
            let command = Arc::clone(&command);
            async move { change::judge_and_write(connection, trip_id, &command, rules).await }
                .boxed()
        })
        .await?
        .map_err(Error::Refused)
    }

    /// A trip as it stands.
    ///
    /// # Errors
    /// NOT_FOUND, and the database's failures.
    pub async fn trip(&self, trip_id: TripId) -> Result<Trip, Error> {
        let row = sqlx::query(statements::READ_TRIP)
            .bind(trip_id.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::NotFound("trip"))?;
        rows::joined(&row)
    }

    /// A trip's log, oldest first.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn log(&self, trip_id: TripId) -> Result<Vec<LogEntry>, Error> {
        let rows: Vec<LogRow> = sqlx::query_as(statements::READ_LOG)
            .bind(trip_id.0)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(LogRow::entry).collect()
    }

    /// To whom an offer was made.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn offer_driver(
        &self,
        trip_id: TripId,
        offer_id: OfferId,
    ) -> Result<Option<String>, Error> {
        let driver_id = sqlx::query_scalar(statements::READ_OFFER_DRIVER)
            .bind(offer_id.0)
            .bind(trip_id.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(driver_id)
    }

    /// Who is not to be asked again for a trip.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn excluded_drivers(&self, trip_id: TripId) -> Result<Vec<String>, Error> {
        let drivers = sqlx::query_scalar(statements::EXCLUDED_DRIVERS)
            .bind(trip_id.0)
            .fetch_all(&self.pool)
            .await?;
        Ok(drivers)
    }

    /// Trips a driver is looked for, at most `limit`, those that wait longest first.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn in_search(&self, limit: i64) -> Result<Vec<TripId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(statements::TRIPS_IN_SEARCH)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        Ok(ids.into_iter().map(TripId).collect())
    }

    /// Open offers that ended longer than `grace` ago, by the database's clock.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn overdue_offers(
        &self,
        grace: std::time::Duration,
    ) -> Result<Vec<(TripId, OfferId)>, Error> {
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(statements::OVERDUE_OFFERS)
            .bind(millis(grace))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|(trip, offer)| (TripId(trip), OfferId(offer)))
            .collect())
    }

    /// Searches without an open offer that ended longer than `grace` ago, by the database's clock.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn overdue_searches(
        &self,
        grace: std::time::Duration,
    ) -> Result<Vec<(TripId, DateTime<Utc>)>, Error> {
        let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(statements::OVERDUE_SEARCHES)
            .bind(millis(grace))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|(trip, until)| (TripId(trip), until))
            .collect())
    }

    /// How far some trips are.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn standings(&self, trips: &[TripId]) -> Result<Vec<(TripId, Standing)>, Error> {
        let ids: Vec<Uuid> = trips.iter().map(|trip| trip.0).collect();
        let rows: Vec<(Uuid, i64, String)> = sqlx::query_as(statements::READ_VERSIONS)
            .bind(ids)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|(trip, version, payment)| {
                let payment = PaymentState::from_name(&payment)
                    .ok_or_else(|| Error::Defect(format!("payment state {payment:?}")))?;
                Ok((TripId(trip), (version, payment)))
            })
            .collect()
    }

    /// Records what billing answered, and in which version of the payment, if it said so; whether that is
    /// news.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn set_payment_state(
        &self,
        trip_id: TripId,
        payment: PaymentState,
        payment_version: i64,
    ) -> Result<bool, Error> {
        let result = sqlx::query(statements::SET_PAYMENT_STATE)
            .bind(trip_id.0)
            .bind(payment.name())
            .bind(payment_version)
            .execute(&self.pool)
            .await?;
        Ok(result.rows_affected() > 0)
    }
}

/// A duration as the statements take it.
fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
