//! What makes a ride dearer than its length: the night, where it begins and ends, and tolls on its way.

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::place::{Circle, Place};

/// When rides cost more, by the clocks of the city.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Night {
    /// From when on, for example `22:00`.
    pub from: NaiveTime,
    /// Until when, for example `06:00`; the minute itself is day. Earlier than `from`: over midnight.
    pub to: NaiveTime,
    /// The clocks: a zone of the IANA database, for example `Europe/Lisbon`.
    pub time_zone: Tz,
    /// What a ride that begins then costs more, percent of the metered fare.
    pub percent: i64,
}

impl Night {
    /// What a ride that begins at `at` costs more, percent.
    pub fn percent_at(&self, at: DateTime<Utc>) -> i64 {
        let clock = at.with_timezone(&self.time_zone).time();
        let is_night = if self.from <= self.to {
            (self.from..self.to).contains(&clock)
        } else {
            clock >= self.from || clock < self.to
        };
        if is_night { self.percent } else { 0 }
    }
}

/// A zone that costs to begin or to end in, an airport for example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FareZone {
    /// Its name, for people.
    pub id: String,
    /// Where it is.
    pub area: Circle,
    /// What beginning there costs, minor units.
    #[serde(default)]
    pub pickup_minor: i64,
    /// What ending there costs, minor units.
    #[serde(default)]
    pub dropoff_minor: i64,
}

/// The fees of all zones that a ride begins or ends in, minor units; zones may overlap.
pub fn zone_fees(zones: &[FareZone], pickup: Option<Place>, dropoff: Option<Place>) -> i128 {
    let holds = |zone: &FareZone, place: Option<Place>| place.is_some_and(|at| zone.area.holds(at));
    let fee = |zone: &FareZone| {
        let pickup = i128::from(zone.pickup_minor) * i128::from(holds(zone, pickup));
        pickup + i128::from(zone.dropoff_minor) * i128::from(holds(zone, dropoff))
    };
    zones.iter().map(fee).sum()
}

/// A road or a bridge that costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TollGate {
    /// Its name, for people.
    pub id: String,
    /// Where it is: who comes through has to pay. Small enough that the roads beside it lie outside.
    pub area: Circle,
    /// What coming through costs, minor units.
    pub toll_minor: i64,
}

/// The tolls on a way, minor units: for every gate as often as the way comes into it. It comes into it
/// again once it has been twice as far away as the gate reaches: a car that stands at its edge, and is seen
/// now inside and now outside, pays once.
pub fn tolls(gates: &[TollGate], way: &[Place]) -> i128 {
    let toll = |gate: &TollGate| {
        let around = Circle {
            radius_m: 2.0 * gate.area.radius_m,
            ..gate.area
        };
        let (mut passages, mut has_been_away) = (0_i128, true);
        for step in steps(way) {
            if has_been_away && gate.area.touches(step) {
                passages += 1;
                has_been_away = false;
            }
            has_been_away |= !around.holds(step[1]);
        }
        passages * i128::from(gate.toll_minor)
    };
    gates.iter().map(toll).sum()
}

