//! How fast: from speed limits where they are tagged, from the road's class where not.
//!
//! A limit is what the law allows, not what a car averages between junctions, lights and parked
//! vans; a car is taken to drive at [`LIMIT_SHARE`] of it. The classes' usual speeds are averages
//! already. They are estimates in the range the free routers use by default (OSRM's and r5's car
//! profiles among them), a little lower on the small streets, where cars for hire stop; traffic
//! observed on the road replaces them through
//! [`RoadNetwork::with_arc_times`](crate::RoadNetwork::with_arc_times).
//!
//! Limits that name a country's rule (`FR:urban`) are looked up in the traffic laws as the
//! OpenStreetMap wiki lists them under "Speed limits".

use crate::graph::RoadClass;

use super::way::Tags;

/// The share of a speed limit that a car averages.
pub const LIMIT_SHARE: f64 = 0.8;

/// What `maxspeed=none` is taken for, in km/h: Germany recommends it where it sets no limit.
pub const UNLIMITED_KMH: f64 = 130.0;

/// Walking pace, in km/h.
pub const WALK_KMH: f64 = 7.0;

const KMH_PER_MPH: f64 = 1.609_344;
const KMH_PER_KNOT: f64 = 1.852;

/// Speeds of a way, in km/h, whether or not it may be driven in that direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speeds {
    /// From the first node to the last.
    pub forward_kmh: f64,
    /// From the last node to the first.
    pub backward_kmh: f64,
    /// Whether either comes from a limit.
    pub has_limit: bool,
}

/// The speeds of a way from its tags.
#[must_use]
pub fn speeds_kmh(tags: &Tags<'_>, class: RoadClass, is_ramp: bool) -> Speeds {
    let limit = |key| tags.get(key).and_then(limit_kmh);
    let general = limit("maxspeed").or_else(|| implied_limit_kmh(tags));
    let forward = limit("maxspeed:forward").or(general);
    let backward = limit("maxspeed:backward").or(general);
    let speed = |limit: Option<f64>| {
        limit.map_or_else(
            || usual_speed_kmh(class, is_ramp),
            |limit| limit * LIMIT_SHARE,
        )
    };
    Speeds {
        forward_kmh: speed(forward),
        backward_kmh: speed(backward),
        has_limit: forward.or(backward).is_some(),
    }
}

/// What a car averages on a road of that class when no limit is known, in km/h.
#[must_use]
pub fn usual_speed_kmh(class: RoadClass, is_ramp: bool) -> f64 {
    let (road, ramp) = match class {
        RoadClass::Motorway => (90.0, 45.0),
        RoadClass::Trunk => (80.0, 40.0),
        RoadClass::Primary => (60.0, 35.0),
        RoadClass::Secondary => (50.0, 30.0),
        RoadClass::Tertiary => (40.0, 25.0),
        RoadClass::Unclassified | RoadClass::Residential => (25.0, 25.0),
        RoadClass::LivingStreet => (10.0, 10.0),
        RoadClass::Service => (12.0, 12.0),
    };
    if is_ramp { ramp } else { road }
}

/// The limit a way implies without stating it, by the tags that say which rule applies.
fn implied_limit_kmh(tags: &Tags<'_>) -> Option<f64> {
    let rules = [
        "zone:maxspeed",
        "maxspeed:type",
        "source:maxspeed",
        "zone:traffic",
    ];
    rules
        .iter()
        .filter_map(|key| tags.get(key))
        .find_map(country_limit_kmh)
}

/// A limit in km/h from the value of a `maxspeed` key; `None` when it states none we understand
/// (`signals`, `variable`, nonsense).
#[must_use]
pub fn limit_kmh(value: &str) -> Option<f64> {
    // Of several limits (lanes, conditions) the first is the general one.
    let value = value.split([';', '|', ',']).next()?.trim();
    match value {
        "none" => return Some(UNLIMITED_KMH),
        "walk" => return Some(WALK_KMH),
        _ => {}
    }
    let unit_at = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(unit_at);
    let Ok(number) = number.parse::<f64>() else {
        return country_limit_kmh(value);
    };
    let factor = match unit.trim() {
        "" | "km/h" | "kmh" | "kph" => 1.0,
        "mph" => KMH_PER_MPH,
        "knots" => KMH_PER_KNOT,
        _ => return None,
    };
    (number > 0.0 && number < 1000.0).then_some(number * factor)
}

/// A limit in km/h from a rule such as `FR:urban`, `DE:zone30` or `GB:nsl_dual`.
#[must_use]
pub fn country_limit_kmh(rule: &str) -> Option<f64> {
    let (country, context) = rule.split_once(':')?;
    let is_country = matches!(country.len(), 2..=6)
        && country
            .bytes()
            .all(|letter| letter.is_ascii_uppercase() || letter == b'-');
    if !is_country {
        return None;
    }
    if let Some((_, _, kmh)) = COUNTRY_LIMITS_KMH
        .iter()
        .find(|(c, rule, _)| *c == country && *rule == context)
    {
        return Some(*kmh);
    }
    match context {
        "urban" => Some(50.0),
        "rural" => Some(90.0),
        "trunk" => Some(110.0),
        "motorway" => Some(130.0),
        "living_street" => Some(20.0),
        "bicycle_road" => Some(30.0),
        // DE:zone30, BE:zone:30, DE:30; GB:zone20 is in miles
        zone => {
            let zone = zone.strip_prefix("zone").unwrap_or(zone);
            let limit: f64 = zone.strip_prefix(':').unwrap_or(zone).parse().ok()?;
            let in_miles = MILES.contains(&country.get(..2)?);
            let kmh = if in_miles { limit * KMH_PER_MPH } else { limit };
            (5.0..=130.0).contains(&kmh).then_some(kmh)
        }
    }
}

