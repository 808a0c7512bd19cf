//! What stands around every path, whoever answers it: the request's id and the line in the log, the
//! size of the head, headers that make browsers careful, which web pages may call, compression, and
//! what becomes of a panic.

use std::{
    convert::Infallible,
    future::ready,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use anyhow::{Result, ensure};
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response,
        header::{
            ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
            CONTENT_TYPE, ETAG, IF_NONE_MATCH, ORIGIN, REFERRER_POLICY, RETRY_AFTER,
            STRICT_TRANSPORT_SECURITY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
    },
    response::IntoResponse,
};
use futures::{FutureExt, future::BoxFuture};
use jitney_platform::telemetry::{self, HttpSpan};
use jitney_proto::Code;
use tower::{Layer, Service, ServiceExt};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
    cors::{AllowOrigin, Any, CorsLayer},
    decompression::RequestDecompressionLayer,
};
use uuid::Uuid;

use crate::{
    config::Config,
    handler::{self, Handler, OWN_PATHS},
    limit,
    problem::{Form, Problem},
};

/// Where the rpcs are, but for some that have an older name besides.
const RPCS: &str = "/v1/";
/// The request's id, on its way in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Smaller answers are sent as they are.
const COMPRESSED_FROM_BYTES: u64 = 1024;
/// Answers are data: nothing in them is to be run, shown in a frame, or taken for something else.
const CONTENT_RULES: &str = "default-src 'none'; frame-ancestors 'none'";
/// Browsers that were here once come back by TLS only.
const TLS_ONLY: &str = "max-age=63072000; includeSubDomains";

/// Every path with what stands around it. Cloning it gives the same.
///
/// What most requests do not need they do not pass through: only what comes packed is unpacked, only who
/// comes from a web page is asked from which, only what is large is packed.
#[derive(Clone)]
pub struct Surround(HttpSpan<Core>);

impl Surround {
    /// The gateway's own paths (`router`), and every rpc's.
    pub fn new(router: Router, handler: Arc<Handler>) -> Surround {
        let origins = &handler.config.cors_origins;
        let depends_on_origin = !origins.is_empty() && !origins.iter().any(|origin| origin == "*");
        let cors = handler.cors.clone();
        let paths = Paths { router, handler };
        let for_pages = Router::new()
            .fallback_service(paths.clone())
            .layer(cors)
            // What it does not know it leaves alone: our own refusal is the better one.
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true));
        let around = Arc::new(Around {
            paths,
            for_pages,
            depends_on_origin,
        });
        Surround(telemetry::http_span_layer().layer(Core(around)))
    }
}

impl Service<Request> for Surround {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.call(request)
    }
}

/// What stands around the paths, inside the request's span.
#[derive(Clone)]
struct Core(Arc<Around>);

impl Service<Request> for Core {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let around = self.0.clone();
        Box::pin(async move { Ok(around.answer(request).await) })
    }
}

/// The paths: the gateway's own have a router, an rpc's need none.
#[derive(Clone)]
struct Paths {
    router: Router,
    handler: Arc<Handler>,
}

impl Paths {
    async fn answer(&self, request: Request) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with(RPCS) && !OWN_PATHS.contains(&path) {
            return handler::rpc(State(self.handler.clone()), request).await;
        }
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Service<Request> for Paths {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let paths = self.clone();
        Box::pin(async move { Ok(paths.answer(request).await) })
    }
}

struct Around {
    paths: Paths,
    /// The same for browsers, which ask with the page's origin, and for whoever sends what is packed.
    for_pages: Router,
    /// Whether which page asks makes the answer another one.
    depends_on_origin: bool,
}

impl Around {
    /// What is the same for every request: its id, the size of its head, a line in the log.
    async fn answer(&self, mut request: Request) -> Response<Body> {
        let start = Instant::now();
        let config = &self.paths.handler.config;
        let id = request_id(request.headers());
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let method = request.method().clone();
        let form = Form::accepted(request.headers());
        let accepts = request.headers().get(ACCEPT_ENCODING).cloned();
        let checked = limit::check_head(request.uri(), request.headers(), config.head_bytes_max);
        let mut response = match checked {
            Ok(()) => self.caught(request).await,
            Err(problem) => problem.written(form).into_response(),
        };
        if let Some(accepts) = accepts
            && COMPRESSED_FROM_BYTES <= response.size_hint().exact().unwrap_or(u64::MAX)
        {
            response = packed(response, accepts).await;
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id.clone());
        harden(headers, config.tls.is_on());
        let status = response.status();
        let request_id = id.to_str().unwrap_or_default();
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if status.is_server_error() {
            // Callers tell us the id they were given; this line leads from it to the trace.
            tracing::warn!(%method, status = status.as_u16(), request_id, elapsed_ms, "failed");
        } else {
            tracing::debug!(%method, status = status.as_u16(), request_id, elapsed_ms, "answered");
        }
        response
    }

