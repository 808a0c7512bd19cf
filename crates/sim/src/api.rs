//! The public gateway as an app sees it: REST calls with retries, and what refusals say.
//!
//! Every call of the API may be repeated, so whatever does not get through is: after a broken
//! connection, an answer of 429, 502, 503 or 504, until the configured patience is over.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jitney_proto::common::v1::Role;
use prost::{Message, Name};
use reqwest::{Method, StatusCode, header};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    chance::Backoff,
    chronicle::Chronicle,
    config::TokenSource,
    json::{from_json, to_json},
    refusal::{CallError, refusal},
};

/// How long one try of a call may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a try may take that begins when patience is nearly over.
const LAST_TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a bearer token is used before a new one is asked for.
const BEARER_AGE_MAX: Duration = Duration::from_secs(300);
/// How long calls are still repeated once the city closes.
const CLOSING_PATIENCE: Duration = Duration::from_secs(3);

/// The gateway, shared by everybody.
pub(crate) struct Api {
    http: reqwest::Client,
    /// Without a slash at the end.
    base_url: String,
    tokens: TokenSource,
    patience: Duration,
    /// Once cancelled, calls are repeated for a short while only.
    closing: CancellationToken,
    chronicle: Arc<Chronicle>,
}

impl Api {
    pub fn new(
        gateway_url: &str,
        tokens: TokenSource,
        patience: Duration,
        closing: CancellationToken,
        chronicle: Arc<Chronicle>,
    ) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .build()?;
        let base_url = gateway_url.trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            base_url,
            tokens,
            patience,
            closing,
            chronicle,
        })
    }

    /// The gateway's address.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Somebody's way to call.
    pub fn badge(self: &Arc<Self>, role: Role, id: impl Into<String>, backoff: Backoff) -> Badge {
        Badge {
            api: Arc::clone(self),
            role,
            id: id.into(),
            bearer: Mutex::default(),
            backoff: Mutex::new(backoff),
        }
    }
}

/// A call that is not made yet.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    /// The route with its variables by name, to count by.
    route: &'static str,
    path: String,
    body: Option<String>,
    idempotency_key: Option<String>,
    patience: Option<Duration>,
}

impl Call {
    pub fn get(route: &'static str, path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            route,
            path: path.into(),
            body: None,
            idempotency_key: None,
            patience: None,
        }
    }

    pub fn post<M: Message + Name>(route: &'static str, path: impl Into<String>, body: &M) -> Self {
        // The descriptors are built in, so every message of the API has a JSON form.
        let body = Some(to_json(body).unwrap_or_default());
        Self {
            method: Method::POST,
            body,
            ..Self::get(route, path)
        }
    }

    pub fn put<M: Message + Name>(route: &'static str, path: impl Into<String>, body: &M) -> Self {
        Self {
            method: Method::PUT,
            ..Self::post(route, path, body)
        }
    }

    pub fn with_idempotency_key(self, key: impl Into<String>) -> Self {
        Self {
            idempotency_key: Some(key.into()),
            ..self
        }
    }

    /// Repeated for this long instead of the configured patience.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }
}

/// Somebody who calls the gateway, with their token.
pub(crate) struct Badge {
    api: Arc<Api>,
    role: Role,
    id: String,
    bearer: Mutex<Option<(String, Instant)>>,
    backoff: Mutex<Backoff>,
}

