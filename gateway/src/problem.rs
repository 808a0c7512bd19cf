//! Errors as callers read them: `google.rpc.Status` as JSON, with the HTTP status that stands for it.
//!
//! ```json
//! {"code": 5, "message": "no such trip", "details": [
//!   {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "NOT_FOUND", "domain": "jitney", "metadata": {}}
//! ]}
//! ```
//!
//! There is always an `ErrorInfo`, and its `reason` is one of [`Code`]'s. `BadRequest` names fields;
//! `RetryInfo` is also the `Retry-After` header. What the services did not write themselves (a broken
//! connection, a panic) is told in general words; the log has the rest.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
        header::{
            ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, UPGRADE,
            WWW_AUTHENTICATE,
        },
    },
    response::IntoResponse,
};
use jitney_proto::{Code, code::ERROR_DOMAIN, code::http_status};
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::StatusExt;

const PROBLEM_JSON: &str = "application/problem+json";

/// When to come back to a service that is away and does not say when.
const RETRY_DEFAULT: Duration = Duration::from_secs(1);

/// An error on its way to the caller.
#[derive(Debug)]
pub struct Problem {
    status: Box<Status>,
    http: StatusCode,
    headers: HeaderMap,
    form: Form,
}

/// How an error is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As `google.rpc.Status`.
    #[default]
    Status,
    /// As `application/problem+json` (RFC 9457), where the caller asks for it.
    Problem,
}

impl Form {
    /// What the caller accepts.
    pub fn accepted(headers: &HeaderMap) -> Form {
        let kinds = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let asked = kinds.flat_map(|value| value.split(',')).any(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            let is_it = parts
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case(PROBLEM_JSON));
            is_it && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        });
        if asked { Form::Problem } else { Form::Status }
    }
}

impl Problem {
    /// No route has this path.
    pub fn no_route(path: &str) -> Problem {
        let path: String = path.chars().take(200).collect();
        Code::NotFound
            .status(format!(
                "there is nothing at {path}; GET /v1 lists the routes"
            ))
            .into()
    }

