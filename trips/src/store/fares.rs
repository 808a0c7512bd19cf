//! What rides cost in the end.

use jitney_proto::ids::TripId;

use super::Store;
use crate::{error::Error, statements};

/// What a trip costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How far the rider was driven, metres, if somebody followed the car.
    pub driven_m: Option<i64>,
    /// The fare, minor units.
    pub fare_minor: i64,
    /// Billing's name for it; `None` for the up-front fare.
    pub quote_id: Option<String>,
}

impl Store {
    /// Keeps what a trip costs, unless that was decided before.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn decide_fare(&self, trip_id: TripId, decision: &Decision) -> Result<(), Error> {
        sqlx::query(statements::DECIDE_FARE)
            .bind(trip_id.0)
            .bind(decision.driven_m)
            .bind(decision.fare_minor)
            .bind(&decision.quote_id)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
