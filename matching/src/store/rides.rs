//! Trip events, written down: the version and its effect on drivers' rides in one transaction. What
//! the effect is, is decided by [`Rides`], as in memory; the drivers' rows are locked meanwhile.

use jitney_proto::ids::TripId;
use jitney_roads::LatLon;
use sqlx::{
    PgConnection, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{
    rows::{leg_name, read_rides},
    statements::{
        ADVANCE_TRIP, DELETE_OFFERS, DELETE_SECOND_RIDE, DELETE_TRIP_OFFER, DRIVERS_OF_TRIP,
        INTERN_DRIVER, LOCK_RIDES, OFFERED_STOP_ORDER, SAVE_FIRST_RIDE, SAVE_SECOND_RIDE,
    },
};
use crate::{
    news::{News, What},
    rides::{Beside, Live, Rides, StopOrder},
};

/// Writes an event down; whether it was above the last one applied.
pub(super) async fn apply(connection: &mut PgConnection, news: &News) -> Result<bool, sqlx::Error> {
    let advanced = sqlx::query(ADVANCE_TRIP)
        .bind(news.trip.0)
        .bind(news.version)
        .execute(&mut *connection)
        .await?;
    if advanced.rows_affected() == 0 {
        return Ok(false);
    }
    match &news.what {
        What::Nothing => {}
        What::OfferOver { offer, .. } => {
            sqlx::query(DELETE_OFFERS)
                .bind(vec![offer.0])
                .execute(connection)
                .await?;
        }
        What::Riding {
            driver,
            live,
            beside,
        } => {
            let driver = driver.as_str();
            sqlx::query(INTERN_DRIVER)
                .bind(driver)
                .execute(&mut *connection)
                .await?;
            let beside = match beside {
                Some(beside) => Some(ordered(connection, news.trip, driver, *beside).await?),
                None => None,
            };
            for (id, before) in lock(connection, news.trip, Some(driver)).await? {
                let after = if id == driver {
                    before.take(*live, beside).rides
                } else {
                    before.end(news.trip).unwrap_or(before)
                };
                save(connection, &id, &before, &after).await?;
            }
            delete_offer(connection, news.trip).await?;
        }
        What::Released { .. } => free(connection, news.trip).await?,
        What::Over { .. } => {
            free(connection, news.trip).await?;
            delete_offer(connection, news.trip).await?;
        }
    }
    Ok(true)
}

/// The order of stops that the offer said.
async fn ordered(
    connection: &mut PgConnection,
    trip: TripId,
    driver: &str,
    beside: Beside,
) -> Result<Beside, sqlx::Error> {
    let offered = sqlx::query(OFFERED_STOP_ORDER)
        .bind(trip.0)
        .bind(driver)
        .fetch_optional(connection)
        .await?;
    let name: Option<String> = offered.map(|row| row.try_get("stop_order")).transpose()?;
    let order = name.and_then(|name| StopOrder::named(&name));
    Ok(Beside {
        order: order.unwrap_or_default(),
        ..beside
    })
}

/// No driver has the trip any more.
async fn free(connection: &mut PgConnection, trip: TripId) -> Result<(), sqlx::Error> {
    for (id, before) in lock(connection, trip, None).await? {
        let after = before.end(trip).unwrap_or(before);
        save(connection, &id, &before, &after).await?;
    }
    Ok(())
}

async fn delete_offer(connection: &mut PgConnection, trip: TripId) -> Result<(), sqlx::Error> {
    sqlx::query(DELETE_TRIP_OFFER)
        .bind(trip.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// The rides of all who are thought to have a trip, and of whoever has it now.
async fn lock(
    connection: &mut PgConnection,
    trip: TripId,
    driver: Option<&str>,
) -> Result<Vec<(String, Rides)>, sqlx::Error> {
    let rows = sqlx::query(DRIVERS_OF_TRIP)
        .bind(trip.0)
        .fetch_all(&mut *connection)
        .await?;
    let mut ids = rows
        .iter()
        .map(|row| row.try_get("driver_id"))
        .collect::<Result<Vec<String>, _>>()?;
    ids.extend(driver.map(ToOwned::to_owned));
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(LOCK_RIDES)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let read = |row: &PgRow| Ok((row.try_get("driver_id")?, read_rides(row)?));
    rows.iter().map(read).collect()
}

async fn save(
    connection: &mut PgConnection,
    driver: &str,
    before: &Rides,
    after: &Rides,
) -> Result<(), sqlx::Error> {
    if before.first() != after.first() {
        bind(sqlx::query(SAVE_FIRST_RIDE).bind(driver), after.first())
            .execute(&mut *connection)
            .await?;
    }
    if before.second() == after.second() {
        return Ok(());
    }
    match after.second() {
        Some(second) => {
            bind(
                sqlx::query(SAVE_SECOND_RIDE).bind(driver),
                Some(&second.live),
            )
            .bind(second.shared)
            .bind(second.order.name())
            .execute(connection)
            .await?;
        }
        None => {
            sqlx::query(DELETE_SECOND_RIDE)
                .bind(driver)
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

/// A ride, as `$2` to `$11`.
fn bind<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    live: Option<&Live>,
) -> Query<'q, sqlx::Postgres, PgArguments> {
    let party = live.map(|live| live.party);
    let places = party.and_then(|party| party.places);
    let dropoff = places.and_then(|places| places.dropoff);
    query
        .bind(live.map(|live| live.ride.trip.0))
        .bind(live.map(|live| leg_name(live.leg)))
        .bind(live.map(|live| live.ride.since))
        .bind(places.map(|places| places.pickup.lat()))
        .bind(places.map(|places| places.pickup.lon()))
        .bind(dropoff.map(LatLon::lat))
        .bind(dropoff.map(LatLon::lon))
        .bind(party.map(|party| i32::try_from(party.seats).unwrap_or(i32::MAX)))
        .bind(party.map(|party| party.shares))
        .bind(party.and_then(|party| party.boarded_at))
}
