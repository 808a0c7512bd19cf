//! The web pages: built from `web/` by `make web` and embedded here. They are an API client like any
//! other: nothing here knows more of the API than that it is on the same origin.
//!
//! A gateway that was built without them answers with a plain page that says so; the API is the same.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, VARY},
    },
    response::{IntoResponse, Redirect},
    routing::get,
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::{etag, handler::Handler, problem::Problem};

/// Where the pages are. The landing page shares `/` with the list of routes.
pub const PATHS: [&str; 5] = ["/rider", "/driver", "/city", "/share", "/assets/{file}"];

/// The built pages: `NAME.html` for each, and `assets/` with a hash of the content in every name.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Built;

/// A page runs its own scripts and styles, draws the map in a worker of its own, and asks this gateway.
const CONTENT_RULES: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; \
    style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; manifest-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
/// Pages are asked for each time, and not sent again while they are the same.
const ASKED_EACH_TIME: &str = "no-cache";
/// A name has a hash of the content in it: it never holds anything else.
const KEPT_FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// What is served where the pages are not built in.
const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <title>Jitney</title><h1>Jitney</h1>\
    <p>This program was built without its web pages. With Node 18 or newer and npm on the machine, \
    <code>make web</code> builds them, and <code>make build</code> takes them in.</p>\
    <p>The API is complete without them: <a href=\"/docs\">its documentation</a>, \
    <a href=\"/v1\">its routes</a>.</p></html>";

/// Whether this program has its pages in it.
pub fn are_built() -> bool {
    Built::get("index.html").is_some()
}

/// The routes; none of them takes a token.
pub fn routes() -> Router<Arc<Handler>> {
    let [rider, driver, city, share, asset] = PATHS;
    let mut router = Router::new()
        .route("/", get(landing))
        .route(asset, get(file));
    for (path, name) in [
        (rider, "rider.html"),
        (driver, "driver.html"),
        (city, "city.html"),
        (share, "share.html"),
    ] {
        router = router
            .route(
                path,
                get(async move |headers: HeaderMap| page(name, &headers)),
            )
            // People type it.
            .route(
                &format!("{path}/"),
                get(async move || Redirect::permanent(path)),
            );
    }
    router
}

/// A browser gets the page to begin with, a program the list of routes.
async fn landing(State(handler): State<Arc<Handler>>, headers: HeaderMap) -> Response<Body> {
    let mut answer = match wants_page(&headers) {
        true => page("index.html", &headers),
        false => Json(handler.index.clone()).into_response(),
    };
    answer
        .headers_mut()
        .append(VARY, HeaderValue::from_static("accept"));
    answer
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response<Body> {
    match Built::get(&format!("assets/{name}")) {
        Some(file) => respond(&name, file, KEPT_FOR_GOOD, &headers),
        None => Problem::no_route(&format!("/assets/{name}")).into_response(),
    }
}

fn page(name: &str, headers: &HeaderMap) -> Response<Body> {
    match Built::get(name) {
        Some(file) => respond(name, file, ASKED_EACH_TIME, headers),
        None => {
            let told = [
                (
                    CONTENT_TYPE,
                    HeaderValue::from_static("text/html; charset=utf-8"),
                ),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            (StatusCode::NOT_FOUND, told, MISSING).into_response()
        }
    }
}

fn respond(
    name: &str,
    file: EmbeddedFile,
    kept: &'static str,
    asked: &HeaderMap,
) -> Response<Body> {
    let hash: String = file.metadata.sha256_hash()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("W/\"{hash}\"");
    let fixed = HeaderValue::from_static;
    let headers = [
        (ETAG, HeaderValue::from_str(&tag).unwrap_or(fixed(""))),
        (CACHE_CONTROL, fixed(kept)),
        (CONTENT_SECURITY_POLICY, fixed(CONTENT_RULES)),
    ];
    if etag::is_known(&tag, asked) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(CONTENT_TYPE, fixed(media_type(name)))];
    let data = match file.data {
        std::borrow::Cow::Borrowed(data) => Bytes::from_static(data),
        std::borrow::Cow::Owned(data) => Bytes::from(data),
    };
    (StatusCode::OK, headers, kind, data).into_response()
}

/// The types of what the build makes.
fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a browser asks: it names HTML, which programs do not.
fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|kind| kind.trim().to_ascii_lowercase().starts_with("text/html"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_html_gets_the_page() {
        let asked = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            wants_page(&headers)
        };
        assert!(asked("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(asked("application/xml, TEXT/HTML;q=0.9"));
        assert!(!asked("*/*") && !asked("application/json") && !asked("text/*"));
        assert!(!wants_page(&HeaderMap::new()));
    }

    #[test]
    fn what_was_built_can_be_served() {
        for name in Built::iter() {
            assert_ne!(media_type(&name), "application/octet-stream", "{name}");
            let in_assets = name.starts_with("assets/") && name.matches('/').count() == 1;
            assert!(in_assets || name.ends_with(".html"), "{name} has no path");
        }
    }

    #[tokio::test]
    async fn without_the_pages_a_browser_is_told_how_to_build_them() {
        let answer = page("no-such.html", &HeaderMap::new());
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16)
            .await
            .unwrap();
        assert!(String::from_utf8_lossy(&body).contains("make web"));
    }
}