impl Badge {
    /// Whose it is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Calls until there is an answer, a final refusal, or patience is over.
    pub async fn call<A: Message + Name + Default>(&self, call: Call) -> Result<A, CallError> {
        let started = Instant::now();
        let mut had_new_token = false;
        loop {
            let patience = call.patience.unwrap_or(self.api.patience);
            let patience = match self.api.closing.is_cancelled() {
                true => patience.min(CLOSING_PATIENCE),
                false => patience,
            };
            let deadline = (started + patience).max(Instant::now() + LAST_TRY_TIMEOUT);
            let error = match self.attempt(&call, deadline).await {
                Ok(answer) => {
                    lock(&self.backoff).reset();
                    self.api.chronicle.call_answered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            self.api.chronicle.call_failed(call.route, &error);
            let is_token_refused = matches!(error, CallError::Refused { http: 401, .. });
            if is_token_refused && !had_new_token {
                had_new_token = true;
                self.drop_token();
                continue;
            }
            let mut wait = lock(&self.backoff).step();
            if let CallError::Refused {
                retry_after: Some(hint),
                ..
            } = &error
            {
                wait = wait.max(*hint);
            }
            if !error.is_passing() || started.elapsed() + wait > patience {
                return Err(error);
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = self.api.closing.cancelled() => sleep(wait.min(CLOSING_PATIENCE / 10)).await,
            }
        }
    }

    /// Opens a stream of server-sent events, once.
    pub async fn open_events(
        &self,
        route: &'static str,
        path: &str,
        last_event_id: &str,
    ) -> Result<reqwest::Response, CallError> {
        let mut request = self
            .request(Method::GET, path)?
            .header("accept", "text/event-stream");
        if !last_event_id.is_empty() {
            request = request.header("last-event-id", last_event_id);
        }
        let opened = timeout_at(Instant::now() + TRY_TIMEOUT, async {
            let response = request
                .send()
                .await
                .map_err(|error| self.unreachable(&error))?;
            match response.status() {
                StatusCode::OK => Ok(response),
                _ => Err(refusal(route, response).await),
            }
        });
        let result = opened.await.unwrap_or_else(|_| Err(self.timed_out()));
        if let Err(error) = &result {
            self.api.chronicle.call_failed(route, error);
            if matches!(error, CallError::Refused { http: 401, .. }) {
                self.drop_token();
            }
        }
        result
    }

    /// The address of a WebSocket.
    pub fn socket_url(&self, path: &str) -> String {
        format!("ws{}{path}", self.api.base_url.trim_start_matches("http"))
    }

    /// The value of the `Authorization` header.
    pub fn authorization(&self) -> Result<String, CallError> {
        let mut bearer = lock(&self.bearer);
        if let Some((token, since)) = &*bearer
            && since.elapsed() < BEARER_AGE_MAX
        {
            return Ok(format!("Bearer {token}"));
        }
        let token = self
            .api
            .tokens
            .token(self.role, &self.id)
            .map_err(|error| CallError::NoToken {
                id: self.id.clone(),
                cause: format!("{error:#}"),
            })?;
        let value = format!("Bearer {token}");
        *bearer = Some((token, Instant::now()));
        Ok(value)
    }

    /// The token was refused: asks for a new one next time.
    pub fn drop_token(&self) {
        *lock(&self.bearer) = None;
    }

    async fn attempt<A: Message + Name + Default>(
        &self,
        call: &Call,
        deadline: Instant,
    ) -> Result<A, CallError> {
        let mut request = self.request(call.method.clone(), &call.path)?;
        if let Some(body) = &call.body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let answered = timeout_at(deadline.min(Instant::now() + TRY_TIMEOUT), async {
            let response = request
                .send()
                .await
                .map_err(|error| self.unreachable(&error))?;
            if !response.status().is_success() {
                return Err(refusal(call.route, response).await);
            }
            let body = response
                .bytes()
                .await
                .map_err(|error| self.unreachable(&error))?;
            from_json(&body).map_err(|error| CallError::Garbled {
                route: call.route,
                cause: error.to_string(),
            })
        });
        answered.await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, CallError> {
        let url = format!("{}{path}", self.api.base_url);
        let authorization = self.authorization()?;
        Ok(self
            .api
            .http
            .request(method, url)
            .header(header::AUTHORIZATION, authorization))
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        // The innermost cause says what happened; the outer ones repeat the URL.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        CallError::Unreachable {
            url: self.api.base_url.clone(),
            cause: cause.to_string(),
        }
    }

    fn timed_out(&self) -> CallError {
        let cause = "no answer in time".to_owned();
        CallError::Unreachable {
            url: self.api.base_url.clone(),
            cause,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
