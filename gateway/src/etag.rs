//! Answers that phones may keep: with an `ETag`, and not sent again to whoever has them.

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
    },
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// An answer for the one who asked, good for some seconds. 304 where they have it already.
pub fn respond(json: impl Into<Bytes>, seconds: u32, asked: &HeaderMap) -> Response<Body> {
    let json: Bytes = json.into();
    let tag = tag(&json);
    let header = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    let headers = [
        (ETAG, header(&tag)),
        // In the phone only: a cache in between does not know whose token it was.
        (
            CACHE_CONTROL,
            header(&format!("private, max-age={seconds}")),
        ),
        (VARY, HeaderValue::from_static("authorization")),
    ];
    if is_known(&tag, asked) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (StatusCode::OK, headers, kind, json).into_response()
}

/// What an answer is known by. Weak: the bytes differ by how they are packed.
pub fn tag(answer: &[u8]) -> String {
    let hash = Sha256::digest(answer);
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&hash[..16]))
}

/// Whether somebody has the answer already.
pub fn is_known(tag: &str, asked: &HeaderMap) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}
