//! What happens to a charge by itself, or is asked for long after, belongs to the trace of its ride.

use std::time::Duration;

use jitney_billing::{Config, provider::Kind};
use jitney_platform::{
    auth::Role,
    telemetry::{TraceContext, traceparent},
};
use jitney_proto::billing::v1::{ChargebackState as State, RecordChargebackRequest};
use opentelemetry::trace::{SpanId, TraceId, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Instrument as _, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use uuid::Uuid;

use crate::{
    provider::{Bank, Fault},
    support::{Held, Sandbox, euro},
};

/// Keeps every span of this test's thread.
struct Traces {
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _default: DefaultGuard,
}

impl Traces {
    fn keep() -> Traces {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::Registry::default().with(layer);
        Traces {
            exporter,
            _default: tracing::subscriber::set_default(subscriber),
            _provider: provider,
        }
    }

    fn named(&self, name: &str) -> Vec<SpanData> {
        let spans = self.exporter.get_finished_spans().unwrap();
        spans.into_iter().filter(|span| span.name == name).collect()
    }
}

/// Trace and span of a context in W3C's form.
fn ids(traceparent: &str) -> (TraceId, SpanId) {
    let parts: Vec<_> = traceparent.split('-').collect();
    (
        TraceId::from_hex(parts[1]).unwrap(),
        SpanId::from_hex(parts[2]).unwrap(),
    )
}

/// A trace of its own, in which something is asked.
async fn in_trace<T>(name: &'static str, asked: impl Future<Output = T>) -> (T, TraceId) {
    // A span that another test opened first, at the very moment at which these traces began, is known as one
    // that nobody wants: asked again, it is wanted.
    tracing::callsite::rebuild_interest_cache();
    let span = tracing::info_span!(parent: None, "asked", otel.name = name);
    let trace = span.in_scope(traceparent).unwrap();
    (asked.instrument(span).await, ids(&trace).0)
}

/// The kinds of a charge's events and the traces that they are told in, by version.
async fn told(sandbox: &Sandbox, held: &Held) -> Vec<(String, Option<(TraceId, SpanId)>)> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT type, traceparent FROM outbox WHERE aggregateid = $1 ORDER BY version",
    )
    .bind(held.trip.parse::<Uuid>().unwrap())
    .fetch_all(sandbox.pool())
    .await
    .unwrap();
    rows.into_iter()
        .map(|(kind, traceparent)| (kind, traceparent.as_deref().map(ids)))
        .collect()
}

/// The kinds of a charge's events, each of which is told in this trace.
async fn told_in(sandbox: &Sandbox, held: &Held, trace: TraceId) -> Vec<String> {
    let told = told(sandbox, held).await;
    let all = told.into_iter().map(|(kind, of)| {
        assert_eq!(of.map(|(of, _)| of), Some(trace), "{kind}");
        kind
    });
    all.collect()
}

fn links(span: &SpanData) -> Vec<(TraceId, SpanId)> {
    let links = span.links.links.iter();
    links
        .map(|link| (link.span_context.trace_id(), link.span_context.span_id()))
        .collect()
}

