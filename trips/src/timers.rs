//! What time alone brings about for live rides: the hold of one that goes on is renewed before it lapses,
//! and a rider who keeps the driver waiting for very long counts as not coming, whoever forgot to say so.
//!
//! Both are done by the process that holds the lease, and may be done twice: a hold that was renewed is
//! renewed again, and of two who end a ride one is told that it has ended.

use std::sync::Arc;

use jitney_proto::{
    Code, billing::v1::RenewHoldRequest, common::v1::Point, ids::TripId,
    matching::v1::GetDriverRequest,
};

use crate::{
    app::{App, BILLING},
    command::{Command, no_show::NoShow},
    error::Error,
    jobs::{each, leased},
    state::State,
    trip::By,
};

/// Rides looked at in one go, at most; the others wait for the next.
const DUE_MAX: i64 = 500;

/// Looks after live rides, in the process that holds the lease.
pub async fn timers(app: Arc<App>) {
    let interval = app.config.timers.poll_interval;
    leased(&app, "timers", interval, look).await;
}

async fn look(app: Arc<App>) -> Result<(), Error> {
    let config = &app.config.timers;
    let due = app.store.due_renewals(config.renew_after, DUE_MAX).await?;
    each(due, |trip_id| renew(&app, trip_id)).await;
    if !config.no_show_after.is_zero() {
        let due = app.store.due_no_shows(config.no_show_after, DUE_MAX);
        each(due.await?, |trip_id| end_waiting(&app, trip_id)).await;
    }
    Ok(())
}

/// Has billing renew a ride's hold.
async fn renew(app: &App, trip_id: TripId) -> Result<(), Error> {
    let mut billing = app.billing.clone();
    let request = RenewHoldRequest {
        trip_id: trip_id.into(),
    };
    match app.call(billing.renew_hold(request)).await {
        Ok(_) => {}
        // It is over, or will be told to be; asking again and again would not bring it back.
        Err(status) if matches!(Code::of(&status), Some(Code::HoldNotOpen | Code::NotFound)) => {
            tracing::error!(%trip_id, reason = status.message(), "a live ride has no open hold");
        }
        Err(status) => return Err(Error::of_call(BILLING, status)),
    }
    app.store.renewed(trip_id).await
}

/// Ends a ride whose rider does not come, if the driver still stands where they were to meet. One who
/// has left may have the rider in the car and have forgotten to say so: people have to look at that.
async fn end_waiting(app: &Arc<App>, trip_id: TripId) -> Result<(), Error> {
    let trip = app.store.trip(trip_id).await?;
    let driver = trip
        .driver
        .as_ref()
        .filter(|_| trip.state == State::DriverArrived);
    let Some(driver) = driver else {
        return Ok(());
    };
    let mut matching = app.matching.clone();
    let request = GetDriverRequest {
        driver_id: driver.driver_id.to_string(),
    };
    let found = app.call(matching.get_driver(request)).await;
    let location = found.ok().and_then(|found| found.driver?.location);
    let bound = f64::from(app.config.timers.no_show_within_meters);
    if location.is_none_or(|location| location.distance_m(Point::from(trip.pickup)) > bound) {
        tracing::debug!(%trip_id, "the driver who waits for long is not seen at the pick-up");
        return Ok(());
    }
    let no_show = NoShow {
        driver_id: driver.driver_id.clone(),
        by: By::system(),
    };
    match app.carry_out(trip_id, Command::NoShow(no_show)).await {
        // A refusal: it went on by itself between the reading and this.
        Ok(_) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
