//! Who may pass: access tags of ways and barriers, for the car of somebody who works here.
//!
//! OpenStreetMap states access per group of vehicles, from `access` (everybody) through `vehicle`
//! and `motor_vehicle` to `motorcar`; the most specific statement counts, whatever the others say.

use super::way::Tags;

/// Statements about cars, most specific first.
const KEYS: [&str; 4] = ["motorcar", "motor_vehicle", "vehicle", "access"];

/// Values that keep a hired car out. `destination` and `customers` are not among them: it is going
/// there, with one.
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

/// What the tags say about cars: `Some(false)` keeps them out, `None` says nothing.
#[must_use]
pub fn cars_allowed(tags: &Tags<'_>) -> Option<bool> {
    let value = KEYS.iter().find_map(|key| tags.get(key))?;
    // Several values in one: any that lets the car in does.
    Some(
        value
            .split(';')
            .any(|value| !CLOSED.contains(&value.trim())),
    )
}

/// Whether the node with these tags stops a car.
#[must_use]
pub fn blocks_cars(tags: &Tags<'_>) -> bool {
    let Some(barrier) = tags.get("barrier") else {
        return false;
    };
    match cars_allowed(tags) {
        Some(allowed) => !allowed,
        None => BLOCKING.contains(&barrier),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(tags: &[(&'static str, &'static str)]) -> Option<bool> {
        cars_allowed(&Tags::from(tags))
    }

    #[test]
    fn the_most_specific_statement_counts() {
        assert_eq!(allowed(&[]), None);
        assert_eq!(allowed(&[("access", "no")]), Some(false));
        assert_eq!(
            allowed(&[("access", "no"), ("motor_vehicle", "yes")]),
            Some(true)
        );
        assert_eq!(
            allowed(&[("motorcar", "no"), ("access", "yes")]),
            Some(false)
        );
        assert_eq!(
            allowed(&[("vehicle", "private"), ("access", "permissive")]),
            Some(false)
        );
        assert_eq!(
            allowed(&[("access", "no"), ("bicycle", "yes")]),
            Some(false)
        );
        assert_eq!(
            allowed(&[("vehicle", "no"), ("motorcar", "destination")]),
            Some(true)
        );
    }

    #[test]
    fn lists_let_in_whom_any_value_lets_in() {
        assert_eq!(
            allowed(&[("motor_vehicle", "agricultural;forestry")]),
            Some(false)
        );
        assert_eq!(
            allowed(&[("motor_vehicle", "delivery; destination")]),
            Some(true)
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
