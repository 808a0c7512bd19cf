//! Calls that did not give their answer: what the server said, and whether it is worth asking again.

use std::time::Duration;

use reqwest::header;
use serde::Deserialize;

/// Why a call did not give its answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody answered.
    #[error("cannot reach the gateway at {url}: {cause}")]
    Unreachable { url: String, cause: String },
    /// The gateway said no.
    #[error("{route} was refused with {http} {reason}: {message}")]
    Refused {
        route: &'static str,
        http: u16,
        reason: String,
        message: String,
        retry_after: Option<Duration>,
    },
    /// The answer is not what the API says it is.
    #[error("{route} answered something else than the API says: {cause}")]
    Garbled { route: &'static str, cause: String },
    /// There is no token to call with.
    #[error("no token for {id}: {cause}")]
    NoToken { id: String, cause: String },
}

impl CallError {
    /// The `reason` of a refusal.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether the same call may go through later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            // A locked PIN is answered 429 too, and stays locked.
            Self::Refused { http, reason, .. } => {
                matches!(http, 429 | 502 | 503 | 504) && reason != "PIN_LOCKED"
            }
            Self::Garbled { .. } | Self::NoToken { .. } => false,
        }
    }

    /// Whether the server is at fault, by its own contract.
    pub fn is_defect(&self) -> bool {
        matches!(
            self,
            Self::Garbled { .. }
                | Self::Refused {
                    http: 500 | 501,
                    ..
                }
        )
    }

    /// A short name to count by, for example `POST /v1/trips: 400 QUOTE_EXPIRED`.
    pub fn label(&self, route: &str) -> String {
        match self {
            Self::Unreachable { .. } => format!("{route}: unreachable"),
            Self::Refused { http, reason, .. } => format!("{route}: {http} {reason}"),
            Self::Garbled { .. } => format!("{route}: garbled answer"),
            Self::NoToken { .. } => format!("{route}: no token"),
        }
    }
}

/// Reads what a refusal says.
pub(crate) async fn refusal(route: &'static str, response: reqwest::Response) -> CallError {
    let http = response.status().as_u16();
    let header = response.headers().get(header::RETRY_AFTER);
    let retry_after = header
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = response.bytes().await.unwrap_or_default();
    let problem = Problem::read(&body);
    CallError::Refused {
        route,
        http,
        reason: problem.reason().unwrap_or("no reason").to_owned(),
        message: problem.message,
        retry_after,
    }
}

/// A `google.rpc.Status` as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// For people.
    pub message: String,
    details: Vec<serde_json::Map<String, serde_json::Value>>,
}

impl Problem {
    /// Reads a body; one that is no problem of ours gives its beginning as the message.
    pub fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| {
            let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
            Self {
                message: text,
                details: Vec::new(),
            }
        })
    }

    /// What programs switch on.
    pub fn reason(&self) -> Option<&str> {
        self.details
            .iter()
            .find_map(|detail| detail.get("reason")?.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_its_reason() {
        let body = br#"{"code": 9, "message": "the offer ran out", "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"},
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "OFFER_NOT_OPEN",
             "domain": "jitney", "metadata": {}}]}"#;
        let problem = Problem::read(body);
        assert_eq!(problem.reason(), Some("OFFER_NOT_OPEN"));
        assert_eq!(problem.message, "the offer ran out");
    }

    #[test]
    fn a_page_of_somebody_else_is_quoted() {
        let problem = Problem::read(b"<html>Bad gateway</html>");
        assert_eq!(problem.reason(), None);
        assert!(problem.message.contains("Bad gateway"));
    }

    fn refused(http: u16, reason: &str) -> CallError {
        let (reason, message) = (reason.to_owned(), "no".to_owned());
        CallError::Refused {
            route: "POST /v1/trips",
            http,
            reason,
            message,
            retry_after: None,
        }
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        assert!(refused(503, "UNAVAILABLE").is_passing());
        assert!(refused(429, "OVERLOADED").is_passing());
        assert!(!refused(429, "PIN_LOCKED").is_passing());
        assert!(!refused(400, "QUOTE_EXPIRED").is_passing());
        assert!(refused(500, "INTERNAL").is_defect());
        assert!(!refused(503, "UNAVAILABLE").is_defect());
        let error = refused(400, "QUOTE_EXPIRED");
        assert_eq!(
            error.label("POST /v1/trips"),
            "POST /v1/trips: 400 QUOTE_EXPIRED"
        );
        assert_eq!(
            error.to_string(),
            "POST /v1/trips was refused with 400 QUOTE_EXPIRED: no"
        );
    }
}
