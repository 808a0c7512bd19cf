//! Trip events, written down: versions and their effects on drivers' rides in one transaction, however
//! many events it are. What the effect is, is decided by [`Rides`], as in memory; the drivers' rows are
//! locked meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jitney_platform::db::Retryable;
use jitney_proto::ids::TripId;
use jitney_roads::LatLon;
use sqlx::{
    PgConnection, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::{
    rows::{leg_name, read_rides},
    statements::{
        ADVANCE_TRIPS, DELETE_OFFERS, DELETE_SECOND_RIDE, LOCK_DRIVERS, OFFERED_STOP_ORDER,
        RIDES_OF_DRIVERS, SAVE_FIRST_RIDES, SAVE_SECOND_RIDE,
    },
};
use crate::{
    news::{News, What},
    rides::{Beside, Live, Rides, StopOrder},
};

/// Why events were not written down. Nothing of them was.
#[derive(Debug)]
pub(super) enum Stopped {
    /// These drivers have no row yet: give them one and apply the events again.
    UnknownDrivers(Vec<String>),
    /// The database's error.
    Store(sqlx::Error),
}

impl From<sqlx::Error> for Stopped {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error)
    }
}

impl Retryable for Stopped {
    fn sqlx(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Store(error) => Some(error),
            Self::UnknownDrivers(_) => None,
        }
    }
}

/// Writes events down, those of one trip in their order; whether each was above the last one applied.
pub(super) async fn apply(
    connection: &mut PgConnection,
    news: &[News],
) -> Result<Vec<bool>, Stopped> {
    let applied = advance(connection, news).await?;
    let fresh: Vec<&News> = news
        .iter()
        .zip(&applied)
        .filter_map(|(news, applied)| applied.then_some(news))
        .collect();
    let before = lock(connection, &fresh).await?;
    let mut after = before.clone();
    for news in &fresh {
        match &news.what {
            What::Nothing | What::OfferOver { .. } => {}
            What::Riding {
                driver,
                live,
                beside,
            } => {
                let driver = driver.as_str();
                let beside = match beside {
                    Some(beside) => Some(ordered(connection, news.trip, driver, *beside).await?),
                    None => None,
                };
                for (id, rides) in &mut after {
                    if id == driver {
                        *rides = rides.take(*live, beside).rides;
                    } else {
                        *rides = rides.end(news.trip).unwrap_or(*rides);
                    }
                }
            }
            What::Released { .. } | What::Over { .. } => {
                for rides in after.values_mut() {
                    *rides = rides.end(news.trip).unwrap_or(*rides);
                }
            }
        }
    }
    save(connection, &before, &after).await?;
    delete_offers(connection, &fresh).await?;
    Ok(applied)
}

