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
