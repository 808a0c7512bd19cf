//! Spans of HTTP requests from outside, for the gateway.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Instant,
};

use axum::body::Body;
use bytes::Bytes;
use http::{
    HeaderMap, Request, Response,
    header::{AUTHORIZATION, COOKIE, Entry, SEC_WEBSOCKET_PROTOCOL},
};
use http_body::{Frame, SizeHint};
use opentelemetry::{
    KeyValue,
    metrics::{Histogram, UpDownCounter},
    trace::TraceContextExt,
};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty};

use crate::{rpc, telemetry::meters};

/// Gives every request a span that lasts until the last byte of its answer, an event stream's too, and
/// that belongs to the caller's trace if the request names one. Method, route and status are recorded;
/// the path (share links are secrets), the query (where coordinates are), the headers and the bodies
/// are not. Headers that tokens may be in are marked, so that no layer further in prints them.
///
/// The span is named with [`name_route`], once the route is known.
pub fn http_span_layer() -> HttpSpanLayer {
    HttpSpanLayer(())
}

/// Names the current request's span by its route, for example `/v1/trips/{trip_id}`. To be called from
/// the request's handler, outside any span of its own; what is said last counts.
pub fn name_route(method: &http::Method, route: &str) {
    // Fails only outside a request of ours.
    let _ = ROUTE.try_with(|named| route.clone_into(&mut named.borrow_mut()));
    Span::current().record("http.route", route);
    // The span has begun by now; its name is OpenTelemetry's to change.
    let context = opentelemetry::Context::current();
    let span = context.span();
    if span.is_recording() {
        span.update_name(format!("{method} {route}"));
    }
}

/// See [`http_span_layer`].
#[derive(Clone, Debug)]
pub struct HttpSpanLayer(());

impl<S> Layer<S> for HttpSpanLayer {
    type Service = HttpSpan<S>;

    fn layer(&self, inner: S) -> HttpSpan<S> {
        HttpSpan(inner)
    }
}

/// See [`http_span_layer`].
#[derive(Clone, Debug)]
pub struct HttpSpan<S>(S);

impl<S> Service<Request<Body>> for HttpSpan<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        hide_secrets(request.headers_mut());
        let method = request.method().clone();
        let mut exchange = Exchange::begin(&method);
        let span = tracing::info_span!(
            "http.request",
            otel.name = %method,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = %method,
            http.route = Empty,
            http.response.status_code = Empty,
        );
        rpc::adopt(&span, request.headers());
        let handling = self.0.call(request);
        Box::pin(async move {
            let handling = async move {
                let response = handling.await;
                (response, ROUTE.with(RefCell::take))
            };
            let handling = ROUTE.scope(RefCell::default(), handling);
            let (response, route) = handling.instrument(span.clone()).await;
            let response = response?;
            let status = response.status();
            exchange.status = status.as_u16();
            exchange.route = route;
            span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                span.record("otel.status_code", "ERROR");
            }
            Ok(response.map(|inner| {
                Body::new(SpannedBody {
                    inner,
                    span,
                    _exchange: exchange,
                })
            }))
        })
    }
}

tokio::task_local! {
    /// The route of the request that is being handled, once it is known.
    static ROUTE: RefCell<String>;
}

fn hide_secrets(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL] {
        if let Entry::Occupied(mut values) = headers.entry(name) {
            for value in values.iter_mut() {
                value.set_sensitive(true);
            }
        }
    }
}

/// How the status of a request is told whose asker went away before the answer.
const ASKER_GONE: u16 = 499;
/// How a method is told that is none of HTTP's own: anybody could make one up.
const OTHER_METHOD: &str = "_OTHER";

static DURATIONS: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    meters::seconds(
        "http.server.request.duration",
        "How long a request took, to the last byte of its answer",
    )
});
static ACTIVE: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    meters::meter()
        .i64_up_down_counter("http.server.active_requests")
        .with_unit("{request}")
        .with_description("Requests under way, streams among them")
        .build()
});

/// A request under way; measured when it ends.
struct Exchange {
    began: Instant,
    method: &'static str,
    route: String,
    status: u16,
}

impl Exchange {
    fn begin(method: &http::Method) -> Self {
        ACTIVE.add(1, &[]);
        Self {
            began: Instant::now(),
            method: ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
                .into_iter()
                .find(|known| *known == method.as_str())
                .unwrap_or(OTHER_METHOD),
            route: String::new(),
            status: ASKER_GONE,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        ACTIVE.add(-1, &[]);
        let labels = [
            KeyValue::new("http.request.method", self.method),
            KeyValue::new("http.route", std::mem::take(&mut self.route)),
            KeyValue::new("http.response.status_code", i64::from(self.status)),
        ];
        DURATIONS.record(self.began.elapsed().as_secs_f64(), &labels);
    }
}

/// A body that is read inside its request's span.
struct SpannedBody {
    inner: Body,
    span: Span,
    /// Measured to the last byte.
    _exchange: Exchange,
}

impl http_body::Body for SpannedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        Pin::new(&mut this.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
