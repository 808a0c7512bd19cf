//! What serving and calling have in common: the span of an rpc, which lasts as long as its answer's
//! last byte, and the trace context that travels in its headers.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use opentelemetry::{
    KeyValue, StringValue,
    metrics::Histogram,
    propagation::{Extractor, Injector, TextMapPropagator},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::{Code, Status, body::Body};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::meters;

/// Which side of the rpc a span is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One rpc, from its first byte to its last: its span, and how long it took.
pub(crate) struct Call {
    pub(crate) span: Span,
    side: Side,
    began: Instant,
    /// What the duration is filed under; `None` for paths that anybody could make up.
    names: Option<&'static Names>,
}

/// How an rpc of the API is called where it is measured.
struct Names {
    service: StringValue,
    method: StringValue,
}

/// Of every rpc of the API, by its path without the first slash. They are told of every call: made once.
static NAMES: LazyLock<HashMap<String, Names>> = LazyLock::new(|| {
    let shared = |name: &str| StringValue::from(Arc::<str>::from(name));
    let mut names = HashMap::new();
    for service in jitney_proto::descriptor_pool().services() {
        for method in service.methods() {
            let path = format!("{}/{}", service.full_name(), method.name());
            let named = Names {
                service: shared(service.full_name()),
                method: shared(method.name()),
            };
            names.insert(path, named);
        }
    }
    names
});

impl Call {
    /// Begins. Nothing of the request is recorded but its path, and only rpcs of the API are measured.
    pub(crate) fn begin(side: Side, path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (service, method) = path.split_once('/').unwrap_or_default();
        let span = match side {
            Side::Server => tracing::info_span!(
                "rpc.server",
                otel.name = path,
                otel.kind = "server",
                otel.status_code = Empty,
                rpc.system = "grpc",
                rpc.service = service,
                rpc.method = method,
                rpc.grpc.status_code = Empty,
                caller.role = Empty,
            ),
            Side::Client => tracing::info_span!(
                "rpc.client",
                otel.name = path,
                otel.kind = "client",
                otel.status_code = Empty,
                rpc.system = "grpc",
                rpc.service = service,
                rpc.method = method,
                rpc.grpc.status_code = Empty,
            ),
        };
        Self {
            span,
            side,
            began: Instant::now(),
            names: NAMES.get(path),
        }
    }

    /// Ends with the response, when that is known to fail from its headers alone, and otherwise with
    /// the response's body, whose trailers will tell.
    pub(crate) fn follow<B>(self, response: http::Response<B>) -> http::Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes, Error = Status> + Send + Unpin + 'static,
    {
        if let Some(code) = code(response.headers()) {
            self.end(code);
            return response.map(Body::new);
        }
        response.map(|inner| {
            Body::new(FollowedBody {
                inner,
                call: self,
                ended: false,
            })
        })
    }

    fn end(&self, code: Code) {
        self.span.record("rpc.grpc.status_code", code as i32);
        let failed = match self.side {
            Side::Client => code != Code::Ok,
            // What the caller did wrong is not the server's failure.
            Side::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        };
        if failed {
            self.span.record("otel.status_code", "ERROR");
        }
        let Some(Names { service, method }) = self.names else {
            return;
        };
        let labels = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.clone()),
            KeyValue::new("rpc.method", method.clone()),
            KeyValue::new("rpc.grpc.status_code", i64::from(code as i32)),
        ];
        let durations = match self.side {
            Side::Server => &SERVED,
            Side::Client => &CALLED,
        };
        durations.record(self.began.elapsed().as_secs_f64(), &labels);
    }
}

static SERVED: LazyLock<Histogram<f64>> =
    LazyLock::new(|| meters::seconds("rpc.server.call.duration", "How long answering an rpc took"));
static CALLED: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    meters::seconds(
        "rpc.client.call.duration",
        "How long an rpc took its caller",
    )
});

/// How a call ended, where these headers or trailers say it. Of the rest of the status nothing is read.
fn code(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get(Status::GRPC_STATUS)?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// Makes the span a child of the one that the headers name, if they do.
pub(crate) fn adopt(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&Headers(headers));
        // Fails only where nobody listens, and then there is nothing to be a child of.
        let _ = span.set_parent(context);
    }
}

/// Writes the span's trace context into the headers of a request.
pub(crate) fn inject(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeadersMut(headers));
}

/// A response body that keeps its rpc's span open until it ends, and is read inside it.
struct FollowedBody<B> {
    inner: B,
    call: Call,
    ended: bool,
}

impl<B> FollowedBody<B> {
    fn end(&mut self, code: Code) {
        if !self.ended {
            self.ended = true;
            self.call.end(code);
        }
    }
}

impl<B> http_body::Body for FollowedBody<B>
where
    B: http_body::Body<Data = bytes::Bytes, Error = Status> + Unpin,
{
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = &mut *self;
        let entered = this.call.span.enter();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        drop(entered);
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code) {
                    this.end(code);
                }
            }
            Some(Err(status)) => this.end(status.code()),
            None => this.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for FollowedBody<B> {
    fn drop(&mut self) {
        // Nobody waited for the trailers: the reader went away.
        self.end(Code::Cancelled);
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(key.as_bytes()),
            HeaderValue::try_from(value),
        ) {
            self.0.insert(name, value);
        }
    }
}
