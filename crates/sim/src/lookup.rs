//! Looking up trips by where they stand.

use jitney_proto::trips::v1::{ListTripsResponse, Trip};

use crate::{
    api::{Badge, Call},
    refusal::CallError,
};

/// The caller's trips that have not ended; for an operator everybody's.
pub(crate) async fn live_trips(badge: &Badge) -> Result<Vec<Trip>, CallError> {
    const LIVE: &str = "states=TRIP_STATE_SEARCHING&states=TRIP_STATE_OFFERED\
        &states=TRIP_STATE_ASSIGNED&states=TRIP_STATE_DRIVER_ARRIVED&states=TRIP_STATE_IN_PROGRESS";
    let mut trips = Vec::new();
    let mut page_token = String::new();
    loop {
        let mut path = format!("/v1/trips?pageSize=100&{LIVE}");
        if !page_token.is_empty() {
            path += &format!("&pageToken={}", escaped(&page_token));
        }
        let page: ListTripsResponse = badge.call(Call::get("GET /v1/trips", path)).await?;
        trips.extend(page.trips);
        if page.next_page_token.is_empty() {
            return Ok(trips);
        }
        page_token = page.next_page_token;
    }
}

/// A text for a URL's query.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escaped("a-B_9.~"), "a-B_9.~");
        assert_eq!(escaped("a=&+ ü"), "a%3D%26%2B%20%C3%BC");
    }
}
