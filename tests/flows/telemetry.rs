//! One trace from the REST request through gRPC to SQL, and no secret in it. The program runs in a
//! process of its own and exports to a collector in this one.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use serde_json::json;
use tokio_stream::wrappers::TcpListenerStream;

use crate::support::{Process, eventually, places::*, point};

/// Keeps every span it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let spans = request.into_inner().resource_spans.into_iter();
        let spans = spans
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// The spans of the trace that a span of this name belongs to.
    fn trace_with(&self, name: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        let traces: HashSet<_> = spans
            .iter()
            .filter(|span| span.name.contains(name))
            .map(|span| span.trace_id.clone())
            .collect();
        spans
            .iter()
            .filter(|span| traces.contains(&span.trace_id))
            .cloned()
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_from_rest_to_sql_and_no_secret_in_it() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);

    let folder = tempfile::tempdir().unwrap();
    let program = Process::serve_all_with(
        folder.path(),
        None,
        &[
            ("JITNEY_TELEMETRY__ENDPOINT", &endpoint),
            ("JITNEY_TELEMETRY__SAMPLE_RATIO", "1.0"),
        ],
    );
    let anna = program.phone("rider", "anna");
    anna.post(
        "/v1/quotes",
        json!({"pickup": point(CASINO), "dropoff": point(PORT)}),
    )
    .await
    .ok();

    let spans = eventually("the whole trace has been exported", || async {
        let spans = collector.trace_with("QuoteTrip");
        let has = |name: &str| spans.iter().any(|span| span.name.contains(name));
        let sql = |span: &Span| {
            span.attributes
                .iter()
                .any(|field| field.key == "db.operation.name")
        };
        let whole =
            has("/v1/quotes") && has("ComputeRoute") && has("QuoteFare") && spans.iter().any(sql);
        whole.then_some(spans)
    })
    .await;
    let roots = spans
        .iter()
        .filter(|span| span.parent_span_id.is_empty())
        .count();
    assert_eq!(
        roots,
        1,
        "one root: {:?}",
        spans.iter().map(|span| &span.name).collect::<Vec<_>>()
    );
    let ids: HashSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    for span in &spans {
        assert!(
            span.parent_span_id.is_empty() || ids.contains(&span.parent_span_id),
            "{} hangs loose",
            span.name
        );
    }

    let everything = format!("{:?}", collector.0.lock().unwrap());
    let token = anna.token.rsplit('.').next().unwrap();
    assert!(
        !everything.contains(token),
        "the token reached the collector"
    );
    for coordinate in ["43.7393", "7.4276", "43.735", "7.4213"] {
        assert!(
            !everything.contains(coordinate),
            "a coordinate reached the collector"
        );
    }
    drop(program);
    server.abort();
}
