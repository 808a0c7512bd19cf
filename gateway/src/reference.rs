//! The API's document and a page to read it with. The page is three files of our own: it works without
//! any other server, and it may load and run nothing else.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    response::IntoResponse,
    routing::get,
};

use crate::{etag, handler::Handler};

/// Where they are.
pub const PATHS: [&str; 4] = [
    "/openapi.json",
    "/docs",
    "/docs/reference.js",
    "/docs/reference.css",
];

/// How long browsers may keep the document.
const KEPT_S: u32 = 60;
/// The page runs its own script, and asks this gateway.
const CONTENT_RULES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// The routes; none of them takes a token.
pub fn routes() -> Router<Arc<Handler>> {
    let [document, page, script, style] = PATHS;
    Router::new()
        .route(document, get(openapi))
        .route(
            page,
            get(async || {
                file(
                    "text/html; charset=utf-8",
                    include_str!("../web/reference.html"),
                )
            }),
        )
        .route(
            script,
            get(async || {
                file(
                    "text/javascript; charset=utf-8",
                    include_str!("../web/reference.js"),
                )
            }),
        )
        .route(
            style,
            get(async || {
                file(
                    "text/css; charset=utf-8",
                    include_str!("../web/reference.css"),
                )
            }),
        )
}

async fn openapi(State(handler): State<Arc<Handler>>, headers: HeaderMap) -> Response<Body> {
    etag::respond(handler.openapi.clone(), KEPT_S, &headers)
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let fixed = HeaderValue::from_static;
    let headers = [
        (CONTENT_TYPE, fixed(kind)),
        (CONTENT_SECURITY_POLICY, fixed(CONTENT_RULES)),
        (CACHE_CONTROL, fixed("no-cache")),
    ];
    (StatusCode::OK, headers, text)
}
