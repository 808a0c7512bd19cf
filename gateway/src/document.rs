//! Files as answers: receipts for people, tables for other programs.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::IntoResponse,
};
use jitney_proto::{Code, common::v1::Document};
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _};
use tonic::Status;

use crate::{etag, route::Rpc};

/// The message of a file.
pub const MESSAGE: &str = "jitney.common.v1.Document";

/// The media types that are served. A browser gets nothing else to interpret on our origin.
const TYPES: [&str; 4] = [
    "text/html; charset=utf-8",
    "application/pdf",
    "text/csv; charset=utf-8",
    "application/vnd.mapbox-vector-tile",
];

/// A page shows itself and its own style. It runs nothing, loads nothing and sends nothing.
const CONTENT_RULES: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'";

/// Whether the file may be used again without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is the caller's alone and of this moment.
    No,
    /// For so many seconds, by whoever was sent it.
    Private(u32),
    /// For so many seconds, by everybody.
    Public(u32),
}

impl Kept {
    /// As the rpc says.
    pub fn of(rpc: &Rpc, is_public: bool) -> Kept {
        match rpc.cache_seconds {
            None => Kept::No,
            Some(seconds) if is_public => Kept::Public(seconds),
            Some(seconds) => Kept::Private(seconds),
        }
    }

    fn cache_control(self) -> String {
        match self {
            Kept::No => "no-store".to_owned(),
            Kept::Private(seconds) => format!("private, max-age={seconds}"),
            Kept::Public(seconds) => format!("public, max-age={seconds}"),
        }
    }
}

/// The file in a response's field, as the answer. One that may be kept has an `ETag`, and is not sent
/// again to whoever has it.
pub fn respond(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    kept: Kept,
    asked: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let broken = |what: &str| {
        tracing::error!(
            message = message.descriptor().full_name(),
            what,
            "no file to answer with"
        );
        Code::Internal.status("the file could not be written")
    };
    let document = message.get_field(field);
    let document = document.as_message().filter(|_| message.has_field(field));
    let document: Document = document
        .ok_or_else(|| broken("is absent"))?
        .transcode_to()
        .map_err(|_| broken("is no document"))?;
    let served = TYPES.iter().find(|&&own| own == document.content_type);
    let content_type = served.ok_or_else(|| broken("has another type"))?;
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !name.is_empty() && name.bytes().all(allowed)
    };
    if !is_name(&document.file_name) {
        return Err(broken("has an odd name"));
    }
    let disposition = format!("inline; filename=\"{}\"", document.file_name);
    let disposition = HeaderValue::from_str(&disposition).map_err(|_| broken("has an odd name"))?;
    let fixed = HeaderValue::from_static;
    let cache_control = HeaderValue::from_str(&kept.cache_control());
    let cache_control = cache_control.map_err(|_| broken("has an odd age"))?;
    if kept != Kept::No {
        let tag = etag::tag(&document.data);
        let header = HeaderValue::from_str(&tag).map_err(|_| broken("has an odd tag"))?;
        let headers = [
            (ETAG, header),
            (CACHE_CONTROL, cache_control),
            (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        ];
        if etag::is_known(&tag, asked) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let kind = [(CONTENT_TYPE, fixed(content_type))];
        return Ok((StatusCode::OK, headers, kind, document.data).into_response());
    }
    let headers = [
        (CONTENT_TYPE, fixed(content_type)),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_SECURITY_POLICY, fixed(CONTENT_RULES)),
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (CACHE_CONTROL, cache_control),
    ];
    Ok((StatusCode::OK, headers, document.data).into_response())
}
