//! Proto3 JSON as the gateway speaks it: lowerCamelCase names, 64-bit integers and timestamps as
//! text, enums by name. Fields this version does not know are passed over, so that a newer server
//! can be driven.

use jitney_proto::descriptor_pool;
use prost::{Message, Name};
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde::de::Error as _;

/// A message as JSON.
pub(crate) fn to_json<M: Message + Name>(message: &M) -> serde_json::Result<String> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic
        .transcode_from(message)
        .map_err(serde_json::Error::custom)?;
    serde_json::to_string(&dynamic)
}

/// The message a JSON text stands for.
pub(crate) fn from_json<M: Message + Name + Default>(text: &[u8]) -> serde_json::Result<M> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let dynamic =
        DynamicMessage::deserialize_with_options(descriptor::<M>()?, &mut reader, &options)?;
    reader.end()?;
    dynamic.transcode_to().map_err(serde_json::Error::custom)
}

fn descriptor<M: Name>() -> serde_json::Result<MessageDescriptor> {
    let name = M::full_name();
    descriptor_pool()
        .get_message_by_name(&name)
        .ok_or_else(|| serde_json::Error::custom(format!("{name} is not in the API")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jitney_proto::{
        billing::v1::{FareLineKind, GetReceiptResponse},
        common::v1::Point,
        matching::v1::{
            Ping, Pings, StreamDriverRequest, StreamDriverResponse, stream_driver_request,
            stream_driver_response,
        },
        trips::v1::{TripState, WatchTripResponse, watch_trip_response},
    };

    use super::*;

    #[test]
    fn an_offer_is_read() {
        let text = br#"{"seq": "7", "offer": {
            "offerId": "o1", "tripId": "t1", "product": "economy",
            "pickup": {"latitude": 43.7, "longitude": 7.42}, "pickupDurationMs": "61000",
            "fare": {"currencyCode": "EUR", "minorUnits": "1234"},
            "expiresAt": "2026-01-02T03:04:05.678Z", "fieldOfTheFuture": [1, 2]}}"#;
        let message: StreamDriverResponse = from_json(text).unwrap();
        assert_eq!(message.seq, 7);
        let Some(stream_driver_response::Message::Offer(offer)) = message.message else {
            panic!("not an offer")
        };
        assert_eq!(
            (offer.offer_id.as_str(), offer.pickup_duration_ms),
            ("o1", 61_000)
        );
        assert_eq!(offer.fare.unwrap().minor_units, 1234);
        assert_eq!(offer.expires_at.unwrap().nanos, 678_000_000);
    }

    #[test]
    fn a_trip_update_is_read() {
        let text = br#"{"resumeToken": "r9", "trip": {"tripId": "t1", "version": "3",
            "state": "TRIP_STATE_ASSIGNED", "driver": {"driverId": "d1"}, "pin": "0427"}}"#;
        let message: WatchTripResponse = from_json(text).unwrap();
        let Some(watch_trip_response::Update::Trip(trip)) = message.update else {
            panic!("not a trip")
        };
        assert_eq!((trip.version, trip.state()), (3, TripState::Assigned));
        assert_eq!(
            (trip.driver.unwrap().driver_id.as_str(), trip.pin.as_str()),
            ("d1", "0427")
        );
    }

    #[test]
    fn a_receipt_is_read() {
        let text = br#"{"receipt": {"tripId": "t1", "lines": [
            {"kind": "FARE_LINE_KIND_BASE", "amount": {"currencyCode": "EUR", "minorUnits": "250"}}],
            "total": {"currencyCode": "EUR", "minorUnits": 250}}}"#;
        let receipt = from_json::<GetReceiptResponse>(text)
            .unwrap()
            .receipt
            .unwrap();
        assert_eq!(receipt.lines[0].kind(), FareLineKind::Base);
        assert_eq!(receipt.total.unwrap().minor_units, 250);
    }

    #[test]
    fn pings_are_written_as_phones_do() {
        let ping = Ping {
            location: Some(Point::new(43.7, 7.42)),
            ..Ping::default()
        };
        let message = StreamDriverRequest {
            message: Some(stream_driver_request::Message::Pings(Pings {
                batch: 12,
                pings: vec![ping],
            })),
        };
        let text = to_json(&message).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"pings": {"batch": "12", "pings": [
                {"location": {"latitude": 43.7, "longitude": 7.42}}]}})
        );
    }

    #[test]
    fn rubbish_is_refused() {
        for text in ["", "[]", "{\"seq\": \"x\"}", "{} {}"] {
            assert!(
                from_json::<StreamDriverResponse>(text.as_bytes()).is_err(),
                "{text:?}"
            );
        }
    }
}
