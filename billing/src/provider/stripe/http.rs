//! Calls to Stripe: form-encoded there, JSON back, and what a refusal means.

use std::{fmt, fs, path::Path};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::provider::Outcome;

/// The version of the API that this is written for.
const VERSION: &str = "2024-06-20";
/// The largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A text that is never shown.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    /// Reads the file that `setting` names.
    pub(super) fn read(setting: &str, file: &Path) -> anyhow::Result<Secret> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{setting}: cannot read {}", file.display()))?;
        let text = text.trim();
        anyhow::ensure!(
            !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()),
            "{setting}: {} does not hold one line of plain characters",
            file.display()
        );
        Ok(Secret(text.to_owned()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A way to Stripe. The caller sets how long a call may take.
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base_url: String,
    secret: Secret,
}

impl Http {
    pub(super) fn new(base_url: &str, secret: Secret) -> anyhow::Result<Http> {
        let setting = "billing.provider.stripe.base_url";
        let base_url = base_url.trim_end_matches('/');
        let uri: Uri = base_url
            .parse()
            .with_context(|| format!("{setting}: {base_url:?}"))?;
        let is_here = matches!(uri.host(), Some("127.0.0.1" | "[::1]" | "localhost"));
        anyhow::ensure!(
            uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && is_here),
            "{setting} must begin with https://, not {base_url:?}"
        );
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .context("cannot prepare TLS")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Http {
            client: Client::builder(TokioExecutor::new()).build(https),
            base_url: base_url.to_owned(),
            secret,
        })
    }

    /// Asks for something to be done, once per key.
    pub(super) async fn post(
        &self,
        path: &str,
        key: &str,
        fields: &[(&str, &str)],
    ) -> Result<Value, Outcome> {
        let body = encoded(fields);
        self.call(Method::POST, path, Some(key), body).await
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Outcome> {
        let path = format!("{path}?{}", encoded(query));
        self.call(Method::GET, &path, None, String::new()).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: String,
    ) -> Result<Value, Outcome> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base_url))
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.secret.expose()),
            )
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("stripe-version", VERSION);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(Outcome::unknown)?;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(Outcome::unknown)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(Outcome::unknown)?.to_bytes();
        judged(status, &body)
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// What an answer means: what was made or read, or that it was refused for good, or that there is no telling.
/// Only what Stripe says about the card or the request itself is for good.
fn judged(status: StatusCode, body: &[u8]) -> Result<Value, Outcome> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Err(Outcome::unknown(format!("HTTP {status} without JSON")));
    };
    if status.is_success() {
        return Ok(value);
    }
    let error = &value["error"];
    let word = |name: &str| error[name].as_str().unwrap_or_default();
    // Codes only: messages may repeat what was sent.
    let words: Vec<_> = [word("type"), word("code"), word("decline_code")]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect();
    let said = format!("HTTP {}: {}", status.as_u16(), words.join(", "));
    let may_be_done = matches!(
        word("code"),
        "payment_intent_unexpected_state"
            | "charge_already_captured"
            | "charge_already_refunded"
            | "idempotency_key_in_use"
            | "lock_timeout"
            | "rate_limit"
    ) || word("type") == "idempotency_error";
    match status.as_u16() {
        400 | 402 | 404 if !may_be_done => Err(Outcome::Declined { reason: said }),
        _ => Err(Outcome::unknown(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_card_or_the_request_is_for_good() {
        let refused = |status: u16, error: &str| {
            let body = format!(r#"{{"error": {error}}}"#);
            let status = StatusCode::from_u16(status).unwrap();
            matches!(
                judged(status, body.as_bytes()),
                Err(Outcome::Declined { .. })
            )
        };
        assert!(refused(
            402,
            r#"{"type": "card_error", "code": "card_declined"}"#
        ));
        assert!(refused(
            400,
            r#"{"type": "invalid_request_error", "code": "parameter_missing"}"#
        ));
        assert!(refused(404, r#"{"code": "resource_missing"}"#));
        assert!(!refused(
            400,
            r#"{"code": "payment_intent_unexpected_state"}"#
        ));
        assert!(!refused(400, r#"{"type": "idempotency_error"}"#));
        for status in [401, 403, 409, 424, 429, 500, 502, 503] {
            assert!(!refused(status, r#"{"type": "api_error"}"#), "{status}");
        }
        assert!(matches!(
            judged(StatusCode::OK, b"<html>"),
            Err(Outcome::Unknown { .. })
        ));
    }

    #[test]
    fn secrets_are_not_shown_and_go_nowhere_in_the_clear() {
        let secret = Secret("sk_test_1".to_owned());
        assert_eq!(format!("{secret:?}"), "(secret)");
        for bad in ["http://api.stripe.com", "ftp://x", "", "api.stripe.com"] {
            assert!(Http::new(bad, secret.clone()).is_err(), "{bad}");
        }
        assert!(Http::new("https://api.stripe.com/", secret.clone()).is_ok());
        assert!(Http::new("http://127.0.0.1:1", secret).is_ok());
    }
}