/// Passes the gate with every event; which are above the last one applied. No statement may pass two
/// events of one trip, so those that come later in it have statements of their own.
async fn advance(connection: &mut PgConnection, news: &[News]) -> Result<Vec<bool>, sqlx::Error> {
    let mut applied = vec![false; news.len()];
    let mut left: Vec<usize> = (0..news.len()).collect();
    while !left.is_empty() {
        let mut trips = HashSet::with_capacity(left.len());
        let (mut now, later): (Vec<usize>, Vec<usize>) = left
            .iter()
            .partition(|place| trips.insert(news[**place].trip));
        // Two of these at once lock the trips in one order.
        now.sort_by_key(|place| news[*place].trip);
        let ids: Vec<Uuid> = now.iter().map(|place| news[*place].trip.0).collect();
        let versions: Vec<i64> = now.iter().map(|place| news[*place].version).collect();
        let advanced: Vec<Uuid> = sqlx::query_scalar(ADVANCE_TRIPS)
            .bind(ids)
            .bind(versions)
            .fetch_all(&mut *connection)
            .await?;
        let advanced: HashSet<Uuid> = advanced.into_iter().collect();
        for place in now {
            applied[place] = advanced.contains(&news[place].trip.0);
        }
        left = later;
    }
    Ok(applied)
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

/// The rides of all who are thought to have one of the trips, and of whoever has one now, by driver. Their
/// rows are locked.
async fn lock(
    connection: &mut PgConnection,
    news: &[&News],
) -> Result<BTreeMap<String, Rides>, Stopped> {
    let (mut trips, mut drivers) = (Vec::new(), BTreeSet::new());
    for news in news {
        match &news.what {
            What::Nothing | What::OfferOver { .. } => {}
            What::Riding { driver, .. } => {
                trips.push(news.trip.0);
                drivers.insert(driver.as_str());
            }
            What::Released { .. } | What::Over { .. } => trips.push(news.trip.0),
        }
    }
    if trips.is_empty() {
        return Ok(BTreeMap::new());
    }
    let drivers: Vec<&str> = drivers.into_iter().collect();
    let locked = read_locked(connection, &drivers, &trips).await?;
    let unknown: Vec<String> = drivers
        .iter()
        .filter(|driver| !locked.contains_key(**driver))
        .map(|driver| (*driver).to_owned())
        .collect();
    if unknown.is_empty() {
        Ok(locked)
    } else {
        Err(Stopped::UnknownDrivers(unknown))
    }
}

async fn read_locked(
    connection: &mut PgConnection,
    drivers: &[&str],
    trips: &[Uuid],
) -> Result<BTreeMap<String, Rides>, sqlx::Error> {
    let locked: Vec<String> = sqlx::query_scalar(LOCK_DRIVERS)
        .bind(drivers)
        .bind(trips)
        .fetch_all(&mut *connection)
        .await?;
    if locked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(RIDES_OF_DRIVERS)
        .bind(locked)
        .fetch_all(connection)
        .await?;
    let read = |row: &PgRow| Ok((row.try_get("driver_id")?, read_rides(row)?));
    rows.iter().map(read).collect()
}

/// Writes the rides that have changed.
async fn save(
    connection: &mut PgConnection,
    before: &BTreeMap<String, Rides>,
    after: &BTreeMap<String, Rides>,
) -> Result<(), sqlx::Error> {
    let changed = || {
        after.iter().filter_map(|(driver, rides)| {
            let before = before.get(driver).copied().unwrap_or_default();
            (before != *rides).then_some((driver.as_str(), before, *rides))
        })
    };
    let first: Vec<(&str, Option<Live>)> = changed()
        .filter(|(_, before, after)| before.first() != after.first())
        .map(|(driver, _, after)| (driver, after.first().copied()))
        .collect();
    save_first(connection, &first).await?;
    for (driver, before, after) in changed() {
        if before.second() == after.second() {
            continue;
        }
        let Some(second) = after.second() else {
            sqlx::query(DELETE_SECOND_RIDE)
                .bind(driver)
                .execute(&mut *connection)
                .await?;
            continue;
        };
        bind(sqlx::query(SAVE_SECOND_RIDE).bind(driver), &second.live)
            .bind(second.shared)
            .bind(second.order.name())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn save_first(
    connection: &mut PgConnection,
    rides: &[(&str, Option<Live>)],
) -> Result<(), sqlx::Error> {
    if rides.is_empty() {
        return Ok(());
    }
    fn column<T>(
        rides: &[(&str, Option<Live>)],
        value: impl Fn(&Live) -> Option<T>,
    ) -> Vec<Option<T>> {
        let of = |(_, live): &(&str, Option<Live>)| live.as_ref().and_then(&value);
        rides.iter().map(of).collect()
    }
    let drivers: Vec<&str> = rides.iter().map(|(driver, _)| *driver).collect();
    sqlx::query(SAVE_FIRST_RIDES)
        .bind(drivers)
        .bind(column(rides, |live| Some(live.ride.trip.0)))
        .bind(column(rides, |live| Some(leg_name(live.leg))))
        .bind(column(rides, |live| Some(live.ride.since)))
        .bind(column(rides, |live| {
            live.party.places.map(|places| places.pickup.lat())
        }))
        .bind(column(rides, |live| {
            live.party.places.map(|places| places.pickup.lon())
        }))
        .bind(column(rides, |live| dropoff(live).map(LatLon::lat)))
        .bind(column(rides, |live| dropoff(live).map(LatLon::lon)))
        .bind(column(rides, |live| Some(seats(live))))
        .bind(column(rides, |live| Some(live.party.shares)))
        .bind(column(rides, |live| live.party.boarded_at))
        .bind(column(rides, |live| Some(stops_left(live))))
        .execute(connection)
        .await?;
    Ok(())
}

/// A ride, as `$2` to `$12`.
fn bind<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    live: &Live,
) -> Query<'q, sqlx::Postgres, PgArguments> {
    let pickup = live.party.places.map(|places| places.pickup);
    query
        .bind(live.ride.trip.0)
        .bind(leg_name(live.leg))
        .bind(live.ride.since)
        .bind(pickup.map(LatLon::lat))
        .bind(pickup.map(LatLon::lon))
        .bind(dropoff(live).map(LatLon::lat))
        .bind(dropoff(live).map(LatLon::lon))
        .bind(seats(live))
        .bind(live.party.shares)
        .bind(live.party.boarded_at)
        .bind(stops_left(live))
}

fn dropoff(live: &Live) -> Option<LatLon> {
    live.party.places.and_then(|places| places.dropoff)
}

fn stops_left(live: &Live) -> i32 {
    i32::try_from(live.party.stops_left).unwrap_or(i32::MAX)
}

fn seats(live: &Live) -> i32 {
    i32::try_from(live.party.seats).unwrap_or(i32::MAX)
}

/// Forgets the offers that are over, and those of trips that need none any more.
async fn delete_offers(connection: &mut PgConnection, news: &[&News]) -> Result<(), sqlx::Error> {
    let (mut offers, mut trips) = (Vec::new(), Vec::new());
    for news in news {
        match &news.what {
            What::Nothing | What::Released { .. } => {}
            What::OfferOver { offer, .. } => offers.push(offer.0),
            What::Riding { .. } | What::Over { .. } => trips.push(news.trip.0),
        }
    }
    if offers.is_empty() && trips.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(DELETE_OFFERS).bind(trips).bind(offers);
    query.execute(connection).await?;
    Ok(())
}