/// Countries whose limits are in miles an hour.
const MILES: [&str; 3] = ["GB", "UK", "US"];

/// Where a country's rule differs from the commonest one.
const COUNTRY_LIMITS_KMH: [(&str, &str, f64); 46] = [
    ("AT", "living_street", WALK_KMH),
    ("AT", "rural", 100.0),
    ("BE", "motorway", 120.0),
    ("BE-VLG", "rural", 70.0),
    ("BY", "urban", 60.0),
    ("CH", "motorway", 120.0),
    ("CH", "rural", 80.0),
    ("CH", "trunk", 100.0),
    ("DE", "living_street", WALK_KMH),
    ("DE", "motorway", UNLIMITED_KMH),
    ("DE", "rural", 100.0),
    ("DK", "rural", 80.0),
    ("ES", "motorway", 120.0),
    ("ES", "trunk", 90.0),
    ("ES", "urban", 50.0),
    ("FI", "motorway", 120.0),
    ("FI", "rural", 80.0),
    ("FR", "rural", 80.0),
    ("GB", "motorway", 70.0 * KMH_PER_MPH),
    ("GB", "nsl_dual", 70.0 * KMH_PER_MPH),
    ("GB", "nsl_restricted", 30.0 * KMH_PER_MPH),
    ("GB", "nsl_single", 60.0 * KMH_PER_MPH),
    ("GB", "rural", 60.0 * KMH_PER_MPH),
    ("GB", "urban", 30.0 * KMH_PER_MPH),
    ("HU", "rural", 90.0),
    ("IE", "motorway", 120.0),
    ("IE", "rural", 80.0),
    ("NL", "motorway", 100.0),
    ("NL", "rural", 80.0),
    ("NL", "trunk", 100.0),
    ("NO", "motorway", 110.0),
    ("NO", "rural", 80.0),
    ("PL", "motorway", 140.0),
    ("PL", "trunk", 120.0),
    ("PT", "motorway", 120.0),
    ("PT", "trunk", 100.0),
    ("RO", "trunk", 100.0),
    ("RU", "living_street", 20.0),
    ("RU", "motorway", 110.0),
    ("RU", "rural", 90.0),
    ("RU", "urban", 60.0),
    ("SE", "motorway", 110.0),
    ("SE", "rural", 70.0),
    ("UK", "motorway", 70.0 * KMH_PER_MPH),
    ("UK", "nsl_dual", 70.0 * KMH_PER_MPH),
    ("UK", "nsl_single", 60.0 * KMH_PER_MPH),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_every_unit() {
        let cases = [
            ("50", Some(50.0)),
            ("50 km/h", Some(50.0)),
            ("50kmh", Some(50.0)),
            ("30 mph", Some(48.28032)),
            ("30mph", Some(48.28032)),
            ("10 knots", Some(18.52)),
            ("7.5", Some(7.5)),
            ("none", Some(UNLIMITED_KMH)),
            ("walk", Some(WALK_KMH)),
            ("50;30", Some(50.0)),
            ("FR:urban", Some(50.0)),
            ("DE:rural", Some(100.0)),
            ("DE:zone30", Some(30.0)),
            ("BE:zone:30", Some(30.0)),
            ("GB:zone20", Some(32.18688)),
            ("US-CA:25", Some(40.2336)),
            ("XX:motorway", Some(130.0)),
            ("0", None),
            ("-50", None),
            ("NaN", None),
            ("inf", None),
            ("1e9", None),
            ("99999", None),
            ("50 furlongs", None),
            ("signals", None),
            ("", None),
            (":", None),
            ("fr:urban", None),
            ("FR:moon", None),
        ];
        for (value, expected) in cases {
            let found = limit_kmh(value);
            let same = match (found, expected) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-6,
                (a, b) => a == b,
            };
            assert!(same, "{value:?} gave {found:?}");
        }
    }

    #[test]
    fn a_way_may_have_a_limit_per_direction() {
        let tags = Tags::from(
            &[
                ("maxspeed", "50"),
                ("maxspeed:backward", "30"),
                ("maxspeed:forward", "signals"),
            ][..],
        );
        let speeds = speeds_kmh(&tags, RoadClass::Primary, false);
        assert_eq!((speeds.forward_kmh, speeds.backward_kmh), (40.0, 24.0));
        assert!(speeds.has_limit);
    }

    #[test]
    fn without_a_limit_the_class_decides() {
        let speeds = speeds_kmh(&Tags::default(), RoadClass::Motorway, true);
        assert_eq!(
            speeds.forward_kmh,
            usual_speed_kmh(RoadClass::Motorway, true)
        );
        assert!(!speeds.has_limit);
        let implied = Tags::from(&[("source:maxspeed", "PT:urban")][..]);
        assert_eq!(
            speeds_kmh(&implied, RoadClass::Primary, false).forward_kmh,
            40.0
        );
    }

    #[test]
    fn the_table_is_sorted_and_has_no_doubles() {
        let keys: Vec<_> = COUNTRY_LIMITS_KMH
            .iter()
            .map(|(c, rule, _)| (c, rule))
            .collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
