//! An OpenTelemetry collector in this process, which keeps what it is sent.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    trace::v1::Span,
};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A running collector; it ends when the last of it is dropped.
#[derive(Clone, Default)]
pub struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    /// Everything that came, printed.
    everything: Arc<Mutex<String>>,
    server: Arc<Mutex<Option<Server>>>,
}

struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Collector {
    /// Starts one on a free port, and gives its address beside it.
    pub async fn start() -> (Self, String) {
        let collector = Self::default();
        let kept = Self {
            server: Arc::default(),
            ..collector.clone()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(kept.clone()))
            .add_service(LogsServiceServer::new(kept.clone()))
            .add_service(MetricsServiceServer::new(kept))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.expect("the collector runs") });
        *collector.server.lock().unwrap() = Some(Server(server));
        (collector, format!("http://{address}"))
    }

    /// Every span so far.
    pub fn spans(&self) -> Spans {
        Spans(self.spans.lock().unwrap().clone())
    }

    /// Everything that came, printed.
    pub fn everything(&self) -> String {
        self.everything.lock().unwrap().clone()
    }

    fn keep(&self, request: &impl std::fmt::Debug) {
        let mut everything = self.everything.lock().unwrap();
        everything.push_str(&format!("{request:?}\n"));
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.keep(request.get_ref());
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        self.spans.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.keep(request.get_ref());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.keep(request.get_ref());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Spans that were exported.
#[derive(Clone)]
pub struct Spans(pub Vec<Span>);

impl Spans {
    /// Those of the trace that the first span of this name is in.
    pub fn trace_of(&self, name: &str) -> Option<Spans> {
        let trace = self.named(name).next()?.trace_id.clone();
        let spans = self.0.iter().filter(|span| span.trace_id == trace);
        Some(Spans(spans.cloned().collect()))
    }

    /// Those of a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Span> {
        self.0.iter().filter(move |span| span.name == name)
    }

    /// The one of a name, if it came.
    pub fn find(&self, name: &str) -> Option<&Span> {
        self.named(name).next()
    }

    /// The names of the spans that one is in, from its parent to the root, as far as they came. The two
    /// sides of a call have one name, and are there once.
    pub fn above(&self, span: &Span) -> Vec<String> {
        let by_id: HashMap<_, _> = self.0.iter().map(|span| (&span.span_id, span)).collect();
        let mut names = Vec::new();
        let mut below = span;
        while let Some(parent) = by_id.get(&below.parent_span_id) {
            if parent.name != below.name {
                names.push(parent.name.clone());
            }
            below = parent;
        }
        names
    }

    /// Names of the spans that one points at.
    pub fn linked(&self, span: &Span) -> Vec<String> {
        let ids: HashSet<_> = span.links.iter().map(|link| &link.span_id).collect();
        let linked = self.0.iter().filter(|other| ids.contains(&other.span_id));
        linked.map(|span| span.name.clone()).collect()
    }

    /// Names, for messages of tests.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|span| span.name.as_str()).collect()
    }

    /// How many have no parent.
    pub fn roots(&self) -> usize {
        let is_root = |span: &&Span| span.parent_span_id.is_empty();
        self.0.iter().filter(is_root).count()
    }

    /// Asserts that every parent that a span names is there.
    pub fn assert_whole(&self) {
        let ids: HashSet<_> = self.0.iter().map(|span| &span.span_id).collect();
        for span in &self.0 {
            let has_parent = span.parent_span_id.is_empty() || ids.contains(&span.parent_span_id);
            assert!(has_parent, "{} hangs loose", span.name);
        }
    }
}