#[tokio::test]
async fn holds_that_lapse_are_told_in_the_traces_of_their_rides() {
    let traces = Traces::keep();
    let config = Config {
        hold_validity: Duration::from_millis(1),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let (first, first_trace) = in_trace("ride", sandbox.held("anna")).await;
    let (second, second_trace) = in_trace("ride", sandbox.held("bob")).await;
    // In the trace of a third, of which none of this is a consequence.
    let store = sandbox.billing.store();
    let (released, third) = in_trace("another", store.lapse(None)).await;
    assert_eq!(released.unwrap(), 2);
    let mut held_in = Vec::new();
    for (held, trace) in [(&first, first_trace), (&second, second_trace)] {
        let kinds = told_in(&sandbox, held, trace).await;
        assert_eq!(kinds, ["HELD", "LAPSED"]);
        held_in.push(told(&sandbox, held).await[0].1.unwrap());
    }
    // The statement that released both is in neither, and points at each.
    let statement = traces.named("lapse_holds").pop().unwrap();
    assert_eq!(statement.span_context.trace_id(), third);
    let mut linked = links(&statement);
    linked.sort_by_key(|(trace, _)| trace.to_bytes());
    held_in.sort_by_key(|(trace, _)| trace.to_bytes());
    assert_eq!(linked, held_in);
}

#[tokio::test]
async fn what_the_provider_does_is_part_of_the_ride() {
    let traces = Traces::keep();
    let bank = Bank::new().await;
    let sandbox = &bank.sandbox;
    let (failed, trace) = in_trace("ride", async {
        let held = sandbox.held("anna").await;
        bank.teller.round().await.unwrap();
        bank.capture(&held).await;
        held
    })
    .await;
    bank.fault(Kind::Capture, Fault::Before);
    bank.teller.round().await.unwrap();
    bank.fault(Kind::Capture, Fault::Declined);
    bank.settle().await;
    let kinds = told_in(sandbox, &failed, trace).await;
    assert_eq!(
        kinds,
        ["HELD", "CAPTURED", "PAYMENT_UNKNOWN", "PAYMENT_FAILED"]
    );
    // Told in the spans that asked the provider, which come of the hold.
    let held_in = told(sandbox, &failed).await[0].1.unwrap().1;
    let asked = traces.named("provider CAPTURE");
    assert!(asked.len() >= 2, "{}", asked.len());
    for span in &asked {
        assert_eq!(span.span_context.trace_id(), trace);
        assert_eq!(span.parent_span_id, held_in);
    }
    for (kind, told) in told(sandbox, &failed).await.into_iter().skip(2) {
        let is_one = asked
            .iter()
            .any(|span| Some(span.span_context.span_id()) == told.map(|of| of.1));
        assert!(is_one, "{kind}");
    }

    // A hold that it declines is released by nobody who was asked to.
    bank.fault(Kind::Authorize, Fault::Declined);
    let (lost, trace) = in_trace("ride", sandbox.held("anna")).await;
    bank.settle().await;
    assert_eq!(told_in(sandbox, &lost, trace).await, ["HELD", "VOIDED"]);
}

#[tokio::test]
async fn a_chargeback_is_told_in_the_ride_and_points_at_who_told_us() {
    let traces = Traces::keep();
    let sandbox = Sandbox::new().await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    let dispute = |held: &Held, state: State| RecordChargebackRequest {
        trip_id: held.trip.clone(),
        dispute_id: format!("dp_{}", held.trip),
        amount: Some(euro(100)),
        state: state.into(),
    };
    let (ride, trace) = in_trace("ride", sandbox.captured("anna")).await;
    let (open, asked_in) =
        in_trace("olga", olga.record_chargeback(dispute(&ride, State::Open))).await;
    open.unwrap();
    let (won, _) = in_trace("olga", olga.record_chargeback(dispute(&ride, State::Won))).await;
    won.unwrap();
    let kinds = told_in(&sandbox, &ride, trace).await;
    assert_eq!(
        kinds,
        ["HELD", "CAPTURED", "CHARGED_BACK", "CHARGEBACK_WON"]
    );
    let change = traces.named("chargeback OPEN").pop().unwrap();
    let own = (trace, change.span_context.span_id());
    assert_eq!(told(&sandbox, &ride).await[2].1, Some(own));
    assert_eq!(links(&change).len(), 1);
    let (asked_trace, asked_span) = links(&change)[0];
    assert_eq!(asked_trace, asked_in);
    let spans = traces.exporter.get_finished_spans().unwrap();
    let asked = spans
        .iter()
        .find(|span| span.span_context.span_id() == asked_span);
    assert_eq!(
        links(asked.unwrap()),
        [own],
        "{:?}",
        asked.map(|span| &span.name)
    );

    // Of a ride whose trace nobody keeps, it is told in the one in which it was asked for.
    let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let quiet = tracing::info_span!(parent: None, "ride");
    TraceContext::parse(unsampled).unwrap().adopt(&quiet);
    let quiet = sandbox.captured("anna").instrument(quiet).await;
    let (open, asked_in) =
        in_trace("olga", olga.record_chargeback(dispute(&quiet, State::Open))).await;
    open.unwrap();
    let told = told(&sandbox, &quiet).await;
    assert_eq!(told[0].1.unwrap().0, ids(unsampled).0);
    assert_eq!(
        (told[2].0.as_str(), told[2].1.unwrap().0),
        ("CHARGED_BACK", asked_in)
    );
}
