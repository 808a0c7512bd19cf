//! The driver leaves the offered ride to the next one.

use jitney_proto::{
    ids::{DriverId, OfferId},
    trips::v1::TripEventKind,
};

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{By, OfferState, Trip},
};

/// The driver leaves the offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Decline {
    /// The offer.
    pub offer_id: OfferId,
    /// Who calls.
    pub driver_id: DriverId,
    /// Why, for people.
    pub reason: String,
}

/// Goes back to searching. An offer that ended in any other way than by being accepted leaves the ride
/// to the next driver already: declining it changes nothing.
pub fn apply(trip: &Trip, decline: &Decline, context: &Context) -> Result<Transition, Refusal> {
    let offer = context
        .named_offer
        .as_ref()
        .filter(|offer| offer.driver_id == decline.driver_id)
        .ok_or(Refusal::NotYours)?;
    let to = target(trip, Kind::Decline)?;
    if offer.state == OfferState::Accepted {
        return Err(Refusal::OfferNotOpen {
            state: trip.state,
            offer: offer.state,
        });
    }
    let is_open = trip
        .open_offer()
        .is_some_and(|open| open.offer_id == decline.offer_id);
    let Some(to) = to.filter(|_| is_open) else {
        return Ok(Transition::Unchanged);
    };
    let by = By::driver(&decline.driver_id);
    let mut change = change(trip, to, TripEventKind::OfferDeclined, by, context);
    change.driver_id = Some(decline.driver_id.clone());
    change.reason = decline.reason.clone();
    change.trip.offer = None;
    change.effects = vec![Effect::CloseOffer(decline.offer_id, OfferState::Declined)];
    Ok(Transition::Changed(change))
}
