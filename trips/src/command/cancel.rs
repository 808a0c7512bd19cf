//! The ride is called off: by the rider or the staff it ends, by the driver it goes back to searching.

use jitney_proto::{ids::DriverId, trips::v1::TripEventKind};

use super::{Kind, request::search_until};
use crate::{
    state::{Change, Context, Effect, Refusal, State, Transition, change, target},
    trip::{Actor, By, OfferState, Trip},
};

/// The rider calls the ride off.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// Why, for people.
    pub reason: String,
}

/// The driver gives the ride back.
#[derive(Clone, Debug, PartialEq)]
pub struct GiveBack {
    /// Who calls.
    pub driver_id: DriverId,
    /// Why, for people.
    pub reason: String,
}

/// An operator, or Jitney itself, calls the ride off.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOff {
    /// Who.
    pub by: By,
    /// Why, for people.
    pub reason: String,
}

/// Ends the trip for the rider.
pub fn by_rider(trip: &Trip, cancel: &Cancel, context: &Context) -> Result<Transition, Refusal> {
    let Some(to) = target(trip, Kind::Cancel)? else {
        return Ok(Transition::Unchanged);
    };
    let by = By::rider(&trip.rider_id);
    Ok(Transition::Changed(end(
        trip,
        to,
        by,
        &cancel.reason,
        context,
    )))
}

/// Ends the trip for the staff, also when it is in progress.
pub fn by_staff(trip: &Trip, call_off: &CallOff, context: &Context) -> Result<Transition, Refusal> {
    let Some(to) = target(trip, Kind::CallOff)? else {
        return Ok(Transition::Unchanged);
    };
    Ok(Transition::Changed(end(
        trip,
        to,
        call_off.by.clone(),
        &call_off.reason,
        context,
    )))
}

fn end(trip: &Trip, to: State, by: By, reason: &str, context: &Context) -> Box<Change> {
    let actor = by.actor;
    let mut change = change(trip, to, TripEventKind::Cancelled, by, context);
    change.reason = reason.to_owned();
    change.trip.cancelled_by = Some(actor);
    change.trip.end_reason = match (reason, actor) {
        ("", Actor::Rider) => "called off by the rider".to_owned(),
        ("", Actor::Driver) => "called off by the driver".to_owned(),
        ("", Actor::Operator) => "called off by an operator".to_owned(),
        ("", Actor::System) => "called off by the system".to_owned(),
        (reason, _) => reason.to_owned(),
    };
    if let Some(open) = trip.open_offer() {
        change.driver_id = Some(open.driver_id.clone());
        change
            .effects
            .push(Effect::CloseOffer(open.offer_id, OfferState::Withdrawn));
        change.trip.offer = None;
    }
    if let Some(driver) = trip.driver.as_ref().filter(|_| trip.state.has_claim()) {
        change
            .effects
            .push(Effect::Release(driver.driver_id.clone()));
    }
    change
}

/// Frees the driver and begins a new search, without them.
pub fn by_driver(
    trip: &Trip,
    give_back: &GiveBack,
    context: &Context,
) -> Result<Transition, Refusal> {
    if !trip.is_driven_by(&give_back.driver_id) {
        // Whoever gave it back is answered the same whatever became of the trip since.
        if context.gave_back {
            return Ok(Transition::Unchanged);
        }
        // An offer is declined; only a ride that was accepted can be given back.
        let is_offered = trip
            .open_offer()
            .is_some_and(|offer| offer.driver_id == give_back.driver_id);
        return Err(if is_offered {
            Refusal::IllegalTransition {
                state: trip.state,
                kind: Kind::GiveBack,
            }
        } else {
            Refusal::NotYours
        });
    }
    let Some(to) = target(trip, Kind::GiveBack)? else {
        return Ok(Transition::Unchanged);
    };
    let by = By::driver(&give_back.driver_id);
    let mut change = change(trip, to, TripEventKind::Unassigned, by, context);
    change.reason = give_back.reason.clone();
    let after = &mut change.trip;
    after.driver = None;
    after.offer = None;
    after.assigned_at = None;
    after.arrived_at = None;
    after.wrong_pins = 0;
    // The reservation was for the driver who is gone.
    after.reservation_id = None;
    after.search_until = search_until(context);
    change.effects = vec![Effect::Release(give_back.driver_id.clone())];
    Ok(Transition::Changed(change))
}
