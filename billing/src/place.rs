//! Places and circles around them. The only fractions of billing: no amount is ever in here.

use serde::{Deserialize, Serialize};

/// Metres of one degree of a great circle of the earth.
const DEGREE_M: f64 = 111_195.0;

/// A place, degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// North.
    pub latitude: f64,
    /// East.
    pub longitude: f64,
}

impl Place {
    /// A place on the earth; `None` for numbers that are none.
    pub fn new(latitude: f64, longitude: f64) -> Option<Place> {
        let is_place = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        is_place.then_some(Place {
            latitude,
            longitude,
        })
    }

    /// The way to another place as the crow flies, metres, by the haversine formula.
    pub fn distance_m(self, other: Place) -> f64 {
        let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
        let along = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let chord =
            half(self.latitude, other.latitude) + along * half(self.longitude, other.longitude);
        2.0 * chord.sqrt().min(1.0).asin().to_degrees() * DEGREE_M
    }
}

/// Everything within a distance of a place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circle {
    /// The middle, degrees north.
    pub latitude: f64,
    /// The middle, degrees east.
    pub longitude: f64,
    /// How far it goes, metres.
    pub radius_m: f64,
}

// A configuration holds no NaN: `problem` finds it.
impl Eq for Circle {}

impl Circle {
    /// Whether a place lies in it.
    pub fn holds(&self, place: Place) -> bool {
        let middle = Place {
            latitude: self.latitude,
            longitude: self.longitude,
        };
        middle.distance_m(place) <= self.radius_m
    }

    /// What is wrong with it.
    pub fn problem(&self) -> Option<&'static str> {
        if Place::new(self.latitude, self.longitude).is_none() {
            Some("is not on Earth")
        } else if !(self.radius_m.is_finite() && self.radius_m > 0.0) {
            Some("needs a radius above 0")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_apart_as_on_the_earth() {
        let airport = Place::new(41.24, -8.68).unwrap();
        let town = Place::new(41.15, -8.61).unwrap();
        let apart_m = town.distance_m(airport);
        assert!((apart_m - 11_600.0).abs() < 50.0, "{apart_m}");
        assert_eq!(town.distance_m(town), 0.0);
        for (latitude, longitude) in [(91.0, 0.0), (0.0, -181.0), (f64::NAN, 0.0)] {
            assert_eq!(Place::new(latitude, longitude), None);
        }
    }

    #[test]
    fn circles_are_checked() {
        let circle = Circle {
            latitude: 41.24,
            longitude: -8.68,
            radius_m: 600.0,
        };
        assert_eq!(circle.problem(), None);
        for radius_m in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Circle { radius_m, ..circle }.problem().is_some());
        }
        assert!(
            Circle {
                latitude: 90.1,
                ..circle
            }
            .problem()
            .is_some()
        );
    }
}
