//! What riders and drivers thought of each other.

use chrono::{DateTime, Utc};
use jitney_proto::ids::TripId;

use super::Store;
use crate::{error::Error, statements, trip::Actor};

/// One's word on the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rating {
    /// Of which trip.
    pub trip_id: TripId,
    /// By the rider or by the driver.
    pub by: Actor,
    /// Whom.
    pub rated_id: String,
    /// 1 to 5.
    pub stars: i16,
    /// In words; may be empty.
    pub comment: String,
}

/// What others thought of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opinion {
    /// How many of the newest ratings count.
    pub ratings: i64,
    /// What they sum to.
    pub stars: i64,
}

impl Store {
    /// Keeps a rating; a later one of the same trip by the same person takes its place.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn rate(&self, rating: &Rating, now: DateTime<Utc>) -> Result<(), Error> {
        sqlx::query(statements::RATE)
            .bind(rating.trip_id.0)
            .bind(rating.by.name())
            .bind(&rating.rated_id)
            .bind(rating.stars)
            .bind(&rating.comment)
            .bind(now)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// What was thought of somebody by those who rate in the part of `by`, at most `newest` of it.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn opinion(&self, rated_id: &str, by: Actor, newest: u32) -> Result<Opinion, Error> {
        let (ratings, stars) = sqlx::query_as(statements::READ_OPINION)
            .bind(rated_id)
            .bind(by.name())
            .bind(i64::from(newest))
            .fetch_one(self.pool())
            .await?;
        Ok(Opinion { ratings, stars })
    }
}
