//! Links by which somebody without an account sees a trip: a token of the role `guest` whose subject is
//! a row. The token cannot be guessed and runs out; the row is what it shows, and can be taken back.

use chrono::{DateTime, Utc};
use jitney_platform::auth::{Caller, Role};
use jitney_proto::ids::TripId;
use uuid::Uuid;

use crate::{
    app::{App, chrono_of},
    error::Error,
    store::shares::Share,
    trip::By,
    view::Viewer,
};

/// A link.
#[derive(Clone, Debug)]
pub struct Link {
    /// What opens the trip to whoever has it.
    pub token: String,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Who looks; a guest sees what their link shows, if it still shows anything.
///
/// # Errors
/// NOT_FOUND for a link that ran out or was taken back, and the database's failures.
pub async fn viewer(app: &App, caller: &Caller) -> Result<Viewer, tonic::Status> {
    if caller.role != Role::Guest {
        return Viewer::of(caller);
    }
    let none = || Error::NotFound("link, or it shows nothing any more");
    let share_id: Uuid = caller.id.parse().map_err(|_| none())?;
    let share = app
        .store
        .share(share_id, app.config.share.after_end)
        .await?;
    let share = share.ok_or_else(none)?;
    Ok(Viewer::Guest(share.trip_id, share.expires_at))
}

/// Makes a link to a trip.
///
/// # Errors
/// NOT_FOUND when the trip is not the viewer's, ILLEGAL_TRANSITION when it is over.
pub async fn share(app: &App, trip_id: TripId, viewer: &Viewer, by: By) -> Result<Link, Error> {
    let trip = app.seen(trip_id, viewer).await?;
    if trip.state.is_end() {
        let problem = "there is nothing left to follow";
        return Err(Error::NotNow {
            state: trip.state,
            problem,
        });
    }
    let now = app.now();
    // A booked ride is shared before it begins.
    let from = trip
        .booking
        .map_or(now, |booking| booking.pickup_at.max(now));
    let expires_at = from + chrono_of(app.config.share.valid_for);
    let share_id = Uuid::new_v4();
    let ttl = (expires_at - now).to_std().unwrap_or_default();
    let keys = &app.platform.keys;
    let token = keys
        .mint(Role::Guest, &share_id.to_string(), ttl, now)
        .map_err(|error| Error::Defect(error.to_string()))?;
    let share = Share {
        trip_id,
        expires_at,
    };
    app.store.add_share(share_id, share, &by, now).await?;
    Ok(Link { token, expires_at })
}

/// Takes back the links that somebody made.
///
/// # Errors
/// NOT_FOUND when the trip is not the viewer's.
pub async fn unshare(app: &App, trip_id: TripId, viewer: &Viewer, by: &By) -> Result<u64, Error> {
    app.seen(trip_id, viewer).await?;
    app.store.drop_shares(trip_id, by).await
}