    /// The path has routes, none for this verb.
    pub fn wrong_method(asked: &Method, allowed: &[Method]) -> Problem {
        let allowed = allowed
            .iter()
            .map(Method::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let asked: String = asked.as_str().chars().take(20).collect();
        let status =
            Code::InvalidRequest.status(format!("{asked} is not served here: {allowed} is"));
        Problem::from(status)
            .answered(StatusCode::METHOD_NOT_ALLOWED)
            .with_header(ALLOW, &allowed)
    }

    /// The body is more than is read.
    pub fn too_large(bytes_max: usize) -> Problem {
        let status = Code::InvalidRequest.status(format!("the body is above {bytes_max} bytes"));
        Problem::from(status).answered(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// The headers are more than is read.
    pub fn headers_too_large(bytes_max: usize) -> Problem {
        let status = Code::InvalidRequest.status(format!(
            "the request's head (URL and headers) is above {bytes_max} bytes"
        ));
        Problem::from(status).answered(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    }

    /// The body did not come in time.
    pub fn slow_body(wait: Duration) -> Problem {
        let status = Code::DeadlineExceeded.status(format!(
            "the body did not arrive within {} s",
            wait.as_secs_f64()
        ));
        Problem::from(status).answered(StatusCode::REQUEST_TIMEOUT)
    }

    /// The body is not JSON by its own account.
    pub fn not_json() -> Problem {
        let status = Code::InvalidRequest
            .status("the body must be JSON: send 'Content-Type: application/json'");
        Problem::from(status).answered(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    /// The body is in an encoding that is not taken.
    pub fn not_decoded() -> Problem {
        let told = "a body comes as it is, or with 'Content-Encoding: gzip' or 'zstd'";
        Problem::from(Code::InvalidRequest.status(told))
            .answered(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .with_header(ACCEPT_ENCODING, "gzip, zstd")
    }

    /// A WebSocket route was asked for without an upgrade.
    pub fn upgrade_required() -> Problem {
        let status = Code::InvalidRequest.status(
            "this is a WebSocket: connect with 'Connection: Upgrade' and 'Upgrade: websocket'",
        );
        Problem::from(status)
            .answered(StatusCode::UPGRADE_REQUIRED)
            .with_header(UPGRADE, "websocket")
    }

    /// The gateway as a whole has no room; the caller did nothing wrong.
    pub fn full(what: &str, wait: Duration) -> Problem {
        let status = Code::Overloaded.retry_after(format!("{what}; try again shortly"), wait);
        Problem::from(status).answered(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The same problem under another HTTP status than its code's.
    pub fn answered(mut self, http: StatusCode) -> Problem {
        self.http = http;
        self
    }

    /// The gRPC status inside.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The HTTP status.
    pub fn http(&self) -> StatusCode {
        self.http
    }

    /// The JSON form.
    pub fn json(&self) -> Value {
        json!({
            "code": self.status.code() as i32,
            "message": self.status.message(),
            "details": details(&self.status),
        })
    }

    /// The same problem, written in another form.
    pub fn written(mut self, form: Form) -> Problem {
        self.form = form;
        self
    }

    /// The form of RFC 9457. `type` names the reason, `code` and `details` are those of the status.
    pub fn problem_json(&self) -> Value {
        let reason = Code::of(&self.status).map_or("UNKNOWN", Code::reason);
        json!({
            "type": format!("urn:jitney:problem:{reason}"),
            "title": self.http.canonical_reason().unwrap_or("Error"),
            "status": self.http.as_u16(),
            "detail": self.status.message(),
            "reason": reason,
            "code": self.status.code() as i32,
            "details": details(&self.status),
        })
    }

    fn with_header(mut self, name: HeaderName, value: &str) -> Problem {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl From<Status> for Problem {
    /// Takes a status over; one that no service of ours wrote is reworded.
    fn from(status: Status) -> Problem {
        let status = if Code::of(&status).is_some() {
            status
        } else {
            reworded(&status)
        };
        let http = StatusCode::from_u16(http_status(status.code()))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let told = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        let wait = told.or((http == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_DEFAULT));
        let mut problem = Problem {
            status: Box::new(status),
            http,
            headers: HeaderMap::new(),
            form: Form::default(),
        };
        if let Some(wait) = wait {
            // The header knows whole seconds only; a client must not come back too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            problem = problem.with_header(RETRY_AFTER, &seconds.to_string());
        }
        if problem.http == StatusCode::UNAUTHORIZED {
            problem = problem.with_header(WWW_AUTHENTICATE, "Bearer");
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let (json, kind) = match self.form {
            Form::Status => (self.json(), "application/json"),
            Form::Problem => (self.problem_json(), PROBLEM_JSON),
        };
        let mut response = Response::new(Body::from(json.to_string()));
        *response.status_mut() = self.http;
        *response.headers_mut() = self.headers;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // An error is about this request at this moment: nobody keeps it for another.
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A library's status in our words: its own may name hosts and internals.
fn reworded(status: &Status) -> Status {
    use tonic::Code as Grpc;
    let known = match status.code() {
        Grpc::Unavailable => {
            tracing::warn!(%status, "a service cannot be reached");
            let told = "the service behind cannot be reached; try again shortly";
            return Code::Unavailable.retry_after(told, RETRY_DEFAULT);
        }
        Grpc::DeadlineExceeded | Grpc::Cancelled => {
            return Code::DeadlineExceeded.status("the service behind did not answer in time");
        }
        Grpc::ResourceExhausted => Code::Overloaded,
        Grpc::InvalidArgument => Code::InvalidRequest,
        Grpc::NotFound => Code::NotFound,
        Grpc::Unauthenticated => Code::Unauthenticated,
        Grpc::PermissionDenied => Code::PermissionDenied,
        _ => {
            tracing::error!(%status, "a service answered out of its contract");
            return Code::Internal
                .status("something went wrong; the request id finds it in the log");
        }
    };
    known.status(status.message())
}

fn details(status: &Status) -> Vec<Value> {
    let kind = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    let mut details = Vec::new();
    if let Some(info) = status.get_details_error_info() {
        let metadata: BTreeMap<_, _> = info.metadata.into_iter().collect();
        details.push(json!({
            "@type": kind("ErrorInfo"),
            "reason": info.reason,
            "domain": ERROR_DOMAIN,
            "metadata": metadata,
        }));
    }
    if let Some(bad) = status.get_details_bad_request() {
        let violations: Vec<_> = bad
            .field_violations
            .into_iter()
            .map(|bad| json!({"field": bad.field, "description": bad.description}))
            .collect();
        details.push(json!({"@type": kind("BadRequest"), "fieldViolations": violations}));
    }
    if let Some(wait) = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay)
    {
        details.push(json!({"@type": kind("RetryInfo"), "retryDelay": seconds(wait)}));
    }
    details
}

/// A duration as proto3 JSON writes it: `1.500s`.
fn seconds(wait: Duration) -> String {
    match wait.subsec_nanos() {
        0 => format!("{}s", wait.as_secs()),
        nanos if nanos % 1_000_000 == 0 => format!("{}.{:03}s", wait.as_secs(), nanos / 1_000_000),
        nanos => format!("{}.{nanos:09}s", wait.as_secs()),
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
