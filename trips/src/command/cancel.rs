//! The ride is called off: by the rider or the staff it ends, by the driver it goes back to searching.

use chrono::{DateTime, Duration, Utc};
use jitney_proto::{ids::DriverId, money::Money, trips::v1::TripEventKind};

use super::{Kind, request::search_until};
use crate::{
    state::{Change, Context, Effect, Refusal, State, Transition, change, target},
    trip::{Actor, By, Fee, OfferState, Trip},
};

/// When a rider's calling off costs the quote's cancellation fee. It never does before a driver has the
/// ride, nor when anybody else calls it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancellationRules {
    /// It is free for this long after a driver took the ride.
    pub free_for: Duration,
    /// It is free when the driver is later than reckoned by more than this.
    pub late_by: Duration,
    /// It is free while the driver is farther by road from the pick-up than this, metres; 0 is no such rule.
    pub free_beyond_m: i64,
}

/// What calling off costs, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Which fee.
    pub fee: Fee,
    /// Why, for people.
    pub why: &'static str,
    /// Until when it is free, if that is known and not over.
    pub free_until: Option<DateTime<Utc>>,
}

/// The rider calls the ride off.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// Why, for people.
    pub reason: String,
    /// What they agree to pay at most; `None` for whatever it costs.
    pub max_fee: Option<Money>,
    /// How far the driver is from the pick-up by road, metres, if that is known and matters.
    pub driver_distance_m: Option<i64>,
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
    let rules = &context.limits.cancellation;
    let cost = cost(
        trip,
        Actor::Rider,
        rules,
        cancel.driver_distance_m,
        context.now,
    );
    if let (Some(fee), Some(most)) = (trip.fee_amount(cost.fee), cancel.max_fee)
        && (fee.currency != most.currency || fee.minor > most.minor)
    {
        return Err(Refusal::FeeAbove { fee });
    }
    let by = By::rider(&trip.rider_id);
    let mut change = end(trip, to, by, &cancel.reason, context);
    change.trip.fee = cost.fee;
    Ok(Transition::Changed(change))
}

/// What it costs the rider when somebody calls a ride off now.
pub fn cost(
    trip: &Trip,
    actor: Actor,
    rules: &CancellationRules,
    driver_distance_m: Option<i64>,
    now: DateTime<Utc>,
) -> Cost {
    let free = |why| Cost {
        fee: Fee::None,
        why,
        free_until: None,
    };
    if actor != Actor::Rider {
        return free("the rider did not call it off");
    }
    let Some(assigned_at) = trip.assigned_at else {
        return free("no driver has it yet");
    };
    if trip.fee_amount(Fee::Cancellation).is_none() {
        return free("this product has no cancellation fee");
    }
    let free_until = assigned_at + rules.free_for;
    if now < free_until {
        return Cost {
            free_until: Some(free_until),
            ..free("a driver has only just taken it")
        };
    }
    let is_late = trip.arrived_at.is_none()
        && trip
            .pickup_due_at
            .is_some_and(|due| now > due + rules.late_by);
    if is_late {
        return free("the driver is late");
    }
    let is_far = trip.arrived_at.is_none()
        && rules.free_beyond_m > 0
        && driver_distance_m.is_some_and(|distance| distance > rules.free_beyond_m);
    if is_far {
        return free("the driver is still far away");
    }
    Cost {
        fee: Fee::Cancellation,
        why: "a driver is on the way or waiting",
        free_until: None,
    }
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
    after.pickup_due_at = None;
    after.wrong_pins = 0;
    // The reservation was for the driver who is gone.
    after.reservation_id = None;
    after.search_until = search_until(context);
    change.effects = vec![Effect::Release(give_back.driver_id.clone())];
    Ok(Transition::Changed(change))
}