/// From place to place; one place alone is a step as well.
fn steps(way: &[Place]) -> impl Iterator<Item = [Place; 2]> {
    let alone = (way.len() == 1).then(|| [way[0], way[0]]);
    alone.into_iter().chain(way.array_windows().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn clock(text: &str) -> NaiveTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_toll_is_paid_as_often_as_the_way_comes_through() {
        let bridge = TollGate {
            id: "bridge".into(),
            area: Circle {
                latitude: 41.0,
                longitude: -8.0,
                radius_m: 50.0,
            },
            toll_minor: 310,
        };
        let gates = [bridge];
        // Metres north and east of the gate's middle.
        let spot = |north_m, east_m| {
            Place::new(41.0 + north_m / 111_195.0, -8.0 + east_m / 83_920.0).unwrap()
        };
        let (south, north) = (spot(-900.0, 0.0), spot(900.0, 0.0));
        // No point of the line lies in it: the line itself does.
        assert_eq!(tolls(&gates, &[south, north]), 310);
        assert_eq!(tolls(&gates, &[north, south]), 310);
        let inside = [
            south,
            spot(-30.0, 0.0),
            spot(0.0, 5.0),
            spot(30.0, 0.0),
            north,
        ];
        assert_eq!(tolls(&gates, &inside), 310, "once, however many points");
        let back = [south, north, spot(900.0, 400.0), north, south];
        assert_eq!(tolls(&gates, &back), 620);
        assert_eq!(tolls(&gates, &[south, north, south, north]), 930);
        let beside = [spot(-900.0, 51.0), spot(900.0, 51.0)];
        assert_eq!(tolls(&gates, &beside), 0);
        let brushed = [spot(-900.0, 49.0), spot(900.0, 49.0)];
        assert_eq!(tolls(&gates, &brushed), 310);
        let waits = [
            spot(-900.0, 0.0),
            spot(-49.0, 0.0),
            spot(-52.0, 0.0),
            spot(-48.0, 0.0),
            north,
        ];
        assert_eq!(tolls(&gates, &waits), 310, "in a queue at its edge");
        let turns = [
            south,
            spot(0.0, 0.0),
            spot(-101.0, 0.0),
            spot(0.0, 0.0),
            north,
        ];
        assert_eq!(tolls(&gates, &turns), 620);
        // Up to it and not through.
        assert_eq!(tolls(&gates, &[south, spot(-60.0, 0.0)]), 0);
        assert_eq!(tolls(&gates, &[spot(0.0, 0.0)]), 310);
        assert_eq!(tolls(&gates, &[]), 0);
        let twice = [
            gates[0].clone(),
            TollGate {
                id: "tunnel".into(),
                toll_minor: 5,
                ..gates[0].clone()
            },
        ];
        assert_eq!(tolls(&twice, &[south, north]), 315);
    }

    #[test]
    fn the_night_is_by_the_clocks_of_the_city() {
        let night = Night {
            from: clock("22:00"),
            to: clock("06:00"),
            time_zone: chrono_tz::Europe::Lisbon,
            percent: 20,
        };
        for (moment, percent) in [
            // In winter Lisbon has UTC, in summer an hour more.
            ("2026-01-10T21:59:59Z", 0),
            ("2026-01-10T22:00:00Z", 20),
            ("2026-01-11T00:00:00Z", 20),
            ("2026-01-11T05:59:59Z", 20),
            ("2026-01-11T06:00:00Z", 0),
            ("2026-07-10T20:59:59Z", 0),
            ("2026-07-10T21:00:00Z", 20),
            ("2026-07-11T05:00:00Z", 0),
            // The hour that is there twice in autumn is night both times.
            ("2026-10-25T00:30:00Z", 20),
            ("2026-10-25T01:30:00Z", 20),
        ] {
            assert_eq!(night.percent_at(at(moment)), percent, "{moment}");
        }
        let lunch = Night {
            from: clock("12:00"),
            to: clock("14:00"),
            ..night
        };
        assert_eq!(lunch.percent_at(at("2026-01-10T12:00:00Z")), 20);
        assert_eq!(lunch.percent_at(at("2026-01-10T14:00:00Z")), 0);
        let never = Night {
            to: clock("22:00"),
            ..night
        };
        assert_eq!(never.percent_at(at("2026-01-10T22:00:00Z")), 0);
    }

    #[test]
    fn zones_cost_where_one_begins_or_ends() {
        let zone = |id: &str, latitude, pickup_minor, dropoff_minor| FareZone {
            id: id.to_owned(),
            area: Circle {
                latitude,
                longitude: -8.68,
                radius_m: 600.0,
            },
            pickup_minor,
            dropoff_minor,
        };
        let zones = [
            zone("airport", 41.24, 250, 100),
            zone("kerb", 41.241, 30, 0),
        ];
        let airport = Place::new(41.24, -8.68);
        let near = Place::new(41.2345, -8.68);
        let town = Place::new(41.15, -8.61);
        assert_eq!(zone_fees(&zones, airport, town), 280);
        assert_eq!(zone_fees(&zones, town, airport), 100);
        assert_eq!(zone_fees(&zones, near, near), 0, "612 m away");
        assert_eq!(zone_fees(&zones, None, None), 0);
    }
}
