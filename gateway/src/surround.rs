//! What stands around every path, whoever answers it: the request's id and the line in the log, the
//! size of the head, headers that make browsers careful, which web pages may call, compression, and
//! what becomes of a panic.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response,
        header::{
            AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH,
            REFERRER_POLICY, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, STRICT_TRANSPORT_SECURITY,
            WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::IntoResponse,
};
use jitney_platform::telemetry;
use jitney_proto::Code;
use tower::ServiceBuilder;
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
    cors::{AllowOrigin, Any, CorsLayer},
    decompression::RequestDecompressionLayer,
    sensitive_headers::SetSensitiveRequestHeadersLayer,
};
use uuid::Uuid;

use crate::{
    config::Config,
    handler::Handler,
    limit,
    problem::{Form, Problem},
};

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

/// Puts everything around the paths.
pub fn around_all(router: Router, handler: Arc<Handler>) -> Router {
    let cors = handler.cors.clone();
    let compressed = SizeAbove::new(COMPRESSED_FROM_BYTES)
        .and(NotForContentType::GRPC)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("application/x-ndjson"))
        .and(NotForContentType::const_new("application/pdf"));
    router.layer(
        ServiceBuilder::new()
            .layer(SetSensitiveRequestHeadersLayer::new([
                AUTHORIZATION,
                COOKIE,
                SEC_WEBSOCKET_PROTOCOL,
            ]))
            .layer(telemetry::http_span_layer())
            .layer(middleware::from_fn_with_state(handler, around))
            .layer(
                CompressionLayer::new()
                    .quality(CompressionLevel::Fastest)
                    .compress_when(compressed),
            )
            .layer(CatchPanicLayer::custom(
                |_: Box<dyn std::any::Any + Send>| {
                    tracing::error!("a handler of the gateway panicked");
                    Problem::from(Code::Internal.status("something went wrong")).into_response()
                },
            ))
            .layer(cors)
            // What it does not know it leaves alone: our own refusal is the better one.
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true)),
    )
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

/// What is the same for every request: its id, the size of its head, a line in the log.
async fn around(
    State(handler): State<Arc<Handler>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let start = Instant::now();
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let form = Form::accepted(request.headers());
    let checked = limit::check_head(
        request.uri(),
        request.headers(),
        handler.config.head_bytes_max,
    );
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.written(form).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.clone());
    harden(headers, handler.config.tls.is_on());
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
        None => HeaderValue::from_str(&Uuid::new_v4().to_string())
            .unwrap_or(HeaderValue::from_static("none")),
    }
}
