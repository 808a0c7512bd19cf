//! The driver is at a stop between pick-up and drop-off.

use jitney_proto::{ids::DriverId, trips::v1::TripEventKind};

use super::Kind;
use crate::{
    state::{Context, Refusal, Transition, change, target},
    trip::{By, Trip},
};

/// The driver is at a stop.
#[derive(Clone, Debug, PartialEq)]
pub struct ArriveAtStop {
    /// Who calls.
    pub driver_id: DriverId,
    /// Which, from 0 in driving order.
    pub stop: usize,
}

/// The stop is behind them from now on. Stops are made in their order; a rider who gets out before the
/// last has no need of the others.
pub fn apply(trip: &Trip, arrive: &ArriveAtStop, context: &Context) -> Result<Transition, Refusal> {
    if !trip.is_driven_by(&arrive.driver_id) {
        return Err(Refusal::NotYours);
    }
    let to = target(trip, Kind::ArriveAtStop)?;
    let stops = trip.stops.len();
    let stop = trip
        .stops
        .get(arrive.stop)
        .ok_or(Refusal::NoSuchStop { stops })?;
    if stop.arrived_at.is_some() {
        return Ok(Transition::Unchanged);
    }
    let to = to.ok_or(Refusal::IllegalTransition {
        state: trip.state,
        kind: Kind::ArriveAtStop,
    })?;
    let next = trip.stops.iter().position(|stop| stop.arrived_at.is_none());
    if let Some(next) = next.filter(|next| *next != arrive.stop) {
        return Err(Refusal::StopAhead { next });
    }
    let by = By::driver(&arrive.driver_id);
    let mut change = change(trip, to, TripEventKind::ArrivedAtStop, by, context);
    change.trip.stops[arrive.stop].arrived_at = Some(context.now);
    change.reason = format!("stop {}", arrive.stop);
    Ok(Transition::Changed(change))
}
