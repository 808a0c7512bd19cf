//! Matching makes an offer to a driver, and tells when it ended without an answer.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, OfferId},
    money::Money,
    trips::v1::TripEventKind,
};

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{Beside, By, Offer, OfferState, Place, Trip},
};

/// Matching makes an offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Make {
    /// The offer.
    pub offer_id: OfferId,
    /// To whom.
    pub driver_id: DriverId,
    /// Until when it may be accepted.
    pub expires_at: DateTime<Utc>,
    /// The driver's live trip that it comes on top of.
    pub beside: Option<Beside>,
    /// How long the driver needs to the pick-up, milliseconds, if matching said.
    pub pickup_duration_ms: Option<i64>,
    /// Where the ride goes that is offered.
    pub dropoff: Place,
    /// What it costs.
    pub fare: Money,
}

/// Matching's offer ended without an assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The offer.
    pub offer_id: OfferId,
    /// How: `Expired`, `Withdrawn` or, when matching heard it first, `Declined`.
    pub how: OfferState,
}

/// Records the offer.
pub fn make(trip: &Trip, make: &Make, context: &Context) -> Result<Transition, Refusal> {
    // An offer that is on record is old news, whatever became of it.
    if context.named_offer.is_some() {
        return Ok(Transition::Unchanged);
    }
    let refusal = Refusal::IllegalTransition {
        state: trip.state,
        kind: Kind::Offer,
    };
    let to = target(trip, Kind::Offer)?.ok_or(refusal)?;
    // The rider goes elsewhere by now: nobody may accept what they were not shown.
    if (trip.dropoff, trip.fare) != (make.dropoff, make.fare) {
        return Err(Refusal::Moved);
    }
    let offer = Offer {
        offer_id: make.offer_id,
        driver_id: make.driver_id.clone(),
        expires_at: make.expires_at,
        state: OfferState::Pending,
        beside: make.beside,
        pickup_duration_ms: make.pickup_duration_ms,
    };
    let mut change = change(trip, to, TripEventKind::Offered, By::system(), context);
    change.driver_id = Some(make.driver_id.clone());
    change.offer_id = Some(make.offer_id);
    change.trip.offer = Some(offer.clone());
    change.effects = vec![Effect::OpenOffer(offer)];
    Ok(Transition::Changed(change))
}

/// Goes back to searching, if the offer is still the open one.
pub fn end(trip: &Trip, end: &End, context: &Context) -> Result<Transition, Refusal> {
    let Some(to) = target(trip, Kind::EndOffer)? else {
        return Ok(Transition::Unchanged);
    };
    let Some(offer) = trip
        .open_offer()
        .filter(|open| open.offer_id == end.offer_id)
    else {
        return Ok(Transition::Unchanged);
    };
    let mut change = change(trip, to, TripEventKind::OfferEnded, By::system(), context);
    change.driver_id = Some(offer.driver_id.clone());
    change.reason = match end.how {
        OfferState::Expired => "the offer ran out".to_owned(),
        OfferState::Declined => "the offer was declined".to_owned(),
        _ => "the offer was withdrawn".to_owned(),
    };
    change.trip.offer = None;
    change.effects = vec![Effect::CloseOffer(end.offer_id, end.how)];
    Ok(Transition::Changed(change))
}
