//! The way of a request through the gateway.

use std::{net::IpAddr, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use axum::{
    Json, Router,
    body::Body,
    extract::{Request as HttpRequest, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
        header::{
            AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, RETRY_AFTER,
            SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE,
        },
        request,
    },
    middleware::{self, Next},
    response::IntoResponse,
    routing::get,
};
use jitney_platform::telemetry;
use jitney_proto::Code;
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, metadata::MetadataValue};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, Any, CorsLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
};
use uuid::Uuid;

use crate::{
    address::{Peer, Proxies},
    auth::{Bearer, Gate},
    config::Config,
    document,
    health::Readiness,
    limit::{self, Limits},
    login::{self, Login},
    problem::{Form, Problem},
    route::{Binding, Body as BodyRule, Found, Routes, Shape},
    socket, stream,
    template::Path,
    transcode,
    upstream::Upstream,
};

/// Paths that are no rpc's.
pub const OWN_PATHS: &[&str] = &[
    "/",
    "/v1",
    "/healthz",
    "/readyz",
    "/.well-known/jwks.json",
    login::routes::PATHS[0],
    login::routes::PATHS[1],
    login::routes::PATHS[2],
    login::routes::PATHS[3],
];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Everything a request may need.
pub struct Handler {
    pub config: Arc<Config>,
    pub routes: Routes,
    pub gate: Gate,
    pub limits: Limits,
    pub upstream: Arc<Upstream>,
    pub readiness: Readiness,
    pub index: Value,
    pub keys: Value,
    pub login: Option<Arc<Login>>,
    pub proxies: Proxies,
    pub cors: CorsLayer,
    pub shutdown: CancellationToken,
    pub tasks: TaskTracker,
}

/// The gateway's own paths, every rpc's, and what stands around all of them.
pub fn router(handler: Arc<Handler>) -> Router {
    let cors = handler.cors.clone();
    let login = handler.login.as_ref().map(login::routes::routes);
    Router::new()
        .merge(login.unwrap_or_default())
        .route("/", get(index))
        .route("/v1", get(index))
        .route(
            "/healthz",
            get(async || Json(serde_json::json!({"live": true}))),
        )
        .route("/readyz", get(ready))
        .route("/.well-known/jwks.json", get(keys))
        .method_not_allowed_fallback(own_path)
        .fallback(rpc)
        .with_state(handler.clone())
        .layer(
            ServiceBuilder::new()
                .layer(SetSensitiveRequestHeadersLayer::new([
                    AUTHORIZATION,
                    COOKIE,
                    SEC_WEBSOCKET_PROTOCOL,
                ]))
                .layer(telemetry::http_span_layer())
                .layer(middleware::from_fn_with_state(handler, around))
                .layer(CatchPanicLayer::custom(
                    |_: Box<dyn std::any::Any + Send>| {
                        tracing::error!("a handler of the gateway panicked");
                        Problem::from(Code::Internal.status("something went wrong")).into_response()
                    },
                ))
                .layer(cors),
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
            LAST_EVENT_ID,
            REQUEST_ID,
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
        ])
        .expose_headers([REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE]))
}

async fn index(State(handler): State<Arc<Handler>>) -> Json<Value> {
    Json(handler.index.clone())
}

async fn keys(State(handler): State<Arc<Handler>>) -> impl IntoResponse {
    let kept = [(CACHE_CONTROL, "public, max-age=300")];
    (kept, Json(handler.keys.clone()))
}

async fn ready(State(handler): State<Arc<Handler>>) -> impl IntoResponse {
    let (status, report) = handler
        .readiness
        .answer(handler.shutdown.is_cancelled())
        .await;
    (status, [(CACHE_CONTROL, "no-store")], Json(report))
}

async fn own_path(request: HttpRequest) -> Problem {
    let served: &[Method] = match login::routes::PATHS.contains(&request.uri().path()) {
        true => &[Method::POST],
        false => &[Method::GET, Method::HEAD],
    };
    let form = Form::accepted(request.headers());
    Problem::wrong_method(request.method(), served).written(form)
}

/// What is the same for every request: its id, the size of its head, a line in the log.
async fn around(
    State(handler): State<Arc<Handler>>,
    mut request: HttpRequest,
    next: Next,
) -> Response<Body> {
    let start = Instant::now();
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let form = Form::accepted(request.headers());
    let mut response = match limit::check_head(
        request.uri(),
        request.headers(),
        handler.config.head_bytes_max,
    ) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.written(form).into_response(),
    };
    response.headers_mut().insert(REQUEST_ID, id.clone());
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

async fn rpc(State(handler): State<Arc<Handler>>, request: HttpRequest) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let form = Form::accepted(&parts.headers);
    let answer = handler.answer(&mut parts, body).await;
    answer.unwrap_or_else(|problem| problem.written(form).into_response())
}

impl Handler {
    /// Where a request comes from; not known where a server of somebody else's serves the router.
    pub fn origin(&self, parts: &request::Parts) -> Option<IpAddr> {
        let peer = parts.extensions.get::<Peer>()?;
        Some(self.proxies.origin(*peer, &parts.headers))
    }

