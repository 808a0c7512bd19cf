//! Files as answers: receipts for people, tables for other programs.

use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::IntoResponse,
};
use jitney_proto::{Code, common::v1::Document};
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _};
use tonic::Status;

/// The message of a file.
pub const MESSAGE: &str = "jitney.common.v1.Document";

/// The media types that are served. A browser gets nothing else to interpret on our origin.
const TYPES: [&str; 3] = [
    "text/html; charset=utf-8",
    "application/pdf",
    "text/csv; charset=utf-8",
];

/// A page shows itself and its own style. It runs nothing, loads nothing and sends nothing.
const CONTENT_RULES: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'";

/// The file in a response's field, as the answer.
pub fn respond(
    message: &DynamicMessage,
    field: &FieldDescriptor,
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
    let headers = [
        (CONTENT_TYPE, fixed(content_type)),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_SECURITY_POLICY, fixed(CONTENT_RULES)),
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (CACHE_CONTROL, fixed("no-store")),
    ];
    Ok((StatusCode::OK, headers, document.data).into_response())
}
