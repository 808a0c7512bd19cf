//! Places and circles around them. The only fractions of billing: no amount is ever in here.

use jitney_proto::geo::{self, DEGREE_M};
use serde::{Deserialize, Serialize};

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

    /// The way to another place as the crow flies, metres.
    pub fn distance_m(self, other: Place) -> f64 {
        geo::distance_m(
            (self.latitude, self.longitude),
            (other.latitude, other.longitude),
        )
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
    /// Whether a straight step from one place to another comes into it.
    pub fn touches(&self, [from, to]: [Place; 2]) -> bool {
        // Metres east and north of the middle: straight enough for what lies near it.
        let east_m = DEGREE_M * self.latitude.to_radians().cos();
        let plane = |place: Place| {
            [
                (place.longitude - self.longitude) * east_m,
                (place.latitude - self.latitude) * DEGREE_M,
            ]
        };
        let ([x, y], [to_x, to_y]) = (plane(from), plane(to));
        let (along_x, along_y) = (to_x - x, to_y - y);
        let length_2 = along_x * along_x + along_y * along_y;
        // How far along the step it is nearest to the middle.
        let nearest = if length_2 > 0.0 {
            (-(x * along_x + y * along_y) / length_2).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let (near_x, near_y) = (x + nearest * along_x, y + nearest * along_y);
        near_x.hypot(near_y) <= self.radius_m
    }

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