    async fn answer(
        &self,
        parts: &mut request::Parts,
        body: Body,
    ) -> Result<Response<Body>, Problem> {
        let origin = self.origin(parts);
        if let Some(origin) = origin {
            self.limits.address(origin)?;
        }
        let uri = parts.uri.clone();
        let path = Path::cut(uri.path());
        let binding = match self.routes.find(&parts.method, &path) {
            Found::Route(binding) => binding.clone(),
            Found::OtherMethods(allowed) => {
                return Err(Problem::wrong_method(&parts.method, &allowed));
            }
            Found::Nothing => return Err(Problem::no_route(uri.path())),
        };
        telemetry::name_route(&parts.method, &binding.template.to_string());
        let admitted = self.gate.admit(binding.rpc.path.as_str(), &parts.headers);
        let bearer = match (admitted, origin) {
            (Err(refused), Some(origin)) if refused.code() == tonic::Code::Unauthenticated => {
                // Whoever tries tokens is told so for a while, and then to wait.
                self.limits.guess(origin)?;
                return Err(refused.into());
            }
            (admitted, _) => admitted?,
        };
        self.limits.request(&bearer.caller)?;
        match binding.rpc.shape {
            Shape::Unary => {
                let _room = self.limits.call()?;
                self.unary(&binding, &path, parts, body, &bearer).await
            }
            Shape::ServerStream => {
                let permit = self.limits.stream(&bearer.caller)?;
                let request = self.message(&binding, &path, parts, body, &bearer).await?;
                let form = stream::Form::accepted(&parts.headers);
                let begin = self.config.call_timeout;
                let messages = self
                    .upstream
                    .server_stream(&binding.rpc, request, begin)
                    .await?;
                let watch = stream::Watch {
                    binding,
                    form,
                    bearer,
                    gate: self.gate.clone(),
                    config: self.config.clone(),
                    permit,
                    shutdown: self.shutdown.clone(),
                };
                Ok(stream::respond(messages, watch))
            }
            Shape::ClientStream | Shape::Bidirectional => {
                if uri.query().is_some_and(|query| !query.is_empty()) {
                    let told = "a WebSocket takes no query: messages go in frames";
                    return Err(Code::InvalidRequest.status(told).into());
                }
                let permit = self.limits.stream(&bearer.caller)?;
                let metadata = self.request(parts, &bearer, ()).metadata().clone();
                let line = socket::Line {
                    binding,
                    metadata,
                    upstream: self.upstream.clone(),
                    bearer,
                    gate: self.gate.clone(),
                    config: self.config.clone(),
                    permit,
                    shutdown: self.shutdown.clone(),
                    tasks: self.tasks.clone(),
                };
                socket::respond(parts, line).await
            }
        }
    }

    async fn unary(
        &self,
        binding: &Binding,
        path: &Path<'_>,
        parts: &request::Parts,
        body: Body,
        bearer: &Bearer,
    ) -> Result<Response<Body>, Problem> {
        let request = self.message(binding, path, parts, body, bearer).await?;
        let answer = self
            .upstream
            .unary(&binding.rpc, request, self.config.call_timeout)
            .await?;
        if let Some(field) = &binding.document {
            return Ok(document::respond(&answer, field)?);
        }
        let json = match &binding.answer {
            Some(field) => transcode::field_to_json(&answer, field)?,
            None => transcode::to_json(&answer)?,
        };
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            // Answers are the caller's own: no cache in between keeps them.
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Ok((StatusCode::OK, headers, json).into_response())
    }

    async fn message(
        &self,
        binding: &Binding,
        path: &Path<'_>,
        parts: &request::Parts,
        body: Body,
        bearer: &Bearer,
    ) -> Result<Request<prost_reflect::DynamicMessage>, Problem> {
        let body = limit::read_body(body, &parts.headers, &self.config).await?;
        if !body.is_empty() {
            if binding.body == BodyRule::None {
                let told = format!("{} {} takes no body", binding.method, binding.template);
                return Err(Code::InvalidRequest.status(told).into());
            }
            transcode::check_content_type(&parts.headers)?;
        }
        let message = transcode::request(
            binding,
            transcode::Parts {
                path,
                query: parts.uri.query().unwrap_or_default(),
                headers: &parts.headers,
                body: &body,
            },
            self.config.unknown_fields,
        )?;
        Ok(self.request(parts, bearer, message))
    }

    /// A call on behalf of the caller: their token, and the request's id for the log.
    fn request<T>(&self, parts: &request::Parts, bearer: &Bearer, message: T) -> Request<T> {
        let mut request = Request::new(message);
        bearer.forward(&mut request);
        let id = parts
            .headers
            .get(REQUEST_ID)
            .map(HeaderValue::as_bytes)
            .map(MetadataValue::try_from);
        if let Some(Ok(id)) = id {
            request.metadata_mut().insert("x-request-id", id);
        }
        request
    }
}
