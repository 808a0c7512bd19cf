//! Places on Earth: checked coordinates, distances and headings.
//!
//! Coordinates are WGS 84 degrees. Inside the network they are kept as integers of 1e-7 degree
//! (about a centimetre), so the same map gives the same numbers on every machine.

use serde::{Deserialize, Serialize};

use crate::RoadsError;

/// Mean radius of the Earth, in metres.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Latitudes beyond this are refused, in degrees.
pub const MAX_LATITUDE_DEG: f64 = 90.0;

/// A place: latitude and longitude in degrees, finite and within range by construction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Degrees", into = "Degrees")]
pub struct LatLon {
    lat: f64,
    lon: f64,
}

impl LatLon {
    /// A place from degrees.
    ///
    /// # Errors
    /// [`RoadsError::NotAPlace`] when either is not finite, the latitude is beyond ±90 or the
    /// longitude beyond ±180 degrees.
    pub fn new(lat: f64, lon: f64) -> Result<Self, RoadsError> {
        if lat.abs() <= MAX_LATITUDE_DEG && lon.abs() <= 180.0 {
            Ok(Self { lat, lon })
        } else {
            Err(RoadsError::NotAPlace { lat, lon })
        }
    }

    /// Latitude in degrees, north positive.
    #[must_use]
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Longitude in degrees, east positive.
    #[must_use]
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// Great-circle distance to `other` in metres, by the haversine formula on a sphere of
    /// [`EARTH_RADIUS_M`].
    #[must_use]
    pub fn distance_m(self, other: Self) -> f64 {
        let (lat_a, lat_b) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = ((other.lat - self.lat).to_radians() / 2.0).sin();
        let half_lon = ((other.lon - self.lon).to_radians() / 2.0).sin();
        let chord = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
        2.0 * EARTH_RADIUS_M * chord.sqrt().min(1.0).asin()
    }

    /// Initial heading towards `other`, in degrees clockwise from north, `0.0..360.0`.
    /// Towards itself: 0.
    #[must_use]
    pub fn heading_deg(self, other: Self) -> f64 {
        let (lat_a, lat_b) = (self.lat.to_radians(), other.lat.to_radians());
        let east = (other.lon - self.lon).to_radians();
        let y = east.sin() * lat_b.cos();
        let x = lat_a.cos() * lat_b.sin() - lat_a.sin() * lat_b.cos() * east.cos();
        let heading = y.atan2(x).to_degrees().rem_euclid(360.0);
        // A tiny negative angle rounds up to a full turn.
        if heading >= 360.0 { 0.0 } else { heading }
    }
}

/// [`LatLon`] as it is written and read, before its check.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Degrees {
    lat: f64,
    lon: f64,
}

impl TryFrom<Degrees> for LatLon {
    type Error = RoadsError;

    fn try_from(degrees: Degrees) -> Result<Self, RoadsError> {
        Self::new(degrees.lat, degrees.lon)
    }
}

impl From<LatLon> for Degrees {
    fn from(place: LatLon) -> Self {
        Self {
            lat: place.lat,
            lon: place.lon,
        }
    }
}

/// A box of latitudes and longitudes; `south_west` is its lower corner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// The corner with the smallest latitude and longitude.
    pub south_west: LatLon,
    /// The corner with the largest latitude and longitude.
    pub north_east: LatLon,
}

impl BoundingBox {
    /// Everywhere.
    pub const WORLD: Self = Self {
        south_west: LatLon {
            lat: -MAX_LATITUDE_DEG,
            lon: -180.0,
        },
        north_east: LatLon {
            lat: MAX_LATITUDE_DEG,
            lon: 180.0,
        },
    };

    /// Whether `place` lies in the box or on its edge.
    #[must_use]
    pub fn contains(&self, place: LatLon) -> bool {
        (self.south_west.lat..=self.north_east.lat).contains(&place.lat)
            && (self.south_west.lon..=self.north_east.lon).contains(&place.lon)
    }

