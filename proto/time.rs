//! Wire timestamps to and from `chrono`.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use crate::Code;

/// The wire form of a moment.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: at.timestamp_subsec_nanos() as i32,
    }
}

/// The moment a wire timestamp stands for; `field` names it in the refusal.
pub fn moment(at: &Timestamp, field: &str) -> Result<DateTime<Utc>, tonic::Status> {
    u32::try_from(at.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos))
        .ok_or_else(|| Code::InvalidRequest.bad_field(field, "is not a moment in time"))
}
