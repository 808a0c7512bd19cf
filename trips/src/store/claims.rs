//! Who drives what, as the database holds it: a driver is on at most one live trip, and on at most one
//! more beside it, only where its offer named the first. The rows decide, never what anybody remembers.
//!
//! What makes that hold, at READ COMMITTED, where every statement sees what was committed before it:
//!
//! - The primary key keeps each of the two slots to one trip.
//! - A claim beside another is written under a lock on that one. So the first cannot end between the look
//!   at it and the claim; and if it is just ending, the look waits and finds it gone.
//! - Who deletes a claim looks for the one beside it only after that, in another statement: a claim that
//!   was written under the lock which the deletion waited for is seen, and moved to slot 0.
//!
//! A trip's row is locked before any claim. Of claims, a transaction waits for the one it comes beside, or
//! for the one beside its own, never the other way round in a circle: who comes beside a claim in slot 1
//! is refused at once by the key.

use jitney_proto::ids::{DriverId, TripId};
use sqlx::{PgConnection, Row};

use crate::{error::Error, statements, trip::Beside};

/// The epoch a claim carries while one process owns every shard.
const EPOCH: i64 = 1;
/// The slot of the ride a driver is on.
const FIRST: i16 = 0;
/// The slot of the ride beside it.
const SECOND: i16 = 1;

/// Claims the driver: beside the trip that the offer named if they still are on it, alone otherwise.
/// Which of the two is the answer.
pub(super) async fn claim(
    connection: &mut PgConnection,
    trip_id: TripId,
    driver_id: &DriverId,
    offered: Option<Beside>,
) -> Result<Option<Beside>, Error> {
    let mut beside = None;
    if let Some(offered) = offered {
        let first = sqlx::query(statements::LOCK_CLAIM)
            .bind(driver_id.as_str())
            .bind(offered.trip_id.0)
            .fetch_optional(&mut *connection)
            .await?;
        beside = first.map(|_| offered);
    }
    sqlx::query(statements::CLAIM_DRIVER)
        .bind(driver_id.as_str())
        .bind(trip_id.0)
        .bind(EPOCH)
        .bind(if beside.is_some() { SECOND } else { FIRST })
        .bind(beside.is_some_and(|beside| beside.shared))
        .execute(connection)
        .await?;
    Ok(beside)
}

/// Frees the driver of a trip. If it was the first of two, the other is the first from now on.
pub(super) async fn release(
    connection: &mut PgConnection,
    trip_id: TripId,
    driver_id: &DriverId,
) -> Result<(), Error> {
    let row = sqlx::query(statements::RELEASE_DRIVER)
        .bind(driver_id.as_str())
        .bind(trip_id.0)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| Error::Defect("a driver on a live trip was not claimed".to_owned()))?;
    let slot: i16 = row.try_get("slot")?;
    if slot == FIRST {
        sqlx::query(statements::MOVE_CLAIM_UP)
            .bind(driver_id.as_str())
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Whether the driver of a trip has another ride to end before this one begins.
pub(super) async fn has_earlier_ride(
    connection: &mut PgConnection,
    trip_id: TripId,
) -> Result<bool, Error> {
    let row = sqlx::query(statements::HAS_EARLIER_RIDE)
        .bind(trip_id.0)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("has_earlier_ride")?)
}
