//! Takes in what happened to trips.

use std::{collections::HashSet, sync::Arc};

use jitney_platform::{
    db,
    telemetry::{TraceContext, link_both},
};
use jitney_proto::{matching::v1 as wire, trips::v1::TripEvent};
use tonic::Status;
use tracing::Span;

use crate::{error::Refusal, news::News, service::Service};

/// Events of one call, at most.
const EVENTS_MAX: usize = 1_000;

/// What a later event of a trip is told whose earlier one was refused.
const BEHIND: &str = "an earlier event of the trip was refused";

/// A span for each event of a ride that is exported, in the ride's trace; the call is about many rides.
fn told(events: &[TripEvent]) -> Vec<Span> {
    let call = Span::current();
    let begin = |event: &TripEvent| {
        let happened = TraceContext::sampled(&event.traceparent)?;
        let kind = event.kind().as_str_name();
        let span = tracing::info_span!(
            parent: None,
            "trip_event",
            otel.name = format!("apply {}", kind.trim_start_matches("TRIP_EVENT_KIND_")),
            otel.kind = "consumer",
        );
        happened.adopt(&span);
        link_both(&span, &call);
        Some(span)
    };
    events.iter().filter_map(begin).collect()
}

/// Takes each event or refuses it.
pub(super) async fn apply(
    service: &Arc<Service>,
    request: wire::ApplyTripEventsRequest,
) -> Result<wire::ApplyTripEventsResponse, Status> {
    let events = request.events;
    if events.len() > EVENTS_MAX {
        let problem = format!("are {}, more than {EVENTS_MAX}", events.len());
        return Err(Refusal::bad_field("events", problem).into());
    }
    let mut outcomes = vec![wire::TripEventOutcome::default(); events.len()];
    let mut refused: HashSet<&str> = HashSet::new();
    let (mut places, mut news) = (Vec::new(), Vec::new());
    for (place, event) in events.iter().enumerate() {
        if refused.contains(event.trip_id.as_str()) {
            outcomes[place].problem = BEHIND.to_owned();
            continue;
        }
        match News::read(Some(event), &service.catalogue, service.clock.now()) {
            Ok(read) => {
                places.push(place);
                news.push(read);
            }
            Err(status) => {
                outcomes[place].problem = status.message().to_owned();
                refused.insert(&event.trip_id);
            }
        }
    }
    let _told = told(&events);
    match service.hear(news.clone()).await {
        Ok(applied) => {
            for (place, applied) in places.into_iter().zip(applied) {
                outcomes[place].applied = applied;
            }
        }
        Err(error) if db::is_unavailable(&error) => return Err(Refusal::Database(error).into()),
        // The database has refused one of them, and with it all: which one, each by itself tells.
        Err(error) => {
            tracing::warn!(%error, events = news.len(), "trip events are applied one by one");
            let mut refused = HashSet::new();
            for (place, news) in places.into_iter().zip(news) {
                let trip = news.trip;
                if refused.contains(&trip) {
                    outcomes[place].problem = BEHIND.to_owned();
                    continue;
                }
                match service.hear(vec![news]).await {
                    Ok(applied) => outcomes[place].applied = applied == [true],
                    Err(error) => {
                        refused.insert(trip);
                        outcomes[place].problem =
                            Status::from(Refusal::Database(error)).message().to_owned();
                    }
                }
            }
        }
    }
    Ok(wire::ApplyTripEventsResponse { outcomes })
}
