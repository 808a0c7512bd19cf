//! Spans of HTTP requests from outside, for the gateway.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body::{Frame, SizeHint};
use opentelemetry::trace::TraceContextExt;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty};

use crate::rpc;

/// Gives every request a span that lasts until the last byte of its answer, an event stream's too, and
/// that belongs to the caller's trace if the request names one. Method, route and status are recorded;
/// the path (share links are secrets), the query (where coordinates are), the headers and the bodies
/// are not. The `authorization` header is marked, so that no layer further in prints it.
///
/// Use it with [`axum::Router::layer`]. The span is named by the route that axum matched; a route that
/// is matched later names it with [`name_route`].
pub fn http_span_layer() -> HttpSpanLayer {
    HttpSpanLayer(())
}

/// Names the current request's span by its route, for example `/v1/trips/{trip_id}`. To be called from
/// the request's handler, outside any span of its own.
pub fn name_route(method: &http::Method, route: &str) {
    Span::current().record("http.route", route);
    // The span has begun by now; its name is OpenTelemetry's to change.
    opentelemetry::Context::current()
        .span()
        .update_name(format!("{method} {route}"));
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
        for (name, value) in request.headers_mut() {
            if name == AUTHORIZATION {
                value.set_sensitive(true);
            }
        }
        let method = request.method().clone();
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
        if let Some(route) = request.extensions().get::<MatchedPath>() {
            span.record("otel.name", format!("{method} {}", route.as_str()));
            span.record("http.route", route.as_str());
        }
        let handling = self.0.call(request);
        Box::pin(async move {
            let response = handling.instrument(span.clone()).await?;
            let status = response.status();
            span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                span.record("otel.status_code", "ERROR");
            }
            Ok(response.map(|inner| Body::new(SpannedBody { inner, span })))
        })
    }
}

/// A body that is read inside its request's span.
struct SpannedBody {
    inner: Body,
    span: Span,
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
