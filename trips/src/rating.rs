//! Riders and drivers rate each other after a ride that was driven.

use jitney_proto::ids::TripId;

use crate::{
    app::{App, chrono_of},
    error::Error,
    state::State,
    store::ratings::Rating,
    trip::Actor,
    view::Viewer,
};

/// Keeps what the viewer thinks of the other. Said again, it takes the place of what was said before.
///
/// # Errors
/// NOT_FOUND when the trip is not the viewer's, ILLEGAL_TRANSITION when it was not driven or ended too
/// long ago.
pub async fn rate(
    app: &App,
    trip_id: TripId,
    viewer: &Viewer,
    stars: i16,
    comment: String,
) -> Result<(), Error> {
    let trip = app.seen(trip_id, viewer).await?;
    let refused = |problem| Error::NotNow {
        state: trip.state,
        problem,
    };
    let (Some(driver), State::Completed) = (&trip.driver, trip.state) else {
        return Err(refused("only a ride that was driven can be rated"));
    };
    let until = trip.updated_at + chrono_of(app.config.rating.open_for);
    if app.now() > until {
        return Err(refused("it ended too long ago to be rated"));
    }
    let (by, rated_id) = match viewer {
        Viewer::Rider(_) => (Actor::Rider, driver.driver_id.to_string()),
        Viewer::Driver(_) => (Actor::Driver, trip.rider_id.to_string()),
        Viewer::Staff | Viewer::Guest(..) => return Err(Error::NotFound("trip")),
    };
    let rating = Rating {
        trip_id,
        by,
        rated_id,
        stars,
        comment,
    };
    app.store.rate(&rating, app.now()).await
}
