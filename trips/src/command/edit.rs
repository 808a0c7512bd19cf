//! The rider wants to go somewhere else.

use jitney_proto::{money::Money, trips::v1::TripEventKind};

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{By, Fees, OfferState, Place, Stop, Tariff, Trip},
};

/// Another way, priced.
#[derive(Clone, Debug, PartialEq)]
pub struct EditDestination {
    /// Who wants it.
    pub by: By,
    /// The trip's version that it was priced for.
    pub version: i64,
    /// Stops on the way, those that are behind included.
    pub stops: Vec<Stop>,
    /// Where the rider goes.
    pub dropoff: Place,
    /// Driving distance of the whole ride, metres.
    pub distance_m: i64,
    /// Driving time of the whole ride, milliseconds.
    pub duration_ms: i64,
    /// The up-front fare from now on.
    pub fare: Money,
    /// What its end may cost instead.
    pub fees: Fees,
    /// What the fare was reckoned under.
    pub tariff: Tariff,
    /// Billing's name for it.
    pub quote_id: String,
}

impl EditDestination {
    /// Writes the way and its price into a trip.
    pub fn write(&self, trip: &mut Trip) {
        trip.stops.clone_from(&self.stops);
        trip.dropoff = self.dropoff;
        trip.distance_m = self.distance_m;
        trip.duration_ms = self.duration_ms;
        trip.fare = self.fare;
        trip.fees = self.fees;
        trip.tariff = Some(self.tariff.clone());
        trip.price_quote_id = Some(self.quote_id.clone());
        if let Some(booking) = &mut trip.booking {
            booking.fare_quote_id.clone_from(&self.quote_id);
        }
    }
}

/// Changes the way and its price, if the trip still is where it was when that was priced. A driver who is
/// being asked was asked about another ride: that offer is over. Billing changes what is held when it hears
/// the event.
pub fn apply(
    trip: &Trip,
    edit: &EditDestination,
    context: &Context,
) -> Result<Transition, Refusal> {
    let refusal = Refusal::IllegalTransition {
        state: trip.state,
        kind: Kind::EditDestination,
    };
    let to = target(trip, Kind::EditDestination)?.ok_or(refusal)?;
    if trip.version != edit.version {
        return Err(Refusal::Moved);
    }
    let by = edit.by.clone();
    let mut change = change(trip, to, TripEventKind::DestinationChanged, by, context);
    edit.write(&mut change.trip);
    change.effects = vec![Effect::ChangeWay];
    if let Some(offer) = trip.open_offer() {
        change.driver_id = Some(offer.driver_id.clone());
        change.offer_id = Some(offer.offer_id);
        change.trip.offer = None;
        let over = Effect::CloseOffer(offer.offer_id, OfferState::Withdrawn);
        change.effects.push(over);
    }
    Ok(Transition::Changed(change))
}
