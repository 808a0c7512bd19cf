//! EditDestination: another way, priced as the ride was ordered (the same tariff and surge), from what is
//! driven already on. The trip changes first; billing puts the hold under the new price when it hears of
//! it, and once more before the fare is taken, so nobody is charged another price than the trip's.

use std::sync::Arc;

use jitney_proto::{ids::TripId, matching::v1::GetDriverRequest, money::Money};

use crate::{
    app::App,
    command::{Command, Kind, edit::EditDestination},
    error::Error,
    quote::{self, Another, Tolls},
    state::{Cell, Refusal, State, cell},
    trip::{By, Place, Stop, Trip},
    view::Viewer,
};

/// How often a change is priced again for a trip that moves on meanwhile.
const TRIES_MAX: u32 = 3;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Stops ahead, in driving order; they take the place of those that were.
    pub stops: Vec<Place>,
    /// Where the rider goes.
    pub dropoff: Place,
    /// What they agree to pay for the whole ride at most; `None` for whatever it costs.
    pub max_fare: Option<Money>,
    /// Whether it is only to be said what would come of it.
    pub validate_only: bool,
}

/// Changes where a ride goes, or says what that would make of it.
///
/// # Errors
/// NOT_FOUND when the trip is not the viewer's, ILLEGAL_TRANSITION, FEE_ABOVE_LIMIT, OUTSIDE_MAP,
/// NO_ROUTE; UNAVAILABLE when a service cannot be reached or the trip keeps moving.
pub async fn edit(
    app: &Arc<App>,
    trip_id: TripId,
    viewer: &Viewer,
    by: By,
    wanted: Wanted,
) -> Result<Arc<Trip>, Error> {
    for _ in 0..TRIES_MAX {
        let trip = app.seen(trip_id, viewer).await?;
        let (state, kind) = (trip.state, Kind::EditDestination);
        if !matches!(cell(state, kind), Cell::To(_)) {
            return Err(Refusal::IllegalTransition { state, kind }.into());
        }
        let edit = priced(app, &trip, by.clone(), &wanted).await?;
        if let Some(most) = wanted.max_fare
            && (edit.fare.currency != most.currency || edit.fare.minor > most.minor)
        {
            return Err(Error::FareAbove(edit.fare));
        }
        if wanted.validate_only {
            let mut foreseen = Trip::clone(&trip);
            edit.write(&mut foreseen);
            return Ok(Arc::new(foreseen));
        }
        match app.carry_out(trip_id, Command::EditDestination(edit)).await {
            Err(Error::Refused(Refusal::Moved)) => {}
            outcome => return outcome,
        }
    }
    Err(Refusal::Moved.into())
}

async fn priced(app: &App, trip: &Trip, by: By, wanted: &Wanted) -> Result<EditDestination, Error> {
    let behind = trip.stops.iter().filter(|stop| stop.arrived_at.is_some());
    let behind: Vec<Stop> = behind.copied().collect();
    let mut stops = behind.clone();
    stops.extend(wanted.stops.iter().copied().map(Stop::ahead));
    let most = app.config.stops_max;
    if stops.len() > most {
        return Err(Error::BadField {
            field: "stops",
            problem: format!(
                "makes {} stops with those behind; the most is {most}",
                stops.len()
            ),
        });
    }
    // What was driven counts as it was driven: over where the car is.
    let mut way = vec![trip.pickup];
    way.extend(behind.iter().map(|stop| stop.place));
    way.extend(position(app, trip).await);
    let given = way.len();
    way.extend(&wanted.stops);
    way.push(wanted.dropoff);
    let ahead = wanted.stops.len();
    let route = quote::route_through(app, &way, |number| match number.checked_sub(given) {
        None => "dropoff".to_owned(),
        Some(stop) if stop < ahead => format!("stops[{stop}]"),
        Some(_) => "dropoff".to_owned(),
    })
    .await?;
    let another = Another {
        dropoff: wanted.dropoff,
        stops: stops.len(),
        distance_m: route.distance_meters,
        duration_ms: route.duration_ms,
        waiting_ms: 0,
        tolls: Tolls::On(route.line),
    };
    let repriced = quote::reprice(app, trip, another).await?;
    Ok(EditDestination {
        by,
        version: trip.version,
        stops,
        dropoff: wanted.dropoff,
        distance_m: route.distance_meters,
        duration_ms: route.duration_ms,
        fare: repriced.fare,
        fees: repriced.fees,
        tariff: repriced.tariff,
        quote_id: repriced.quote_id,
    })
}

/// Where the car is with the rider in it, if that is known.
async fn position(app: &App, trip: &Trip) -> Option<Place> {
    let driver = trip
        .driver
        .as_ref()
        .filter(|_| trip.state == State::InProgress)?;
    let mut matching = app.matching.clone();
    let request = GetDriverRequest {
        driver_id: driver.driver_id.to_string(),
    };
    let found = app.call(matching.get_driver(request)).await.ok()?;
    let location = found.driver?.location?;
    Some(Place {
        latitude: location.latitude,
        longitude: location.longitude,
    })
}
