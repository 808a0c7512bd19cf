//! What other services are told of a change. Matching and billing hear every event, at least once and
//! in the trip's order; see [`crate::deliver`].

use jitney_proto::{
    ids::EventId,
    time::timestamp,
    trips::v1::{TripEvent, TripEventKind},
};

use crate::{state::Change, trip::Beside};

/// The `aggregatetype` of every row this service puts into its outbox.
pub const AGGREGATE: &str = "trip";

/// The event of a change; an assignment may have come `beside` another trip of the driver's.
pub fn event(event_id: EventId, change: &Change, beside: Option<Beside>) -> TripEvent {
    let trip = &change.trip;
    let stops_left = trip.stops.iter().filter(|stop| stop.arrived_at.is_none());
    TripEvent {
        event_id: event_id.into(),
        trip_id: trip.trip_id.into(),
        trip_version: trip.version,
        kind: change.event.into(),
        state: trip.state.wire().into(),
        occurred_at: Some(timestamp(trip.updated_at)),
        rider_id: trip.rider_id.to_string(),
        driver_id: change
            .driver_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        offer_id: change
            .offer_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        product: trip.product.to_string(),
        pickup: Some(trip.pickup.into()),
        dropoff: Some(trip.dropoff.into()),
        fare: Some(trip.fare.into()),
        seats: trip.seats,
        beside_trip_id: beside
            .map(|beside| beside.trip_id.into())
            .unwrap_or_default(),
        shared: beside.is_some_and(|beside| beside.shared),
        fee: trip.fee.wire().into(),
        fare_quote_id: trip.price_quote_id.clone().unwrap_or_default(),
        // Each telling puts it in from the outbox.
        traceparent: String::new(),
        stops_left: u32::try_from(stops_left.count()).unwrap_or(u32::MAX),
    }
}

/// The `type` of an event's outbox row, for example `ASSIGNED`.
pub fn name(kind: TripEventKind) -> &'static str {
    kind.as_str_name().trim_start_matches("TRIP_EVENT_KIND_")
}