    /// A panic is a defect of ours, and not the connection's end.
    async fn caught(&self, request: Request) -> Response<Body> {
        let answered = AssertUnwindSafe(self.let_in(request)).catch_unwind().await;
        answered.unwrap_or_else(|_| {
            tracing::error!("a handler of the gateway panicked");
            Problem::from(Code::Internal.status("something went wrong")).into_response()
        })
    }

    async fn let_in(&self, request: Request) -> Response<Body> {
        let headers = request.headers();
        let is_special = headers.contains_key(ORIGIN)
            || headers.contains_key(CONTENT_ENCODING)
            || request.method() == Method::OPTIONS;
        if is_special {
            return match self.for_pages.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
        }
        let mut response = self.paths.answer(request).await;
        if self.depends_on_origin {
            // Else a cache would keep this for a page's browser, which wants to be told more.
            let headers = response.headers_mut();
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        response
    }
}

/// An answer as its caller accepts it: packed, where that is worth it.
async fn packed(response: Response<Body>, accepts: HeaderValue) -> Response<Body> {
    let worth = SizeAbove::new(COMPRESSED_FROM_BYTES)
        .and(NotForContentType::GRPC)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("application/x-ndjson"))
        .and(NotForContentType::const_new("application/pdf"));
    let mut asked = axum::http::Request::new(());
    asked.headers_mut().insert(ACCEPT_ENCODING, accepts);
    let mut response = Some(response);
    let answered = tower::service_fn(move |_| {
        let response = response.take().unwrap_or_default();
        ready(Ok::<_, Infallible>(response))
    });
    let layer = CompressionLayer::new().quality(CompressionLevel::Fastest);
    match layer
        .compress_when(worth)
        .layer(answered)
        .oneshot(asked)
        .await
    {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// Which web pages may call, and what they may read.
pub fn cors(config: &Config) -> Result<CorsLayer> {
    let origins = if config.cors_origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(Any)
    } else {
        let mut origins = Vec::new();
        for origin in &config.cors_origins {
            let bare = origin.split_once("://").is_some_and(|(scheme, host)| {
                !scheme.is_empty() && !host.is_empty() && !host.contains('/')
            });
            ensure!(
                bare,
                "{origin:?} is not an origin like https://app.example.org"
            );
            origins.push(HeaderValue::from_str(origin)?);
        }
        AllowOrigin::list(origins)
    };
    let named = |name| HeaderName::from_static(name);
    Ok(CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IDEMPOTENCY_KEY,
            IF_NONE_MATCH,
            LAST_EVENT_ID,
            REQUEST_ID,
            named("grpc-timeout"),
            named("traceparent"),
            named("tracestate"),
            named("x-grpc-web"),
            named("x-user-agent"),
        ])
        .expose_headers([
            ETAG,
            REQUEST_ID,
            RETRY_AFTER,
            WWW_AUTHENTICATE,
            named("grpc-status"),
            named("grpc-message"),
            named("grpc-status-details-bin"),
        ]))
}

/// Headers for browsers; an answer that has stricter or other rules keeps them.
fn harden(headers: &mut HeaderMap, tls: bool) {
    let fixed = HeaderValue::from_static;
    let mut add = |name: HeaderName, value| {
        headers.entry(name).or_insert(value);
    };
    add(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    add(X_FRAME_OPTIONS, fixed("DENY"));
    add(REFERRER_POLICY, fixed("no-referrer"));
    add(CONTENT_SECURITY_POLICY, fixed(CONTENT_RULES));
    if tls {
        add(STRICT_TRANSPORT_SECURITY, fixed(TLS_ONLY));
    }
}

/// The caller's own id where it is fit for a log, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fit = |value: &&HeaderValue| {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
        (1..=128).contains(&value.len()) && value.as_bytes().iter().all(allowed)
    };
    match headers.get(REQUEST_ID).filter(fit) {
        Some(id) => id.clone(),
        None => {
            let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
            let mut text = Uuid::encode_buffer();
            HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
                .unwrap_or(HeaderValue::from_static("none"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "surround_tests.rs"]
mod tests;
