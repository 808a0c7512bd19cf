//! Wire points are checked here before anything looks at them.

use crate::{Code, common::v1::Point};

impl Point {
    /// A point.
    pub fn new(latitude: f64, longitude: f64) -> Self {
        Self {
            latitude,
            longitude,
        }
    }

    /// The way to another point as the crow flies, metres.
    pub fn distance_m(self, other: Self) -> f64 {
        distance_m(
            (self.latitude, self.longitude),
            (other.latitude, other.longitude),
        )
    }
}

/// Metres of one degree of a great circle of the earth.
pub const DEGREE_M: f64 = 111_195.0;

/// The way from one place to another as the crow flies, metres, by the haversine formula; places are
/// latitude and longitude in degrees.
pub fn distance_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let along = from.0.to_radians().cos() * to.0.to_radians().cos();
    let chord = half(from.0, to.0) + along * half(from.1, to.1);
    2.0 * chord.sqrt().min(1.0).asin().to_degrees() * DEGREE_M
}

/// The latitude and longitude of a point that must be there and on the earth, in degrees; `field`
/// names it in the refusal.
pub fn checked(point: Option<&Point>, field: &str) -> Result<(f64, f64), tonic::Status> {
    let point = point.ok_or_else(|| Code::InvalidRequest.bad_field(field, "is required"))?;
    // Written so that NaN fails.
    if !(-90.0..=90.0).contains(&point.latitude) {
        return Err(Code::InvalidRequest.bad_field(
            &format!("{field}.latitude"),
            "is not between -90 and 90 degrees",
        ));
    }
    if !(-180.0..=180.0).contains(&point.longitude) {
        return Err(Code::InvalidRequest.bad_field(
            &format!("{field}.longitude"),
            "is not between -180 and 180 degrees",
        ));
    }
    Ok((point.latitude, point.longitude))
}
