//! What drivers do with a trip, and how either side calls it off.

use std::sync::Arc;

use jitney_platform::auth::Role;
use jitney_proto::{
    ids::{DriverId, OfferId, TripId},
    matching::v1::GetDriverRequest,
};

use crate::{
    app::App,
    command::{
        Command,
        accept::Accept,
        arrive::Arrive,
        cancel::{CallOff, Cancel, GiveBack},
        complete::Complete,
        decline::Decline,
        start::Start,
    },
    error::Error,
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

/// The ride is called off: by the driver it goes back to searching, by anybody else it ends.
///
/// # Errors
/// NOT_FOUND when the trip is not the caller's, ILLEGAL_TRANSITION.
pub async fn cancel(
    app: &Arc<App>,
    trip_id: TripId,
    viewer: &Viewer,
    caller: &jitney_platform::auth::Caller,
    reason: String,
) -> Result<Arc<Trip>, Error> {
    let command = match viewer {
        Viewer::Rider(_) => {
            // A trip's rider never changes, so this needs no lock.
            let trip = app.store.trip(trip_id).await?;
            if !viewer.sees(&trip) {
                return Err(Error::NotFound("trip"));
            }
            Command::Cancel(Cancel { reason })
        }
        Viewer::Driver(driver_id) => Command::GiveBack(GiveBack {
            driver_id: driver_id.clone(),
            reason,
        }),
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
