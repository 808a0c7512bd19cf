//! Which way round: one-way streets.

use super::way::Tags;

/// The directions in which a way may be driven, as its nodes are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// There and back.
    Both,
    /// From the first node to the last.
    Forward,
    /// From the last node to the first.
    Backward,
    /// Changing with the time of day; nobody can plan on it.
    Reversible,
}

/// Statements about cars, most specific first.
const KEYS: [&str; 4] = [
    "oneway:motorcar",
    "oneway:motor_vehicle",
    "oneway:vehicle",
    "oneway",
];

/// Reads the directions off a way's tags. Motorways, their ramps and roundabouts are one-way unless
/// they say otherwise.
#[must_use]
pub fn directions(tags: &Tags<'_>) -> Directions {
    let stated = KEYS
        .iter()
        .filter_map(|key| tags.get(key))
        .find_map(|value| match value {
            "yes" | "true" | "1" => Some(Directions::Forward),
            "-1" | "reverse" => Some(Directions::Backward),
            "no" | "false" | "0" | "alternating" => Some(Directions::Both),
            "reversible" => Some(Directions::Reversible),
            _ => None,
        });
    stated.unwrap_or_else(|| {
        let highway = matches!(tags.get("highway"), Some("motorway" | "motorway_link"));
        let circle = matches!(tags.get("junction"), Some("roundabout" | "circular"));
        if highway || circle {
            Directions::Forward
        } else {
            Directions::Both
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stated_implied_and_overruled() {
        use Directions::*;
        let cases: &[(&[(&'static str, &'static str)], Directions)] = &[
            (&[("highway", "residential")], Both),
            (&[("highway", "residential"), ("oneway", "yes")], Forward),
            (&[("highway", "residential"), ("oneway", "true")], Forward),
            (&[("highway", "residential"), ("oneway", "1")], Forward),
            (&[("highway", "residential"), ("oneway", "-1")], Backward),
            (
                &[("highway", "residential"), ("oneway", "reverse")],
                Backward,
            ),
            (&[("highway", "residential"), ("oneway", "no")], Both),
            (&[("highway", "residential"), ("oneway", "gibberish")], Both),
            (
                &[("highway", "primary"), ("oneway", "reversible")],
                Reversible,
            ),
            (&[("highway", "motorway")], Forward),
            (&[("highway", "motorway_link")], Forward),
            (&[("highway", "motorway"), ("oneway", "no")], Both),
            (&[("highway", "trunk")], Both),
            (
                &[("highway", "primary"), ("junction", "roundabout")],
                Forward,
            ),
            (&[("highway", "primary"), ("junction", "circular")], Forward),
            (
                &[
                    ("highway", "primary"),
                    ("junction", "roundabout"),
                    ("oneway", "-1"),
                ],
                Backward,
            ),
            (
                &[
                    ("highway", "service"),
                    ("oneway", "yes"),
                    ("oneway:motor_vehicle", "no"),
                ],
                Both,
            ),
        ];
        for (tags, expected) in cases {
            assert_eq!(directions(&Tags::from(*tags)), *expected, "{tags:?}");
        }
    }
}
