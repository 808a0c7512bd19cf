//! Who may pass: access tags of ways and barriers, for the car of somebody who works here.
//!
//! OpenStreetMap states access per group of vehicles, from `access` (everybody) through `vehicle`
//! and `motor_vehicle` to `motorcar`; the most specific statement counts, whatever the others say.

use super::way::Tags;

/// Statements about cars, most specific first.
const KEYS: [&str; 4] = ["motorcar", "motor_vehicle", "vehicle", "access"];

/// The same about those who drive a way from its first node to its last.
const FORWARD_KEYS: [&str; 4] = [
    "motorcar:forward",
    "motor_vehicle:forward",
    "vehicle:forward",
    "access:forward",
];

/// The same about those who drive it the other way round.
const BACKWARD_KEYS: [&str; 4] = [
    "motorcar:backward",
    "motor_vehicle:backward",
    "vehicle:backward",
    "access:backward",
];

/// Values that keep a hired car out.
const CLOSED: [&str; 10] = [
    "no",
    "private",
    "agricultural",
    "forestry",
    "emergency",
    "delivery",
    "military",
    "psv",
    "bus",
    "use_sidepath",
];

/// Values that let a hired car in when somebody there called it, and keep it from driving through.
const DESTINATION: [&str; 4] = ["customers", "destination", "permit", "residents"];

/// Kinds of `barrier` that stop a car unless a tag lets it through. Gates, lift gates, toll booths
/// and the like open.
const BLOCKING: [&str; 18] = [
    "block",
    "bollard",
    "bus_trap",
    "cycle_barrier",
    "debris",
    "fence",
    "full-height_turnstile",
    "horse_stile",
    "jersey_barrier",
    "kissing_gate",
    "log",
    "motorcycle_barrier",
    "planter",
    "rope",
    "stile",
    "sump_buster",
    "turnstile",
    "wall",
];

/// What access tags say about cars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Kept out.
    Closed,
    /// For those who begin or end there.
    DestinationOnly,
    /// Open.
    Open,
}

/// What the tags say about cars; `None` when they say nothing.
#[must_use]
pub fn car_access(tags: &Tags<'_>) -> Option<Access> {
    stated(tags, &KEYS)
}

/// Whether the tags keep cars out of a way in one direction: from its first node to its last, and back.
#[must_use]
pub fn closed_directions(tags: &Tags<'_>) -> [bool; 2] {
    [FORWARD_KEYS, BACKWARD_KEYS].map(|keys| stated(tags, &keys) == Some(Access::Closed))
}

fn stated(tags: &Tags<'_>, keys: &[&str]) -> Option<Access> {
    let value = keys.iter().find_map(|key| tags.get(key))?;
    // Of several values in one the most generous counts.
    let access = |value: &str| match value.trim() {
        closed if CLOSED.contains(&closed) => Access::Closed,
        inside if DESTINATION.contains(&inside) => Access::DestinationOnly,
        _ => Access::Open,
    };
    value.split(';').map(access).max()
}

/// Whether the node with these tags stops a car.
#[must_use]
pub fn blocks_cars(tags: &Tags<'_>) -> bool {
    let Some(barrier) = tags.get("barrier") else {
        return false;
    };
    match car_access(tags) {
        Some(access) => access == Access::Closed,
        None => BLOCKING.contains(&barrier),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(tags: &[(&'static str, &'static str)]) -> Option<Access> {
        car_access(&Tags::from(tags))
    }

    #[test]
    fn the_most_specific_statement_counts() {
        use Access::{Closed, DestinationOnly, Open};
        assert_eq!(access(&[]), None);
        assert_eq!(access(&[("access", "no")]), Some(Closed));
        assert_eq!(
            access(&[("access", "no"), ("motor_vehicle", "yes")]),
            Some(Open)
        );
        assert_eq!(
            access(&[("motorcar", "no"), ("access", "yes")]),
            Some(Closed)
        );
        assert_eq!(
            access(&[("vehicle", "private"), ("access", "permissive")]),
            Some(Closed)
        );
        assert_eq!(
            access(&[("access", "no"), ("bicycle", "yes")]),
            Some(Closed)
        );
        assert_eq!(
            access(&[("vehicle", "no"), ("motorcar", "destination")]),
            Some(DestinationOnly)
        );
        assert_eq!(access(&[("access", "customers")]), Some(DestinationOnly));
    }

    #[test]
    fn lists_let_in_whom_any_value_lets_in() {
        assert_eq!(
            access(&[("motor_vehicle", "agricultural;forestry")]),
            Some(Access::Closed)
        );
        assert_eq!(
            access(&[("motor_vehicle", "delivery; destination")]),
            Some(Access::DestinationOnly)
        );
        assert_eq!(
            access(&[("motor_vehicle", "destination;yes")]),
            Some(Access::Open)
        );
    }

    #[test]
    fn one_direction_may_be_closed() {
        let closed = |tags: &[(&'static str, &'static str)]| closed_directions(&Tags::from(tags));
        assert_eq!(closed(&[("access", "no")]), [false, false]);
        assert_eq!(closed(&[("vehicle:backward", "no")]), [false, true]);
        assert_eq!(closed(&[("motor_vehicle:forward", "bus")]), [true, false]);
        assert_eq!(
            closed(&[("access:forward", "no"), ("motorcar:forward", "yes")]),
            [false, false]
        );
    }

    #[test]
    fn bollards_block_and_gates_open() {
        let blocks = |tags: &[(&'static str, &'static str)]| blocks_cars(&Tags::from(tags));
        assert!(!blocks(&[]));
        assert!(
            !blocks(&[("access", "no")]),
            "without a barrier there is nothing to pass"
        );
        assert!(blocks(&[("barrier", "bollard")]));
        assert!(!blocks(&[("barrier", "bollard"), ("motor_vehicle", "yes")]));
        assert!(!blocks(&[("barrier", "gate")]));
        assert!(blocks(&[("barrier", "gate"), ("access", "private")]));
        assert!(!blocks(&[("barrier", "toll_booth")]));
    }
}
