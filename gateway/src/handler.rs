//! The way of a request through the gateway.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{MatchedPath, Request as HttpRequest, State},
    http::{
        HeaderMap, HeaderValue, Method, Response,
        header::{CACHE_CONTROL, CONTENT_TYPE},
        request,
    },
    middleware::{self, Next},
    response::IntoResponse,
    routing::get,
};
use jitney_platform::{serve::deadline, telemetry, tls::Tls};
use jitney_proto::Code;
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status, metadata::MetadataValue};
use tower_http::cors::CorsLayer;

use crate::{
    address::{Peer, Proxies},
    auth::{Bearer, Gate},
    config::Config,
    document, etag, grpc_web,
    health::Readiness,
    limit::{self, Limits},
    login::{self, Login},
    pages,
    problem::{Form, Problem},
    reference,
    route::{Binding, Body as BodyRule, Found, Routes, Shape},
    socket, stream,
    surround::{REQUEST_ID, Surround},
    template::Path,
    transcode,
    upstream::{self, Upstream},
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
    reference::PATHS[0],
    reference::PATHS[1],
    reference::PATHS[2],
    reference::PATHS[3],
    TILE_PATH,
    pages::PATHS[0],
    pages::PATHS[1],
    pages::PATHS[2],
    pages::PATHS[3],
    pages::PATHS[4],
];

/// Room for the headers of an answer, with those that are put around it: it is made once.
const ANSWER_HEADERS: usize = 12;

/// Map tiles under the name that map libraries know them by.
const TILE_PATH: &str = "/tiles/{zoom}/{x}/{y}";

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
    pub openapi: Bytes,
    pub tls: Option<Arc<Tls>>,
    pub login: Option<Arc<Login>>,
    pub proxies: Proxies,
    pub cors: CorsLayer,
    pub shutdown: CancellationToken,
    pub tasks: TaskTracker,
}

/// The gateway's own paths, every rpc's, and what stands around all of them.
pub fn paths(handler: Arc<Handler>) -> Surround {
    let login = handler.login.as_ref().map(login::routes::routes);
    let router = Router::new()
        .merge(login.unwrap_or_default())
        .merge(reference::routes())
        .route(TILE_PATH, get(tile))
        .merge(pages::routes())
        .route("/v1", get(index))
        .route(
            "/healthz",
            get(async || Json(serde_json::json!({"live": true}))),
        )
        .route("/readyz", get(ready))
        .route("/.well-known/jwks.json", get(keys))
        .method_not_allowed_fallback(own_path)
        .route_layer(middleware::from_fn(name_route))
        .fallback(rpc)
        .with_state(handler.clone());
    Surround::new(router, handler)
}

/// Names the request's span by the path of the gateway's own that it asks for.
async fn name_route(path: MatchedPath, request: HttpRequest, next: Next) -> Response<Body> {
    telemetry::name_route(request.method(), path.as_str());
    next.run(request).await
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

/// A tile is the rpc's answer, at the rpc's own path.
async fn tile(state: State<Arc<Handler>>, mut request: HttpRequest) -> Response<Body> {
    let path = request.uri().path();
    let own = path
        .strip_suffix(".mvt")
        .and_then(|path| format!("/v1{path}").parse().ok());
    if let Some(own) = own {
        *request.uri_mut() = own;
    }
    rpc(state, request).await
}

/// Answers what an rpc is for, or says that there is none.
pub async fn rpc(State(handler): State<Arc<Handler>>, request: HttpRequest) -> Response<Body> {
    if grpc_web::is_asked(request.method(), request.headers()) {
        return grpc_web::answer(handler, request).await;
    }
    let (mut parts, body) = request.into_parts();
    let form = Form::accepted(&parts.headers);
    let answer = handler.answer(&mut parts, body).await;
    answer.unwrap_or_else(|problem| problem.written(form).into_response())
}

impl Handler {
    /// The address a request is counted under. `None` where it is not known (a server of somebody
    /// else's serves the router), and for this machine itself: a proxy or a simulation here has many
    /// callers behind one address.
    pub fn origin(&self, parts: &request::Parts) -> Option<IpAddr> {
        let peer = parts.extensions.get::<Peer>()?;
        let origin = self.proxies.origin(*peer, &parts.headers);
        (!origin.is_loopback()).then_some(origin)
    }

    /// Who asks, if they may. Whoever tries tokens is told so for a while, and then to wait.
    pub fn admit(
        &self,
        rpc_path: &str,
        headers: &HeaderMap,
        origin: Option<IpAddr>,
    ) -> Result<Bearer, Status> {
        let refused = match self.gate.admit(rpc_path, headers) {
            Ok(bearer) => return Ok(bearer),
            Err(refused) => refused,
        };
        if let Some(origin) = origin
            && refused.code() == tonic::Code::Unauthenticated
        {
            self.limits.guess(origin)?;
        }
        Err(refused)
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
        telemetry::name_route(&parts.method, &binding.route);
        let bearer = self.admit(binding.rpc.path.as_str(), &parts.headers, origin)?;
        if !bearer.is_nobody() {
            self.limits.request(&bearer.caller)?;
        }
        match binding.rpc.shape {
            Shape::Unary => {
                let _room = self.limits.call()?;
                self.unary(&binding, &path, parts, body, &bearer).await
            }
            Shape::ServerStream => {
                let permit = self.limits.stream(&bearer.caller)?;
                let request = self.message(&binding, &path, parts, body, &bearer).await?;
                let form = stream::Form::accepted(&parts.headers);
                let begin = self.time_of(parts);
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

    /// How long a call may take: as long as the caller waits, and no longer than is allowed.
    pub fn time_of(&self, parts: &request::Parts) -> Duration {
        let asked = deadline::timeout(&parts.headers);
        asked.map_or(self.config.call_timeout, |asked| {
            asked.min(self.config.call_timeout)
        })
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
            .unary(&binding.rpc, request, self.time_of(parts))
            .await?;
        let read = || upstream::read(&binding.rpc.output, answer.clone());
        if let Some(field) = &binding.document {
            let answer = read()?;
            let kept = document::Kept::of(&binding.rpc, self.gate.is_public(&binding.rpc.path));
            return Ok(document::respond(&answer, field, kept, &parts.headers)?);
        }
        let json = match &binding.answer {
            Some(field) => transcode::field_to_json(&read()?, field)?,
            None => match binding.rpc.plan.json(&answer) {
                Some(json) => json,
                None => transcode::to_json(&read()?)?,
            },
        };
        if let Some(seconds) = binding.rpc.cache_seconds {
            return Ok(etag::respond(json, seconds, &parts.headers));
        }
        let mut response = Response::new(Body::from(json));
        let headers = response.headers_mut();
        headers.reserve(ANSWER_HEADERS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Answers are the caller's own: no cache in between keeps them.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
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
        bearer.forward_in(request.metadata_mut().as_mut());
        let id = parts
            .headers
            .get(REQUEST_ID)
            .map(HeaderValue::as_bytes)
            .map(MetadataValue::try_from);
        if let Some(Ok(mut id)) = id {
            // No secret, but never told again: HTTP/2 need not remember it in place of what is.
            id.set_sensitive(true);
            request.metadata_mut().insert("x-request-id", id);
        }
        request
    }
}
