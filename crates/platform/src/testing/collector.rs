//! An OpenTelemetry collector in this process, for whoever wants to see what is exported.

use std::{fmt, sync::Arc};

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
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What came in one export.
#[derive(Debug)]
pub enum Exported {
    /// Spans, with all around them.
    Traces(ExportTraceServiceRequest),
    /// Log lines.
    Logs(ExportLogsServiceRequest),
    /// What was measured.
    Metrics(ExportMetricsServiceRequest),
}

impl Exported {
    /// The spans among it.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        let traces = match self {
            Self::Traces(traces) => traces.resource_spans.as_slice(),
            Self::Logs(_) | Self::Metrics(_) => &[],
        };
        let scopes = traces.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans)
    }
}

/// A running collector; it ends when this is dropped.
#[derive(Debug)]
pub struct Collector {
    /// Where it is, as `telemetry.endpoint` wants it.
    pub endpoint: String,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a free port, which hands over whatever comes.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(taken: impl Fn(Exported) + Send + Sync + 'static) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let sink = Sink(Arc::new(taken));
        let serving = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(sink.clone()))
            .add_service(LogsServiceServer::new(sink.clone()))
            .add_service(MetricsServiceServer::new(sink))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the collector ended");
            }
        });
        Ok(Self { endpoint, server })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct Sink(Arc<dyn Fn(Exported) + Send + Sync>);

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0(Exported::Traces(request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Sink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.0(Exported::Logs(request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0(Exported::Metrics(request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}
