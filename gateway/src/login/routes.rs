//! The paths of the development login.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header::CACHE_CONTROL},
    response::IntoResponse,
    routing::post,
};
use jitney_platform::auth::Role;
use jitney_proto::Code;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tonic::Status;

use super::Login;
use crate::{
    handler::Handler,
    limit,
    problem::{Form, Problem},
    transcode,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    phone: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    #[serde(rename = "loginId", alias = "login_id")]
    login_id: String,
    code: String,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    #[serde(rename = "refreshToken", alias = "refresh_token")]
    refresh_token: String,
}

#[derive(Serialize)]
struct Nothing {}

/// Where the login is served.
pub const PATHS: [&str; 4] = [
    "/v1/login:start",
    "/v1/login:finish",
    "/v1/login:refresh",
    "/v1/login:logout",
];

/// The routes; each takes a JSON body and no token.
pub fn routes(login: &Arc<Login>) -> Router<Arc<Handler>> {
    let [start, finish, refresh, logout] = PATHS;
    Router::new()
        .route(start, post(begin))
        .route(finish, post(end))
        .route(refresh, post(renew))
        .route(logout, post(leave))
        .layer(Extension(login.clone()))
}

async fn begin(
    State(handler): State<Arc<Handler>>,
    Extension(login): Extension<Arc<Login>>,
    request: Request,
) -> Response<Body> {
    answer(&handler, login, request, |login, body: Start| {
        login.start(&body.phone)
    })
    .await
}

async fn end(
    State(handler): State<Arc<Handler>>,
    Extension(login): Extension<Arc<Login>>,
    request: Request,
) -> Response<Body> {
    let finish = |login: &Login, body: Finish| login.finish(&body.login_id, &body.code, body.role);
    answer(&handler, login, request, finish).await
}

async fn renew(
    State(handler): State<Arc<Handler>>,
    Extension(login): Extension<Arc<Login>>,
    request: Request,
) -> Response<Body> {
    answer(&handler, login, request, |login, body: Refresh| {
        login.refresh(&body.refresh_token)
    })
    .await
}

async fn leave(
    State(handler): State<Arc<Handler>>,
    Extension(login): Extension<Arc<Login>>,
    request: Request,
) -> Response<Body> {
    let leave =
        |login: &Login, body: Refresh| login.logout(&body.refresh_token).map(|()| Nothing {});
    answer(&handler, login, request, leave).await
}

async fn answer<B, A>(
    handler: &Handler,
    login: Arc<Login>,
    request: Request,
    call: impl FnOnce(&Login, B) -> Result<A, Status> + Send + 'static,
) -> Response<Body>
where
    B: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let form = Form::accepted(request.headers());
    match asked(handler, login, request, call).await {
        Ok(answer) => {
            let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::OK, headers, Json(answer)).into_response()
        }
        Err(problem) => problem.written(form).into_response(),
    }
}

async fn asked<B, A>(
    handler: &Handler,
    login: Arc<Login>,
    request: Request,
    call: impl FnOnce(&Login, B) -> Result<A, Status> + Send + 'static,
) -> Result<A, Problem>
where
    B: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let (parts, body) = request.into_parts();
    if let Some(address) = handler.origin(&parts) {
        handler.limits.address(address)?;
        handler.limits.guess(address)?;
    }
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        let told = "a login takes no query: what it holds would end up in logs";
        return Err(Code::InvalidRequest.status(told).into());
    }
    let body = body_of(handler, &parts.headers, body).await?;
    // The sessions' file is written in there.
    let done = tokio::task::spawn_blocking(move || call(&login, body)).await;
    let done = done.map_err(|_| Code::Internal.status("something went wrong"))?;
    Ok(done?)
}

async fn body_of<B: DeserializeOwned>(
    handler: &Handler,
    headers: &HeaderMap,
    body: Body,
) -> Result<B, Problem> {
    let body = limit::read_body(body, headers, &handler.config).await?;
    transcode::check_content_type(headers)?;
    serde_json::from_slice(&body).map_err(|error| {
        // The library's words may repeat what was sent, and that may be a secret.
        let known = ["missing field", "unknown field", "duplicate field"];
        let whole = error.to_string();
        let told = match known.iter().any(|known| whole.starts_with(known)) {
            true => whole.chars().take(200).collect(),
            false => format!(
                "the body is not what this takes: line {} column {}",
                error.line(),
                error.column()
            ),
        };
        Code::InvalidRequest.status(told).into()
    })
}
