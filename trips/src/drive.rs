//! What drivers do with a trip, and how either side calls it off.

use std::sync::Arc;

use jitney_platform::auth::Role;
use jitney_proto::{
    ids::{DriverId, OfferId, TripId},
    matching::v1::{ComputeRouteRequest, GetDriverRequest},
    money::Money,
};

use crate::{
    app::App,
    command::{
        Command, Kind,
        accept::Accept,
        arrive::Arrive,
        cancel::{self, CallOff, Cancel, Cost, GiveBack},
        complete::Complete,
        decline::Decline,
        no_show::NoShow,
        start::Start,
        stop::ArriveAtStop,
    },
    error::Error,
    state::{Cell, Refusal, cell},
    trip::{Actor, AssignedDriver, By, Trip},
    view::Viewer,
};

/// The driver takes the offered ride.
///
/// # Errors
/// NOT_FOUND when the offer is another's, OFFER_NOT_OPEN, DRIVER_ON_TRIP.
pub async fn accept(
    app: &Arc<App>,
    trip_id: TripId,
    offer_id: OfferId,
    driver_id: DriverId,
) -> Result<Arc<Trip>, Error> {
    recorded(app, trip_id, offer_id, &driver_id).await?;
    let driver = with_vehicle(app, driver_id).await;
    app.carry_out(trip_id, Command::Accept(Accept { offer_id, driver }))
        .await
}

/// The driver leaves the offered ride to the next one.
///
/// # Errors
/// NOT_FOUND when the offer is another's, OFFER_NOT_OPEN when they have accepted it.
pub async fn decline(
    app: &Arc<App>,
    trip_id: TripId,
    offer_id: OfferId,
    driver_id: DriverId,
    reason: String,
) -> Result<Arc<Trip>, Error> {
    recorded(app, trip_id, offer_id, &driver_id).await?;
    app.carry_out(
        trip_id,
        Command::Decline(Decline {
            offer_id,
            driver_id,
            reason,
        }),
    )
    .await
}

/// Refuses what is another driver's before anything is locked, and waits a moment for an offer that
/// reached the driver before matching's word of it was recorded here.
async fn recorded(
    app: &Arc<App>,
    trip_id: TripId,
    offer_id: OfferId,
    driver_id: &DriverId,
) -> Result<(), Error> {
    // Ears first: what is recorded between the two readings is heard.
    let mut changes = app.hub.subscribe(trip_id);
    let not_found = Error::NotFound("trip or offer");
    let mut recorded = app.store.offer_driver(trip_id, offer_id).await?;
    if recorded.is_none() {
        match app.store.trip(trip_id).await {
            Ok(trip) if trip.state.needs_driver() => {}
            Ok(_) | Err(Error::NotFound(_)) => return Err(not_found),
            Err(error) => return Err(error),
        }
        let heard = async {
            loop {
                changes.next().await;
                if let Some(driver) = app.store.offer_driver(trip_id, offer_id).await? {
                    return Ok::<_, Error>(driver);
                }
            }
        };
        recorded = tokio::time::timeout(app.config.offer_record_wait, heard)
            .await
            .ok()
            .transpose()?;
    }
    match recorded {
        Some(driver) if driver == driver_id.as_str() => Ok(()),
        _ => Err(not_found),
    }
}

/// The driver with the vehicle the rider is to look for, if matching says so in time. Who drives does
/// not depend on it.
async fn with_vehicle(app: &App, driver_id: DriverId) -> AssignedDriver {
    let mut matching = app.matching.clone();
    let request = GetDriverRequest {
        driver_id: driver_id.to_string(),
    };
    let call = app.call_within(app.config.vehicle_timeout, matching.get_driver(request));
    let vehicle = match call.await {
        Ok(answer) => answer
            .driver
            .and_then(|driver| driver.vehicle)
            .unwrap_or_default(),
        Err(status) => {
            tracing::warn!(%driver_id, code = ?status.code(), "assigned without a vehicle");
            Default::default()
        }
    };
    AssignedDriver {
        driver_id,
        plate: vehicle.plate,
        vehicle: vehicle.description,
    }
}

/// The driver is at the pick-up.
///
/// # Errors
/// NOT_FOUND when the trip is another's, ILLEGAL_TRANSITION.
pub async fn arrive(
    app: &Arc<App>,
    trip_id: TripId,
    driver_id: DriverId,
) -> Result<Arc<Trip>, Error> {
    app.carry_out(trip_id, Command::Arrive(Arrive { driver_id }))
        .await
}

/// The rider is on board and has told the driver the PIN.
///
/// # Errors
/// NOT_FOUND when the trip is another's, WRONG_PIN, PIN_LOCKED, ILLEGAL_TRANSITION.
pub async fn start(
    app: &Arc<App>,
    trip_id: TripId,
    driver_id: DriverId,
    pin: String,
) -> Result<Arc<Trip>, Error> {
    app.carry_out(trip_id, Command::Start(Start { driver_id, pin }))
        .await
}

