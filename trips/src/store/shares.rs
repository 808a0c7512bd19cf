//! Links by which somebody without an account sees a trip.

use chrono::{DateTime, Utc};
use jitney_proto::ids::TripId;
use uuid::Uuid;

use super::Store;
use crate::{error::Error, statements, trip::By};

/// What a link shows, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The trip.
    pub trip_id: TripId,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

impl Store {
    /// Keeps a new link.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn add_share(
        &self,
        share_id: Uuid,
        share: Share,
        by: &By,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query(statements::ADD_SHARE)
            .bind(share_id)
            .bind(share.trip_id.0)
            .bind(by.actor.name())
            .bind(&by.id)
            .bind(now)
            .bind(share.expires_at)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// What a link shows, if it shows anything now: it has not run out, nobody took it back, and the trip
    /// is not over for longer than `after_end`.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn share(
        &self,
        share_id: Uuid,
        after_end: std::time::Duration,
    ) -> Result<Option<Share>, Error> {
        let row: Option<(Uuid, DateTime<Utc>)> = sqlx::query_as(statements::READ_SHARE)
            .bind(share_id)
            .bind(super::millis(after_end))
            .fetch_optional(self.pool())
            .await?;
        Ok(row.map(|(trip_id, expires_at)| Share {
            trip_id: TripId(trip_id),
            expires_at,
        }))
    }

    /// Takes back the links that somebody made of a trip; how many.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn drop_shares(&self, trip_id: TripId, by: &By) -> Result<u64, Error> {
        let result = sqlx::query(statements::DROP_SHARES)
            .bind(trip_id.0)
            .bind(by.actor.name())
            .bind(&by.id)
            .execute(self.pool())
            .await?;
        Ok(result.rows_affected())
    }
}
