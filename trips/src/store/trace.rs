//! In which trace a change is told. A ride has one trace, that of the request for it; whoever moves the
//! ride on comes with a trace of their own. The change gets a span in the ride's trace, linked both ways
//! with the one it was asked in, and what comes of the change elsewhere goes on from there.

use jitney_platform::telemetry::{TraceContext, link_both};
use tracing::Span;

use crate::{events, state::Change};

/// A change's span, and what is kept beside its event.
pub(super) struct Told {
    /// To be kept open until the change is written; none where the ride's trace is not exported.
    pub(super) span: Span,
    /// The context that the event is told in.
    pub(super) traceparent: Option<String>,
}

/// Begins the span of a change that was asked for in another.
pub(super) fn begin(change: &Change, asked_in: &Span) -> Told {
    let trip = &change.trip;
    let here = TraceContext::of(asked_in);
    let Some(ride) = trip.traceparent.as_deref().and_then(TraceContext::sampled) else {
        return Told {
            span: Span::none(),
            traceparent: here
                .map(|here| here.traceparent())
                .or_else(|| trip.traceparent.clone()),
        };
    };
    let span = tracing::info_span!(
        parent: asked_in,
        "trip.transition",
        otel.name = format!("trip {}", events::name(change.event)),
        trip.id = %trip.trip_id,
        trip.version = trip.version,
    );
    if !here.is_some_and(|here| here.is_in_trace_of(&ride)) {
        ride.adopt(&span);
        link_both(asked_in, &span);
    }
    let traceparent = TraceContext::of(&span).unwrap_or(ride).traceparent();
    Told {
        span,
        traceparent: Some(traceparent),
    }
}
