//! A rider or a driver calls for help; operators see it until one of them has taken it up.

use jitney_proto::ids::TripId;

use crate::{
    app::{App, chrono_of},
    error::Error,
    store::{fresh_id, sos::Sos},
    trip::{By, Place},
    view::Viewer,
};

/// Keeps a call for help from a trip that has or had a driver. Said again while nobody has taken it up,
/// it is the same call.
///
/// # Errors
/// NOT_FOUND when the trip is not the viewer's, ILLEGAL_TRANSITION when they were never under way
/// together, or not lately.
pub async fn raise(
    app: &App,
    trip_id: TripId,
    viewer: &Viewer,
    by: By,
    place: Option<Place>,
    note: String,
) -> Result<Sos, Error> {
    let trip = app.seen(trip_id, viewer).await?;
    let refused = |problem| Error::NotNow {
        state: trip.state,
        problem,
    };
    if trip.driver.is_none() {
        return Err(refused(
            "no driver is with the rider; call the emergency services",
        ));
    }
    let now = app.now();
    let after_end = chrono_of(app.config.sos_after_end);
    if trip.ended_at.is_some_and(|ended| now > ended + after_end) {
        return Err(refused(
            "the ride is long over; call the emergency services",
        ));
    }
    let sos = Sos {
        sos_id: fresh_id(now),
        trip_id,
        by,
        place,
        note,
        raised_at: now,
        acknowledged: None,
    };
    if app.store.raise_sos(&sos).await? {
        tracing::error!(%trip_id, sos_id = %sos.sos_id, actor = %sos.by.actor, "a call for help");
        return Ok(sos);
    }
    match app.store.open_sos(trip_id, &sos.by.id).await? {
        Some(open) => Ok(open),
        // Somebody took the other one up at this moment: this is another call.
        None => {
            app.store.raise_sos(&sos).await?;
            Ok(sos)
        }
    }
}
