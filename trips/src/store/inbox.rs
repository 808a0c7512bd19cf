//! What other services tell: taken in once, in the statement of its effect.

use std::time::Duration;

use jitney_proto::ids::{EventId, TripId};

use super::{Store, millis};
use crate::{error::Error, statements, trip::PaymentState};

/// Where billing says the payment of a trip stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentMoved {
    /// The event.
    pub event_id: EventId,
    /// The trip.
    pub trip_id: TripId,
    /// How often its money has moved.
    pub version: i64,
    /// Where it stands since.
    pub state: PaymentState,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Heard {
    /// Whether it moved the payment: it is later than all that was told before.
    pub is_applied: bool,
    /// Whether the payment stands elsewhere than before.
    pub is_news: bool,
    /// Whether it has to be told again, because the trip is just being made.
    pub is_early: bool,
}

impl Store {
    /// Takes in what billing tells.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn apply_payment(&self, moved: &PaymentMoved) -> Result<Heard, Error> {
        let heard = sqlx::query_as(statements::APPLY_BILLING_EVENT)
            .bind(moved.event_id.0)
            .bind(moved.trip_id.0)
            .bind(moved.version)
            .bind(moved.state.name())
            .fetch_one(self.pool())
            .await?;
        Ok(heard)
    }

    /// Forgets events of others that were taken in so long ago, some of them; how many.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn purge_inbox(&self, age: Duration) -> Result<u64, Error> {
        let result = sqlx::query(statements::PURGE_INBOX)
            .bind(millis(age))
            .execute(self.pool())
            .await?;
        Ok(result.rows_affected())
    }
}
