//! Pages of trips, newest first. A page begins after the last trip of the page before, not at a
//! number, so that new trips shift nothing.

use chrono::{DateTime, Utc};
use jitney_proto::ids::{DriverId, RiderId, TripId};

use super::{Store, rows};
use crate::{error::Error, state::State, statements, trip::Trip};

/// Whose trips.
#[derive(Clone, Debug, PartialEq)]
pub enum Whose {
    /// A rider's.
    Rider(RiderId),
    /// A driver's: those they have or had to the end.
    Driver(DriverId),
    /// All, or those of one rider, or one driver, or both.
    All(Option<RiderId>, Option<DriverId>),
}

/// The last trip of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct After {
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// The trip.
    pub trip_id: TripId,
}

impl After {
    /// The token that stands for it; clients are to pass it on unread.
    pub fn token(self) -> String {
        format!(
            "{:x}.{}",
            self.created_at.timestamp_micros(),
            self.trip_id.0.simple()
        )
    }

    /// What a token stands for.
    pub fn from_token(token: &str) -> Option<After> {
        let (micros, trip_id) = token.split_once('.')?;
        Some(After {
            created_at: DateTime::from_timestamp_micros(i64::from_str_radix(micros, 16).ok()?)?,
            trip_id: trip_id.parse().ok()?,
        })
    }
}

impl Store {
    /// At most `limit` trips.
    ///
    /// # Errors
    /// The database's failures.
    pub async fn trips(
        &self,
        whose: &Whose,
        states: &[State],
        after: Option<After>,
        limit: i64,
    ) -> Result<Vec<Trip>, Error> {
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        let names = (!names.is_empty()).then_some(names);
        let (statement, first, second) = match whose {
            Whose::Rider(rider) | Whose::All(Some(rider), None) => {
                (statements::LIST_TRIPS_OF_RIDER, Some(rider.as_str()), None)
            }
            Whose::Driver(driver) | Whose::All(None, Some(driver)) => (
                statements::LIST_TRIPS_OF_DRIVER,
                Some(driver.as_str()),
                None,
            ),
            Whose::All(rider, driver) => (
                statements::LIST_TRIPS,
                rider.as_ref().map(RiderId::as_str),
                Some(driver.as_ref().map(DriverId::as_str)),
            ),
        };
        let mut query = sqlx::query(statement)
            .bind(names)
            .bind(after.map(|after| after.created_at))
            .bind(after.map(|after| after.trip_id.0))
            .bind(limit)
            .bind(first);
        if let Some(second) = second {
            query = query.bind(second);
        }
        let rows = query.fetch_all(self.pool()).await?;
        rows.iter().map(rows::joined).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        let after = After {
            created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            trip_id: TripId(uuid::Uuid::from_u128(7)),
        };
        assert_eq!(After::from_token(&after.token()), Some(after));
        for bad in ["", ".", "zz.1", "1", "7fffffffffffffff.x", "-1.7"] {
            assert_eq!(After::from_token(bad), None, "{bad:?}");
        }
    }
}
