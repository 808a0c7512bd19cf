//! Rides that were booked for later, until their search begins.

use chrono::{DateTime, Utc};
use jitney_proto::ids::TripId;
use uuid::Uuid;

use super::{Store, millis};
use crate::{error::Error, statements};

impl Store {
    /// Booked rides whose search may have to begin, by the database's clock; those due longest first.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn due_releases(&self, limit: i64) -> Result<Vec<TripId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(statements::DUE_RELEASES)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(ids.into_iter().map(TripId).collect())
    }

    /// Has a booked ride looked at later.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn postpone_release(
        &self,
        trip_id: TripId,
        release_at: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query(statements::POSTPONE_RELEASE)
            .bind(trip_id.0)
            .bind(release_at)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Keeps that a fare may be held for a booked ride from now on; `false` when it is not waiting.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn begin_hold(&self, trip_id: TripId) -> Result<bool, Error> {
        let result = sqlx::query(statements::BEGIN_HOLD)
            .bind(trip_id.0)
            .execute(self.pool())
            .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Booked rides that ended longer than `age` ago and for which a fare may be held.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn pending_holds(&self, age: std::time::Duration) -> Result<Vec<TripId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(statements::PENDING_HOLDS)
            .bind(millis(age))
            .fetch_all(self.pool())
            .await?;
        Ok(ids.into_iter().map(TripId).collect())
    }

    /// Keeps that nothing is held for a booked ride that has ended.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn settle_hold(&self, trip_id: TripId) -> Result<(), Error> {
        sqlx::query(statements::SETTLE_HOLD)
            .bind(trip_id.0)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