    /// The middle of the box.
    #[must_use]
    pub fn centre(&self) -> LatLon {
        LatLon {
            lat: f64::midpoint(self.south_west.lat, self.north_east.lat),
            lon: f64::midpoint(self.south_west.lon, self.north_east.lon),
        }
    }
}

/// A place in integers of 1e-7 degree: how the network keeps coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Point {
    pub lat_e7: i32,
    pub lon_e7: i32,
}

const E7: f64 = 1e7;

impl Point {
    /// The place of 1e-7 degrees, or `None` when that is not on Earth.
    pub fn checked(lat_e7: i64, lon_e7: i64) -> Option<Self> {
        let point = Self {
            lat_e7: i32::try_from(lat_e7).ok()?,
            lon_e7: i32::try_from(lon_e7).ok()?,
        };
        point.is_on_earth().then_some(point)
    }

    pub fn is_on_earth(self) -> bool {
        self.lat_e7.unsigned_abs() <= 900_000_000 && self.lon_e7.unsigned_abs() <= 1_800_000_000
    }
}

impl From<Point> for LatLon {
    fn from(point: Point) -> Self {
        Self {
            lat: f64::from(point.lat_e7) / E7,
            lon: f64::from(point.lon_e7) / E7,
        }
    }
}

impl From<LatLon> for Point {
    fn from(place: LatLon) -> Self {
        Self {
            lat_e7: (place.lat * E7).round() as i32,
            lon_e7: (place.lon * E7).round() as i32,
        }
    }
}

/// The place a share `0.0..=1.0` of the way from `from` to `to`, straight in degrees.
pub(crate) fn between(from: Point, to: Point, share: f64) -> LatLon {
    let (from, to) = (LatLon::from(from), LatLon::from(to));
    LatLon {
        lat: from.lat + (to.lat - from.lat) * share,
        lon: from.lon + (to.lon - from.lon) * share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    #[test]
    fn only_places_on_earth_are_places() {
        for (lat, lon) in [
            (f64::NAN, 0.0),
            (0.0, f64::NAN),
            (f64::INFINITY, 0.0),
            (0.0, f64::NEG_INFINITY),
            (90.1, 0.0),
            (0.0, -180.1),
        ] {
            assert!(LatLon::new(lat, lon).is_err(), "{lat} {lon}");
        }
        assert!(LatLon::new(-90.0, 180.0).is_ok());
    }

    #[test]
    fn distances_of_known_pairs() {
        // One degree of latitude on the mean sphere.
        let degree_m = EARTH_RADIUS_M.to_radians();
        assert!((place(0.0, 0.0).distance_m(place(1.0, 0.0)) - degree_m).abs() < 0.01);
        // A degree of longitude shrinks with the cosine of the latitude.
        let at_60 = place(60.0, 10.0).distance_m(place(60.0, 10.001));
        assert!((at_60 - degree_m * 0.001 * 0.5).abs() < 0.01);
        // Half the Earth, through the date line and the poles.
        let half_round_m = EARTH_RADIUS_M * std::f64::consts::PI;
        assert!((place(90.0, 0.0).distance_m(place(-90.0, 0.0)) - half_round_m).abs() < 1.0);
        assert!(place(10.0, 179.999).distance_m(place(10.0, -179.999)) < 300.0);
    }

    #[test]
    fn headings_of_the_compass() {
        let here = place(48.0, 7.0);
        for (lat, lon, heading) in [
            (48.1, 7.0, 0.0),
            (48.0, 7.1, 90.0),
            (47.9, 7.0, 180.0),
            (48.0, 6.9, 270.0),
        ] {
            let found = here.heading_deg(place(lat, lon));
            assert!((found - heading).abs() < 0.1, "{found} is not {heading}");
        }
        assert_eq!(here.heading_deg(here), 0.0);
    }
}
