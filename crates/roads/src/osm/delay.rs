//! What stops a car on its way: lights, stop signs, crossings, toll booths.
//!
//! The delays are averages over those who pass, the lucky ones included, and belong to a node of the
//! map; a junction of two wide roads has up to four nodes with a light, of which a car meets two or
//! three. They are of the size that the free routers use (OSRM charges 2 s for a light).

use super::way::Tags;

/// An average delay, and on which way round of the way it is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Driving the way from its first node to its last, milliseconds.
    pub forward_ms: u32,
    /// Driving it from its last node to its first, milliseconds.
    pub backward_ms: u32,
}

/// At a traffic light, milliseconds.
pub const LIGHT_MS: u32 = 2_000;
/// At a light for those who walk across, milliseconds.
pub const CROSSING_LIGHT_MS: u32 = 1_000;
/// At a stop sign, milliseconds.
pub const STOP_MS: u32 = 2_000;
/// Where one gives way, milliseconds.
pub const GIVE_WAY_MS: u32 = 1_000;
/// Where rails cross, milliseconds.
pub const LEVEL_CROSSING_MS: u32 = 3_000;
/// At a toll booth, a border or a gate, milliseconds.
pub const BOOTH_MS: u32 = 10_000;
/// Over a hump, milliseconds.
pub const HUMP_MS: u32 = 500;

/// The delay at the node with these tags.
#[must_use]
pub fn delay(tags: &Tags<'_>) -> Delay {
    let (delay_ms, direction) = match tags.get("highway") {
        Some("traffic_signals") => (LIGHT_MS, tags.get("traffic_signals:direction")),
        Some("stop") => (STOP_MS, tags.get("direction")),
        Some("give_way") => (GIVE_WAY_MS, tags.get("direction")),
        Some("crossing") if is_lit_crossing(tags) => (CROSSING_LIGHT_MS, None),
        _ => (other_delay_ms(tags), None),
    };
    let met = |way_round: &str| match direction {
        Some(only @ ("forward" | "backward")) if only != way_round => 0,
        _ => delay_ms,
    };
    Delay {
        forward_ms: met("forward"),
        backward_ms: met("backward"),
    }
}

fn is_lit_crossing(tags: &Tags<'_>) -> bool {
    tags.get("crossing") == Some("traffic_signals") || tags.get("crossing:signals") == Some("yes")
}

fn other_delay_ms(tags: &Tags<'_>) -> u32 {
    if tags.get("railway") == Some("level_crossing") {
        return LEVEL_CROSSING_MS;
    }
    match tags.get("barrier") {
        Some("toll_booth" | "border_control" | "gate" | "lift_gate" | "swing_gate") => BOOTH_MS,
        _ if tags
            .get("traffic_calming")
            .is_some_and(|kind| kind != "island") =>
        {
            HUMP_MS
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_a_car_and_which_way_round() {
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: &[(Pairs, (u32, u32))] = &[
            (&[], (0, 0)),
            (&[("highway", "traffic_signals")], (LIGHT_MS, LIGHT_MS)),
            (
                &[
                    ("highway", "traffic_signals"),
                    ("traffic_signals:direction", "forward"),
                ],
                (LIGHT_MS, 0),
            ),
            (
                &[("highway", "stop"), ("direction", "backward")],
                (0, STOP_MS),
            ),
            (&[("highway", "give_way")], (GIVE_WAY_MS, GIVE_WAY_MS)),
            (
                &[("highway", "crossing"), ("crossing", "traffic_signals")],
                (CROSSING_LIGHT_MS, CROSSING_LIGHT_MS),
            ),
            (&[("highway", "crossing"), ("crossing", "zebra")], (0, 0)),
            (
                &[("railway", "level_crossing")],
                (LEVEL_CROSSING_MS, LEVEL_CROSSING_MS),
            ),
            (&[("barrier", "toll_booth")], (BOOTH_MS, BOOTH_MS)),
            (&[("traffic_calming", "hump")], (HUMP_MS, HUMP_MS)),
        ];
        for (tags, (forward_ms, backward_ms)) in cases {
            let expected = Delay {
                forward_ms: *forward_ms,
                backward_ms: *backward_ms,
            };
            assert_eq!(delay(&Tags::from(*tags)), expected, "{tags:?}");
        }
    }
}
