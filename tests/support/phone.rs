//! A phone: REST calls as one person, and what came back.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

/// One person's REST client.
#[derive(Clone)]
pub struct Phone {
    client: reqwest::Client,
    base: String,
    /// The bearer token; empty sends none.
    pub token: String,
    /// The id in the token.
    pub id: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON body; null when it was not JSON.
    pub body: Value,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    /// The body of a call that must have worked.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.body
    }

    /// Checks a refusal: its status and the reason programs switch on. Gives the message.
    #[track_caller]
    pub fn refused(self, status: u16, reason: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.reason(), reason, "{}", self.body);
        self.body["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The `reason` of the error's ErrorInfo; empty when there is none.
    pub fn reason(&self) -> &str {
        self.body["details"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|detail| detail["reason"].as_str())
            .unwrap_or_default()
    }
}

impl Phone {
    /// A client of the gateway at `base`.
    pub fn new(base: &str, id: &str, token: String) -> Self {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self {
            client,
            base: base.to_owned(),
            token,
            id: id.to_owned(),
        }
    }

    /// A request that has not been sent; for what the shorthands do not say.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        if self.token.is_empty() {
            request
        } else {
            request.bearer_auth(&self.token)
        }
    }

    /// Sends and reads the whole answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.try_send(request).await.expect("the gateway answers")
    }

    /// As [`Phone::send`]; an error when the gateway is not there.
    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            body,
            headers,
        })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    /// POST with a JSON body and an `Idempotency-Key`.
    pub async fn post_keyed(&self, path: &str, key: &str, body: Value) -> Answer {
        self.send(
            self.request(Method::POST, path)
                .header("Idempotency-Key", key)
                .json(&body),
        )
        .await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    /// The response of a GET that streams.
    pub async fn stream(&self, path: &str) -> reqwest::Response {
        let response = self
            .request(Method::GET, path)
            .header("Accept", "text/event-stream")
            .send()
            .await
            .expect("the gateway answers");
        assert!(response.status().is_success(), "{}", response.status());
        response
    }

    /// The WebSocket URL of a path.
    pub fn socket_url(&self, path: &str) -> String {
        format!("{}{path}", self.base.replacen("http", "ws", 1))
    }
}
