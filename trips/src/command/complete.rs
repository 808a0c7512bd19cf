//! The rider is at the destination.

use jitney_proto::{ids::DriverId, trips::v1::TripEventKind};

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{By, Trip},
};

/// The rider is at the destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Complete {
    /// Who calls.
    pub driver_id: DriverId,
}

/// Ends the trip and frees the driver; billing takes the fare when it hears the event.
pub fn apply(trip: &Trip, complete: &Complete, context: &Context) -> Result<Transition, Refusal> {
    if !trip.is_driven_by(&complete.driver_id) {
        return Err(Refusal::NotYours);
    }
    let Some(to) = target(trip, Kind::Complete)? else {
        return Ok(Transition::Unchanged);
    };
    let by = By::driver(&complete.driver_id);
    let mut change = change(trip, to, TripEventKind::Completed, by, context);
    change.trip.end_reason = "driven to the destination".to_owned();
    change.effects = vec![Effect::Release(complete.driver_id.clone())];
    Ok(Transition::Changed(change))
}
