//! The driver is at the pick-up.

use jitney_proto::{ids::DriverId, trips::v1::TripEventKind};

use super::Kind;
use crate::{
    state::{Context, Refusal, Transition, change, target},
    trip::{By, Trip},
};

/// The driver is at the pick-up.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrive {
    /// Who calls.
    pub driver_id: DriverId,
}

/// The driver waits from now on.
pub fn apply(trip: &Trip, arrive: &Arrive, context: &Context) -> Result<Transition, Refusal> {
    if !trip.is_driven_by(&arrive.driver_id) {
        return Err(Refusal::NotYours);
    }
    let Some(to) = target(trip, Kind::Arrive)? else {
        return Ok(Transition::Unchanged);
    };
    if context.has_earlier_ride {
        return Err(Refusal::EarlierRide);
    }
    let by = By::driver(&arrive.driver_id);
    let mut change = change(trip, to, TripEventKind::DriverArrived, by, context);
    change.trip.arrived_at = Some(context.now);
    Ok(Transition::Changed(change))
}
