//! Rides that were booked for later: when their time comes, the fare is held and the search begins.
//!
//! A booked ride is looked at from `booking.release_before` before its pick-up on. The search begins once
//! the nearest driver needs all the time that is left, or none is near. That may be done twice, by two
//! processes or by one that was killed in between:
//!
//! 1. The trip's row says that a fare may be held, before one is.
//! 2. The fare is held under the trip's key: a repetition finds the same hold. One that was made before
//!    the rider went elsewhere is put under the new price.
//! 3. One transaction begins the search and has the trip answer for the hold, if the ride costs what is
//!    held; else the ride is looked at again.
//!
//! Undo: a trip that was called off meanwhile refuses 3, and the hold is released; if nobody is left to do
//! so, [`release_pending`] does it by what step 1 wrote.

use std::sync::Arc;

use jitney_proto::ids::TripId;

use crate::{
    app::{App, chrono_of},
    command::{Command, cancel::CallOff, release::Release},
    create,
    error::Error,
    fare,
    jobs::{each, leased},
    quote,
    state::{Refusal, State},
    trip::{Booking, By, Trip},
};

/// Booked rides looked at in one go, at most; the others wait for the next.
const DUE_MAX: i64 = 500;
/// How long a ride waits whose rider is still on another one, before it is tried again.
const RETRY: chrono::Duration = chrono::Duration::seconds(15);

/// Looks at booked rides whose time may have come, in the process that holds the lease.
pub async fn releases(app: Arc<App>) {
    let interval = app.config.booking.poll_interval;
    leased(&app, "releases", interval, look).await;
}

async fn look(app: Arc<App>) -> Result<(), Error> {
    let due = app.store.due_releases(DUE_MAX).await?;
    each(due, |trip_id| release(&app, trip_id)).await;
    Ok(())
}

/// Begins the search for a booked ride, or puts it off, or calls the ride off when it cannot be.
///
/// # Errors
/// When nothing could be decided; the ride is looked at again.
pub async fn release(app: &Arc<App>, trip_id: TripId) -> Result<(), Error> {
    let trip = app.store.trip(trip_id).await?;
    let Some(booking) = trip
        .booking
        .as_ref()
        .filter(|_| trip.state == State::Scheduled)
    else {
        return Ok(());
    };
    if let Some(later) = later(app, &trip, booking).await {
        return app.store.postpone_release(trip_id, later).await;
    }
    if !app.store.begin_hold(trip_id).await? {
        return Ok(());
    }
    match hold(app, &trip, booking).await {
        Ok(()) => {}
        Err(error @ (Error::PaymentDeclined | Error::QuoteExpired)) => {
            return call_off(app, trip_id, &error.to_string()).await;
        }
        Err(error) => return or_call_off(app, &trip, error).await,
    }
    let release = Release {
        fare_quote_id: booking.fare_quote_id.clone(),
    };
    match app.carry_out(trip_id, Command::Release(release)).await {
        // Somewhere else meanwhile, for another price: looked at again.
        Ok(_) | Err(Error::Refused(Refusal::Moved)) => Ok(()),
        Err(Error::RiderHasLiveTrip) => {
            or_call_off(app, &trip, Error::RiderHasLiveTrip).await?;
            app.store.postpone_release(trip_id, app.now() + RETRY).await
        }
        Err(Error::Refused(_)) => {
            create::void_hold(app, trip_id).await?;
            app.store.settle_hold(trip_id).await
        }
        Err(error) => Err(error),
    }
}

/// Has billing hold what the ride costs now. The hold of an earlier try may be for what it cost before.
async fn hold(app: &App, trip: &Trip, booking: &Booking) -> Result<(), Error> {
    let (trip_id, quote_id) = (trip.trip_id, &booking.fare_quote_id);
    match create::hold(app, &trip.rider_id, trip_id, quote_id, trip.payment_method).await {
        Err(Error::KeyReused) => {
            let key = format!("{trip_id}:hold:{quote_id}");
            match fare::change_hold(app, trip_id, quote_id.clone(), key).await? {
                true => Ok(()),
                // It lapsed.
                false => Err(Error::QuoteExpired),
            }
        }
        outcome => outcome,
    }
}

/// Until when the search can wait, if it can.
async fn later(app: &App, trip: &Trip, booking: &Booking) -> Option<chrono::DateTime<chrono::Utc>> {
    let needed_ms = quote::eta(app, trip.pickup, &trip.product).await?;
    let needed = chrono::Duration::milliseconds(needed_ms) + chrono_of(app.config.booking.spare);
    let latest = booking.pickup_at - needed;
    (latest > app.now()).then_some(latest)
}

/// A ride that cannot begin now is tried again, until its search would have been given up.
async fn or_call_off(app: &Arc<App>, trip: &Trip, error: Error) -> Result<(), Error> {
    let is_late = app.now() > trip.search_until;
    match error {
        Error::RiderHasLiveTrip if is_late => call_off(app, trip.trip_id, &error.to_string()).await,
        Error::RiderHasLiveTrip => Ok(()),
        error if is_late => {
            tracing::error!(trip_id = %trip.trip_id, %error, "a booked ride could not begin");
            call_off(app, trip.trip_id, "the fare could not be held in time").await
        }
        error => Err(error),
    }
}

async fn call_off(app: &Arc<App>, trip_id: TripId, reason: &str) -> Result<(), Error> {
    let call_off = CallOff {
        by: By::system(),
        reason: reason.to_owned(),
    };
    match app.carry_out(trip_id, Command::CallOff(call_off)).await {
        Ok(_) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Releases what may be held for booked rides that ended before their search began, once nobody can be
/// holding it any more.
///
/// # Errors
/// When billing or the database cannot be reached; the rest is done next time.
pub async fn release_pending(app: &Arc<App>) -> Result<(), Error> {
    for trip_id in app
        .store
        .pending_holds(app.config.hold_recovery_after)
        .await?
    {
        create::void_hold(app, trip_id).await?;
        app.store.settle_hold(trip_id).await?;
    }
    Ok(())
}
