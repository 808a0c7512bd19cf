//! The driver takes the offered ride.

use chrono::TimeDelta;
use jitney_proto::{ids::OfferId, trips::v1::TripEventKind};

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{AssignedDriver, By, OfferState, Trip},
};

/// The driver takes the offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Accept {
    /// The offer.
    pub offer_id: OfferId,
    /// Who calls, and in which vehicle.
    pub driver: AssignedDriver,
}

/// Assigns the trip. Two things are left to the database, in the same transaction: that the offer is
/// still in time, and that the driver has no other live trip.
pub fn apply(trip: &Trip, accept: &Accept, context: &Context) -> Result<Transition, Refusal> {
    let driver_id = &accept.driver.driver_id;
    let offer = context
        .named_offer
        .as_ref()
        .filter(|offer| offer.driver_id == *driver_id)
        .ok_or(Refusal::NotYours)?;
    // A state that knows no open offer means that this one is over.
    let not_open = Refusal::OfferNotOpen {
        state: trip.state,
        offer: offer.state,
    };
    let Ok(to) = target(trip, Kind::Accept) else {
        return Err(not_open);
    };
    if trip
        .offer
        .as_ref()
        .is_none_or(|current| current.offer_id != accept.offer_id)
    {
        return Err(not_open);
    }
    let Some(to) = to else {
        return Ok(Transition::Unchanged);
    };
    if offer.state != OfferState::Pending {
        return Err(not_open);
    }
    let by = By::driver(driver_id);
    let mut change = change(trip, to, TripEventKind::Assigned, by, context);
    change.driver_id = Some(driver_id.clone());
    change.trip.driver = Some(accept.driver.clone());
    change.trip.assigned_at = Some(context.now);
    change.trip.pickup_due_at = offer
        .pickup_duration_ms
        .map(|needed| context.now + TimeDelta::milliseconds(needed));
    change.trip.wrong_pins = 0;
    if let Some(current) = &mut change.trip.offer {
        current.state = OfferState::Accepted;
    }
    change.effects = vec![
        Effect::CloseOffer(accept.offer_id, OfferState::Accepted),
        Effect::Claim(driver_id.clone(), offer.beside),
    ];
    Ok(Transition::Changed(change))
}
