//! No driver was found in time.

use chrono::{DateTime, Utc};
use jitney_proto::trips::v1::TripEventKind;

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{By, OfferState, Trip},
};

/// A search was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Expire {
    /// Until when that search was to go on: names the search, so that one of before a driver gave the
    /// trip back cannot end the search of after.
    pub search_until: DateTime<Utc>,
    /// For people: what was tried.
    pub detail: String,
}

/// Ends the trip, if the search that was given up is the present one.
pub fn apply(trip: &Trip, expire: &Expire, context: &Context) -> Result<Transition, Refusal> {
    let Some(to) = target(trip, Kind::Expire)? else {
        return Ok(Transition::Unchanged);
    };
    if trip.search_until != expire.search_until {
        return Ok(Transition::Unchanged);
    }
    let mut change = change(trip, to, TripEventKind::Expired, By::system(), context);
    change.reason = expire.detail.clone();
    change.trip.end_reason = match expire.detail.as_str() {
        "" => "no driver was found in time".to_owned(),
        detail => format!("no driver was found in time: {detail}"),
    };
    if let Some(open) = trip.open_offer() {
        change.driver_id = Some(open.driver_id.clone());
        change
            .effects
            .push(Effect::CloseOffer(open.offer_id, OfferState::Expired));
        change.trip.offer = None;
    }
    Ok(Transition::Changed(change))
}