/// The rider is at the destination.
///
/// # Errors
/// NOT_FOUND when the trip is another's, ILLEGAL_TRANSITION.
pub async fn complete(
    app: &Arc<App>,
    trip_id: TripId,
    driver_id: DriverId,
) -> Result<Arc<Trip>, Error> {
    app.carry_out(trip_id, Command::Complete(Complete { driver_id }))
        .await
}

/// The driver is at a stop on the way.
///
/// # Errors
/// NOT_FOUND when the trip is another's, INVALID_REQUEST when it has no such stop, ILLEGAL_TRANSITION.
pub async fn arrive_at_stop(
    app: &Arc<App>,
    trip_id: TripId,
    driver_id: DriverId,
    stop: usize,
) -> Result<Arc<Trip>, Error> {
    let arrive = ArriveAtStop { driver_id, stop };
    app.carry_out(trip_id, Command::ArriveAtStop(arrive)).await
}

/// The rider did not come.
///
/// # Errors
/// NOT_FOUND when the trip is another's, TOO_EARLY, ILLEGAL_TRANSITION.
pub async fn no_show(
    app: &Arc<App>,
    trip_id: TripId,
    driver_id: DriverId,
) -> Result<Arc<Trip>, Error> {
    let by = By::driver(&driver_id);
    app.carry_out(trip_id, Command::NoShow(NoShow { driver_id, by }))
        .await
}

/// What calling the ride off would cost the rider now, if this viewer did.
///
/// # Errors
/// NOT_FOUND when the trip is not the caller's, ILLEGAL_TRANSITION when it cannot be called off.
pub async fn preview(
    app: &Arc<App>,
    trip_id: TripId,
    viewer: &Viewer,
) -> Result<(Cost, Option<Money>), Error> {
    let trip = app.seen(trip_id, viewer).await?;
    let (kind, actor) = match viewer {
        Viewer::Rider(_) => (Kind::Cancel, Actor::Rider),
        Viewer::Driver(_) => (Kind::GiveBack, Actor::Driver),
        Viewer::Staff => (Kind::CallOff, Actor::Operator),
        Viewer::Guest(..) => return Err(Error::NotFound("trip")),
    };
    if !matches!(cell(trip.state, kind), Cell::To(_)) {
        let state = trip.state;
        return Err(Refusal::IllegalTransition { state, kind }.into());
    }
    let rules = app.config.limits().cancellation;
    let distance = driver_distance(app, &trip).await;
    let cost = cancel::cost(&trip, actor, &rules, distance, app.now());
    Ok((cost, trip.fee_amount(cost.fee)))
}

/// How far the driver is from the pick-up by road, metres. Asked only where a rule wants to know; where
/// it cannot be known, the rule does not help.
async fn driver_distance(app: &App, trip: &Trip) -> Option<i64> {
    let driver = trip.driver.as_ref().filter(|_| {
        app.config.cancellation.free_beyond_meters > 0
            && trip.state.has_claim()
            && trip.arrived_at.is_none()
    })?;
    let mut matching = app.matching.clone();
    let request = GetDriverRequest {
        driver_id: driver.driver_id.to_string(),
    };
    let found = app.call(matching.get_driver(request)).await;
    let location = found.ok()?.driver?.location?;
    let request = ComputeRouteRequest {
        points: vec![location, trip.pickup.into()],
        omit_line: true,
    };
    let route = app
        .call(matching.compute_route(request))
        .await
        .ok()?
        .route?;
    Some(route.distance_meters)
}

/// The ride is called off: by the driver it goes back to searching, by anybody else it ends.
///
/// # Errors
/// NOT_FOUND when the trip is not the caller's, ILLEGAL_TRANSITION, FEE_ABOVE_LIMIT.
pub async fn cancel(
    app: &Arc<App>,
    trip_id: TripId,
    viewer: &Viewer,
    caller: &jitney_platform::auth::Caller,
    reason: String,
    max_fee: Option<Money>,
) -> Result<Arc<Trip>, Error> {
    let command = match viewer {
        Viewer::Rider(_) => {
            // A trip's rider never changes, so this needs no lock.
            let trip = app.seen(trip_id, viewer).await?;
            Command::Cancel(Cancel {
                reason,
                max_fee,
                driver_distance_m: driver_distance(app, &trip).await,
            })
        }
        Viewer::Driver(driver_id) => Command::GiveBack(GiveBack {
            driver_id: driver_id.clone(),
            reason,
        }),
        Viewer::Guest(..) => return Err(Error::NotFound("trip")),
        Viewer::Staff => {
            let actor = if caller.role == Role::Operator {
                Actor::Operator
            } else {
                Actor::System
            };
            let by = By {
                actor,
                id: caller.id.clone(),
            };
            Command::CallOff(CallOff { by, reason })
        }
    };
    app.carry_out(trip_id, command).await
}
