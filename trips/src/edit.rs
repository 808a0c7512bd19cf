//! EditDestination: another way, priced as the ride was ordered (the same tariff and surge), from what is
//! driven already on. The trip changes first; billing puts the hold under the new price when it hears of
//! it, and once more before the fare is taken, so nobody is charged another price than the trip's.

use std::sync::Arc;

use jitney_proto::{
    billing::v1::QuoteFareRequest, ids::TripId, matching::v1::GetDriverRequest, money::Money,
    time::timestamp,
};

use crate::{
    app::{App, BILLING},
    command::{Command, Kind, edit::EditDestination},
    error::Error,
    quote,
    state::{Cell, Refusal, State, cell},
    trip::{By, Fees, Place, Stop, Tariff, Trip},
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
}

/// Changes where a ride goes.
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
        let trip = app.store.trip(trip_id).await?;
        if !viewer.sees(&trip) {
            return Err(Error::NotFound("trip"));
        }
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
    let begins_at = trip
        .booking
        .as_ref()
        .map_or(trip.created_at, |booking| booking.pickup_at);
    let (version, surge) = match &trip.tariff {
        Some(tariff) => (tariff.version.clone(), tariff.surge_percent),
        None => (String::new(), 100),
    };
    let mut billing = app.billing.clone();
    let request = QuoteFareRequest {
        product: trip.product.to_string(),
        distance_meters: route.distance_meters,
        duration_ms: route.duration_ms,
        pickup: Some(trip.pickup.into()),
        dropoff: Some(wanted.dropoff.into()),
        pickup_at: Some(timestamp(begins_at)),
        extra_stops: u32::try_from(stops.len()).unwrap_or(u32::MAX),
        surge_percent: surge,
        tariff_version: version,
        ..QuoteFareRequest::default()
    };
    let odd = || Error::Defect("billing quoted an odd fare".to_owned());
    let answer = app.call(billing.quote_fare(request)).await;
    let answer = answer.map_err(|status| Error::of_call(BILLING, status))?;
    let fare = answer.quote.ok_or_else(odd)?;
    let total = fare.total.as_ref().ok_or_else(odd)?;
    let total = Money::from_wire(total, "total").map_err(|_| odd())?;
    if total.currency != trip.fare.currency || total.minor < 0 {
        return Err(odd());
    }
    Ok(EditDestination {
        by,
        version: trip.version,
        stops,
        dropoff: wanted.dropoff,
        distance_m: route.distance_meters,
        duration_ms: route.duration_ms,
        fare: total,
        fees: Fees {
            cancellation_minor: quote::fee(fare.cancellation_fee.as_ref(), total.currency)?,
            no_show_minor: quote::fee(fare.no_show_fee.as_ref(), total.currency)?,
        },
        tariff: Tariff {
            version: fare.tariff_version,
            surge_percent: fare.surge_percent,
        },
        quote_id: fare.quote_id,
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
