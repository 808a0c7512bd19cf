//! What rows mean.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, OfferId, TripId},
    money::Money,
};
use jitney_roads::{LatLon, Travel};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    fleet::Vehicle,
    offer::Offer,
    rides::{Beside, Leg, Live, Party, Places, Ride, Rides, Second, StopOrder},
};

/// A driver's soft state.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverRow {
    /// Who.
    pub id: DriverId,
    /// Ids of the products they serve.
    pub products: Vec<String>,
    /// What they drive.
    pub vehicle: Option<Vehicle>,
    /// On shift.
    pub available: bool,
    /// See [`crate::fleet::Driver::shift_no`].
    pub shift_no: i64,
    /// Where they are, which way, and since when.
    pub position: Option<(LatLon, Option<f32>, DateTime<Utc>)>,
    /// Where they want to get to.
    pub destination: Option<LatLon>,
}

pub(super) fn leg_name(leg: Leg) -> &'static str {
    match leg {
        Leg::ToPickup => "TO_PICKUP",
        Leg::ToDropoff => "TO_DROPOFF",
    }
}

pub(super) fn read_driver(row: &PgRow) -> Result<DriverRow, sqlx::Error> {
    let id: String = row.try_get("driver_id")?;
    let plate: Option<String> = row.try_get("plate")?;
    let vehicle: Option<String> = row.try_get("vehicle")?;
    let position = match (
        read_place(row, "latitude", "longitude")?,
        row.try_get("located_at")?,
    ) {
        (Some(place), Some(at)) => Some((place, row.try_get("heading")?, at)),
        _ => None,
    };
    Ok(DriverRow {
        id: id.parse().map_err(decode)?,
        products: row.try_get("products")?,
        vehicle: plate
            .zip(vehicle)
            .map(|(plate, description)| Vehicle { plate, description }),
        available: row.try_get("available")?,
        shift_no: row.try_get("shift_no")?,
        position,
        destination: read_place(row, "destination_latitude", "destination_longitude")?,
    })
}

pub(super) fn read_rides(row: &PgRow) -> Result<Rides, sqlx::Error> {
    let second = match read_live(row, "second_")? {
        Some(live) => Some(Second {
            live,
            shared: row.try_get("shared")?,
            order: read_order(row)?,
        }),
        None => None,
    };
    Ok(Rides::kept(read_live(row, "")?, second))
}

/// A ride in the columns of that prefix.
fn read_live(row: &PgRow, prefix: &str) -> Result<Option<Live>, sqlx::Error> {
    let named = |column: &str| format!("{prefix}{column}");
    let trip: Option<Uuid> = row.try_get(named("trip_id").as_str())?;
    let since: Option<DateTime<Utc>> = row.try_get(named("trip_since").as_str())?;
    let leg: Option<String> = row.try_get(named("leg").as_str())?;
    let (Some(trip), Some(since), Some(leg)) = (trip, since, leg) else {
        return Ok(None);
    };
    let leg = if leg == leg_name(Leg::ToDropoff) {
        Leg::ToDropoff
    } else {
        Leg::ToPickup
    };
    let place = |which: &str| {
        let (latitude, longitude) = (format!("{which}_latitude"), format!("{which}_longitude"));
        read_place(row, &named(&latitude), &named(&longitude))
    };
    let dropoff = place("dropoff")?;
    let places = place("pickup")?.map(|pickup| Places { pickup, dropoff });
    let seats: Option<i32> = row.try_get(named("seats").as_str())?;
    let stops_left: Option<i32> = row.try_get(named("stops_left").as_str())?;
    let shares: Option<bool> = row.try_get(named("shares").as_str())?;
    Ok(Some(Live {
        ride: Ride {
            trip: TripId(trip),
            since,
        },
        leg,
        party: Party {
            places,
            seats: seats
                .and_then(|seats| u32::try_from(seats).ok())
                .unwrap_or(1),
            shares: shares.unwrap_or(false),
            boarded_at: row.try_get(named("boarded_at").as_str())?,
            stops_left: stops_left
                .and_then(|stops| u32::try_from(stops).ok())
                .unwrap_or(0),
        },
    }))
}

fn read_order(row: &PgRow) -> Result<StopOrder, sqlx::Error> {
    let name: String = row.try_get("stop_order")?;
    // The database knows the same names.
    Ok(StopOrder::named(&name).unwrap_or_default())
}

pub(super) fn read_offer(row: &PgRow) -> Result<Offer, sqlx::Error> {
    let name = |column: &str| row.try_get::<String, _>(column);
    let number = |column: &str| {
        row.try_get::<i64, _>(column)
            .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    };
    let fare: (Option<i64>, Option<String>) =
        (row.try_get("fare_minor")?, row.try_get("fare_currency")?);
    let fare = match fare {
        (Some(minor), Some(currency)) => Some(Money::new(minor, currency.parse().map_err(decode)?)),
        _ => None,
    };
    let pickup = read_place(row, "pickup_latitude", "pickup_longitude")?
        .ok_or_else(|| sqlx::Error::ColumnNotFound("pickup_latitude".to_owned()))?;
    let dropoff = read_place(row, "dropoff_latitude", "dropoff_longitude")?;
    let beside: Option<Uuid> = row.try_get("beside_trip_id")?;
    let beside = match beside {
        Some(trip) => Some(Beside {
            trip: TripId(trip),
            shared: row.try_get("shared")?,
            order: read_order(row)?,
        }),
        None => None,
    };
    let seats: i32 = row.try_get("seats")?;
    Ok(Offer {
        id: OfferId(row.try_get("offer_id")?),
        trip: TripId(row.try_get("trip_id")?),
        rider: name("rider_id")?.parse().map_err(decode)?,
        driver: name("driver_id")?.parse().map_err(decode)?,
        product: name("product")?.parse().map_err(decode)?,
        places: Places { pickup, dropoff },
        fare,
        seats: u32::try_from(seats).unwrap_or(1),
        beside,
        to_pickup: Travel {
            duration_ms: number("pickup_duration_ms")?,
            distance_m: number("pickup_distance_m")?,
        },
        expires_at: row.try_get("expires_at")?,
    })
}

fn read_place(row: &PgRow, latitude: &str, longitude: &str) -> Result<Option<LatLon>, sqlx::Error> {
    match (row.try_get(latitude)?, row.try_get(longitude)?) {
        (Some(latitude), Some(longitude)) => {
            LatLon::new(latitude, longitude).map(Some).map_err(decode)
        }
        _ => Ok(None),
    }
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
