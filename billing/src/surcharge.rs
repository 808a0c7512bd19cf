//! What makes one and the same way dearer: the night and where it begins and ends.

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
