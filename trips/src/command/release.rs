//! A booked ride's time has come: a driver is looked for.

use jitney_proto::trips::v1::TripEventKind;

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{By, PaymentState, Trip},
};

/// The search begins; the fare is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Billing's name for the price that is held.
    pub fare_quote_id: String,
}

/// Begins the search, if what is held is what the ride costs: it may have been changed meanwhile. The
/// search goes on beyond the time that was booked as long as any other one.
pub fn apply(trip: &Trip, release: &Release, context: &Context) -> Result<Transition, Refusal> {
    let Some(to) = target(trip, Kind::Release)? else {
        return Ok(Transition::Unchanged);
    };
    if trip
        .booking
        .as_ref()
        .is_some_and(|booking| booking.fare_quote_id != release.fare_quote_id)
    {
        return Err(Refusal::Moved);
    }
    let mut change = change(trip, to, TripEventKind::Released, By::system(), context);
    let from = trip
        .booking
        .as_ref()
        .map(|booking| booking.pickup_at.max(context.now));
    change.trip.search_until = from.unwrap_or(context.now) + context.limits.search_timeout;
    change.trip.payment_state = PaymentState::Held;
    change.effects = vec![Effect::MarkHeld];
    Ok(Transition::Changed(change))
}
