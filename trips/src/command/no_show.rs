//! The rider did not come to the pick-up.

use jitney_proto::{ids::DriverId, trips::v1::TripEventKind};

use super::Kind;
use crate::{
    state::{Context, Effect, Refusal, Transition, change, target},
    trip::{By, Fee, Trip},
};

/// The driver has waited long enough.
#[derive(Clone, Debug, PartialEq)]
pub struct NoShow {
    /// Who has waited.
    pub driver_id: DriverId,
    /// Who says so: they, or time.
    pub by: By,
}

/// Ends the trip and frees the driver; the rider owes the fee, if the quote had one.
pub fn apply(trip: &Trip, no_show: &NoShow, context: &Context) -> Result<Transition, Refusal> {
    if !trip.is_driven_by(&no_show.driver_id) {
        return Err(Refusal::NotYours);
    }
    let Some(to) = target(trip, Kind::NoShow)? else {
        return Ok(Transition::Unchanged);
    };
    let until = trip
        .waited_for_since()
        .map_or(context.now, |since| since + context.limits.no_show_after);
    if context.now < until {
        return Err(Refusal::TooEarly { until });
    }
    let by = no_show.by.clone();
    let mut change = change(trip, to, TripEventKind::NoShow, by, context);
    change.trip.end_reason = "the rider did not come".to_owned();
    if trip.fee_amount(Fee::NoShow).is_some() {
        change.trip.fee = Fee::NoShow;
    }
    change.effects = vec![Effect::Release(no_show.driver_id.clone())];
    Ok(Transition::Changed(change))
}
