//! Live rides that something is due for.

use std::time::Duration;

use jitney_proto::ids::TripId;
use uuid::Uuid;

use super::{Store, millis};
use crate::{error::Error, statements};

impl Store {
    /// Live rides whose hold was made or renewed longer ago than `age`, by the database's clock, oldest first.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn due_renewals(&self, age: Duration, limit: i64) -> Result<Vec<TripId>, Error> {
        self.due(statements::DUE_RENEWALS, age, limit).await
    }

    /// Keeps that billing was asked to renew a ride's hold.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn renewed(&self, trip_id: TripId) -> Result<(), Error> {
        sqlx::query(statements::RENEWED)
            .bind(trip_id.0)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Rides whose driver has waited at the pick-up for longer than `wait`, by the database's clock.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn due_no_shows(&self, wait: Duration, limit: i64) -> Result<Vec<TripId>, Error> {
        self.due(statements::DUE_NO_SHOWS, wait, limit).await
    }

    async fn due(
        &self,
        statement: &'static str,
        age: Duration,
        limit: i64,
    ) -> Result<Vec<TripId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(statement)
            .bind(millis(age))
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(ids.into_iter().map(TripId).collect())
    }
}
