//! The rider is on board and has told the driver the PIN.

use std::fmt;

use jitney_proto::{ids::DriverId, trips::v1::TripEventKind};

use super::Kind;
use crate::{
    state::{Context, Refusal, Transition, change, target},
    trip::{By, Trip},
};

/// The rider is on board.
#[derive(Clone, PartialEq)]
pub struct Start {
    /// Who calls.
    pub driver_id: DriverId,
    /// What the rider told them.
    pub pin: String,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("driver_id", &self.driver_id)
            .finish_non_exhaustive()
    }
}

/// The ride begins, if the PIN is the rider's. Once it has begun the PIN protects nothing more, so a
/// repetition is not asked for it.
pub fn apply(trip: &Trip, start: &Start, context: &Context) -> Result<Transition, Refusal> {
    if !trip.is_driven_by(&start.driver_id) {
        return Err(Refusal::NotYours);
    }
    let Some(to) = target(trip, Kind::Start)? else {
        return Ok(Transition::Unchanged);
    };
    // Locked is locked, also for the right PIN: otherwise guessing could go on.
    let tries_left = context.limits.pin_tries_max.saturating_sub(trip.wrong_pins);
    if tries_left == 0 {
        return Err(Refusal::PinLocked);
    }
    if !is_same(&trip.pin, &start.pin) {
        return Err(Refusal::WrongPin {
            tries_left: tries_left - 1,
        });
    }
    let by = By::driver(&start.driver_id);
    let mut change = change(trip, to, TripEventKind::Started, by, context);
    change.trip.started_at = Some(context.now);
    Ok(Transition::Changed(change))
}

/// Compares without stopping at the first difference, so that the time taken says nothing of how much
/// was right. That the lengths differ may be seen: every PIN has four digits.
fn is_same(kept: &str, given: &str) -> bool {
    kept.len() == given.len()
        && kept
            .bytes()
            .zip(given.bytes())
            .fold(0, |differ, (a, b)| differ | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn a_pin_is_the_same_or_not() {
        assert!(is_same("0042", "0042"));
        for wrong in ["0043", "1042", "", "042", "00420", "0042 "] {
            assert!(!is_same("0042", wrong), "{wrong:?}");
        }
    }
}
