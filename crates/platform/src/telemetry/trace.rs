//! Trace contexts that outlive the call they came in: beside an event in the outbox, in a search that
//! goes on after the request, in a batch that does the work of many. What was caused by one of them is
//! its child ([`TraceContext::adopt`]); what came of several, or merely belongs together, is linked
//! ([`TraceContext::link`]).

use std::collections::HashMap;

use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header's name, and the column's.
const TRACEPARENT: &str = "traceparent";

/// Which span of which trace something happened in.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// That of the code that asks; `None` outside every span.
    pub fn current() -> Option<Self> {
        Self::valid(Context::current().span().span_context())
    }

    /// That of a span, which begins with this if it has not yet.
    pub fn of(span: &Span) -> Option<Self> {
        Self::valid(span.context().span().span_context())
    }

    fn valid(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| Self(context.clone()))
    }

    /// From the form of W3C's header `traceparent`; `None` for what is not one.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let headers = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        Self::valid(context.span().span_context())
    }

    /// As [`TraceContext::parse`], of a trace that is exported only; costs next to nothing for others.
    pub fn sampled(traceparent: &str) -> Option<Self> {
        traceparent
            .ends_with("-01")
            .then(|| Self::parse(traceparent))?
    }

    /// As W3C's header `traceparent`.
    pub fn traceparent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            self.0.trace_id(),
            self.0.span_id(),
            self.0.trace_flags().to_u8() & 1
        )
    }

    /// Whether its trace is exported.
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// Whether another is of the same trace.
    pub fn is_in_trace_of(&self, other: &TraceContext) -> bool {
        self.0.trace_id() == other.0.trace_id()
    }

    /// Makes a span that has not begun a child of this one.
    pub fn adopt(&self, span: &Span) {
        // Fails only where nobody listens, and then there is nothing to be a child of.
        let _ = span.set_parent(Context::new().with_remote_span_context(self.0.clone()));
    }

    /// Has a span point here, if there will be anything to see.
    pub fn link(&self, span: &Span) {
        if self.is_sampled() {
            span.add_link(self.0.clone());
        }
    }
}

/// The trace context of the code that asks, to be kept beside what it writes down.
pub fn traceparent() -> Option<String> {
    TraceContext::current().map(|context| context.traceparent())
}

/// Has two spans point at each other, each if the other is exported.
pub fn link_both(one: &Span, other: &Span) {
    if let (Some(from), Some(to)) = (TraceContext::of(one), TraceContext::of(other)) {
        to.link(one);
        from.link(other);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_comes_back_as_it_was() {
        let context = TraceContext::parse(SAMPLED).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.traceparent(), SAMPLED);
        let unsampled = SAMPLED.replace("-01", "-00");
        let other = TraceContext::parse(&unsampled).unwrap();
        assert!(!other.is_sampled() && other.is_in_trace_of(&context));
        assert_eq!(other.traceparent(), unsampled);
    }

    #[test]
    fn what_is_no_header_is_nothing() {
        let zeros = SAMPLED.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        for text in ["", "00", "garbage", "00-xyz-b7ad6b7169203331-01", &zeros] {
            assert_eq!(TraceContext::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn nobody_listens_and_nothing_is_kept() {
        assert_eq!(traceparent(), None);
        let span = tracing::info_span!("nobody listens");
        assert_eq!(TraceContext::of(&span), None);
    }

    #[test]
    fn spans_continue_and_link() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::Registry::default().with(layer);
        let kept = TraceContext::parse(SAMPLED).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let batch = tracing::info_span!("batch");
            let child = tracing::info_span!("child");
            kept.adopt(&child);
            link_both(&child, &batch);
            let header = child.in_scope(traceparent).unwrap();
            let inside = TraceContext::parse(&header).unwrap();
            assert!(inside.is_in_trace_of(&kept) && inside != kept);
        });
        let spans = exporter.get_finished_spans().unwrap();
        let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let (batch, child) = (find("batch"), find("child"));
        assert_eq!(child.span_context.trace_id(), kept.0.trace_id());
        assert_eq!(child.parent_span_id, kept.0.span_id());
        assert_ne!(batch.span_context.trace_id(), kept.0.trace_id());
        assert_eq!(child.links.links[0].span_context, batch.span_context);
        assert_eq!(batch.links.links[0].span_context, child.span_context);
    }
}
