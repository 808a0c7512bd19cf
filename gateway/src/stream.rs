//! Server streams: one rpc's messages as server-sent events, or as JSON lines where the caller
//! accepts `application/x-ndjson`.
//!
//! | | `text/event-stream` | `application/x-ndjson` |
//! | --- | --- | --- |
//! | a message | `id:` its resume token, `event:` the oneof member that is set, `data:` its JSON | `{"result": …}` |
//! | nothing new | a comment | `{"heartbeat": {}}` |
//! | the end | `event: end`, `data: {"reason": …}` | `{"end": {"reason": …}}` |
//! | a failure | `event: error`, `data:` a `google.rpc.Status` | `{"error": …}` |
//!
//! An end with the reason `COMPLETE` is for good; after any other (see [`End`]), and after a stream
//! that breaks off, the app asks again with the last id in `Last-Event-ID`.
//!
//! A task of its own carries messages from the service to the caller's connection through a short
//! queue, so that the service is let go when the caller does not read, or has left.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, Response,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    },
};
use prost_reflect::DynamicMessage;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Instrument;

use crate::{
    auth::{Bearer, Gate},
    config::Config,
    limit::StreamPermit,
    problem::Problem,
    route::Binding,
    transcode::{self, Labels},
};

/// How long a client of event streams waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(1);

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events.
    Events,
    /// A JSON object per line.
    Lines,
}

/// Why a stream ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The service has told everything there is.
    Complete,
    /// The gateway is stopping.
    Draining,
    /// Nothing was told for the longest time allowed.
    Idle,
    /// The stream lasted for the longest time allowed.
    Lifetime,
}

/// What a stream needs beside its messages.
pub struct Watch {
    /// Which rpc it is.
    pub binding: std::sync::Arc<Binding>,
    /// How it is written.
    pub form: Form,
    /// Whose it is.
    pub bearer: Bearer,
    /// Who judges whether the token is still good.
    pub gate: Gate,
    /// Its bounds.
    pub config: std::sync::Arc<Config>,
    /// Its place among all streams.
    pub permit: StreamPermit,
    /// Cancelled when the gateway stops.
    pub shutdown: CancellationToken,
}

impl End {
    /// The reason as the caller reads it.
    pub fn reason(self) -> &'static str {
        match self {
            End::Complete => "COMPLETE",
            End::Draining => "DRAINING",
            End::Idle => "IDLE",
            End::Lifetime => "LIFETIME",
        }
    }
}

impl Form {
    /// What the caller accepts: lines where they are asked for, else events.
    pub fn accepted(headers: &HeaderMap) -> Form {
        let kinds = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let lines = kinds.flat_map(|value| value.split(',')).any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/x-ndjson")
        });
        if lines { Form::Lines } else { Form::Events }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Events => "text/event-stream",
            Form::Lines => "application/x-ndjson",
        })
    }

    /// Sent at once, so that the caller sees the stream begin.
    fn opening(self) -> Option<Bytes> {
        match self {
            Form::Events => Some(format!("retry: {}\n\n", RECONNECT.as_millis()).into()),
            Form::Lines => None,
        }
    }

    fn message(self, json: &[u8], labels: &Labels) -> Bytes {
        let json = String::from_utf8_lossy(json);
        match self {
            Form::Lines => format!("{{\"result\":{json}}}\n").into(),
            Form::Events => {
                let mut text = String::with_capacity(json.len() + 64);
                // A token that would break the line is left out: resuming is then from the start.
                if let Some(id) = labels.resume_token.as_deref().filter(|id| is_line(id)) {
                    text.extend(["id: ", id, "\n"]);
                }
                if let Some(event) = &labels.event {
                    text.extend(["event: ", event, "\n"]);
                }
                text.extend(["data: ", &json, "\n\n"]);
                text.into()
            }
        }
    }

    fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Form::Events => b": still here\n\n",
            Form::Lines => b"{\"heartbeat\":{}}\n",
        })
    }

    fn end(self, end: End) -> Bytes {
        let reason = end.reason();
        match self {
            Form::Events => format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n").into(),
            Form::Lines => format!("{{\"end\":{{\"reason\":\"{reason}\"}}}}\n").into(),
        }
    }

    fn failure(self, status: Status) -> Bytes {
        let json = Problem::from(status).json();
        match self {
            Form::Events => format!("event: error\ndata: {json}\n\n").into(),
            Form::Lines => format!("{{\"error\":{json}}}\n").into(),
        }
    }
}

/// Answers with the messages of a service's stream as they come.
pub fn respond(messages: Streaming<DynamicMessage>, watch: Watch) -> Response<Body> {
    let (queue, waiting) = mpsc::channel(watch.config.stream_queue);
    let form = watch.form;
    tokio::spawn(carry(messages, queue, watch).in_current_span());
    let body = ReceiverStream::new(waiting).map(Ok::<Bytes, Infallible>);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, form.content_type());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies in front must not collect events before they pass them on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn carry(mut messages: Streaming<DynamicMessage>, queue: mpsc::Sender<Bytes>, watch: Watch) {
    let Watch {
        binding,
        form,
        bearer,
        gate,
        config,
        permit,
        shutdown,
    } = watch;
    let told = |bytes| tell(&queue, bytes, config.unread_max);
    if let Some(opening) = form.opening()
        && !told(opening).await
    {
        return;
    }
    let start = Instant::now();
    let mut heard = start;
    let mut heartbeat = tokio::time::interval_at(start + config.heartbeat, config.heartbeat);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let last = loop {
        tokio::select! {
            // In this order: where one process is all of Jitney, the service's own farewell comes at the
            // same moment as our end, and its last words are no failure then.
            biased;
            // The caller has left: there is nobody to tell.
            () = queue.closed() => return,
            () = shutdown.cancelled() => break form.end(End::Draining),
            () = tokio::time::sleep_until(start + config.stream_lifetime_max) => {
                break form.end(End::Lifetime);
            }
            () = tokio::time::sleep_until(heard + config.stream_idle_max) => {
                break form.end(End::Idle);
            }
            _ = heartbeat.tick() => {
                if let Err(status) = gate.check_again(&bearer) {
                    break form.failure(status);
                }
                if !told(form.heartbeat()).await {
                    return;
                }
            }
            message = messages.message() => match message {
                Ok(Some(message)) => {
                    let labels = transcode::labels(&binding.rpc, &message);
                    let json = match transcode::to_json(&message) {
                        Ok(json) => json,
                        Err(status) => break form.failure(status),
                    };
                    if !told(form.message(&json, &labels)).await {
                        return;
                    }
                    heard = Instant::now();
                }
                Ok(None) => break form.end(End::Complete),
                Err(status) => break form.failure(status),
            },
        }
    };
    // The service is let go before the caller hears the last of it.
    drop(messages);
    told(last).await;
    drop(permit);
}

/// Whether it was put into the queue; not when the caller has left or has stopped reading.
async fn tell(queue: &mpsc::Sender<Bytes>, bytes: Bytes, unread_max: Duration) -> bool {
    matches!(
        tokio::time::timeout(unread_max, queue.send(bytes)).await,
        Ok(Ok(()))
    )
}

fn is_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_and_lines_are_written_as_the_table_says() {
        let labels = Labels {
            resume_token: Some("7".to_owned()),
            event: Some("trip".to_owned()),
        };
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let event = text(Form::Events.message(br#"{"a":1}"#, &labels));
        assert_eq!(event, "id: 7\nevent: trip\ndata: {\"a\":1}\n\n");
        let event = text(Form::Events.message(br#"{"a":1}"#, &Labels::default()));
        assert_eq!(event, "data: {\"a\":1}\n\n");
        let broken = Labels {
            resume_token: Some("7\ndata: x".to_owned()),
            event: None,
        };
        assert_eq!(text(Form::Events.message(b"{}", &broken)), "data: {}\n\n");
        assert_eq!(
            text(Form::Lines.message(b"{}", &labels)),
            "{\"result\":{}}\n"
        );
        assert_eq!(
            text(Form::Lines.end(End::Idle)),
            "{\"end\":{\"reason\":\"IDLE\"}}\n"
        );
        assert!(
            text(Form::Events.failure(Status::unknown("x"))).starts_with("event: error\ndata: {")
        );
    }

    #[test]
    fn lines_are_written_where_they_are_asked_for() {
        let accepting = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, value.parse().unwrap());
            Form::accepted(&headers)
        };
        assert_eq!(Form::accepted(&HeaderMap::new()), Form::Events);
        assert_eq!(accepting("*/*"), Form::Events);
        assert_eq!(accepting("text/event-stream"), Form::Events);
        assert_eq!(
            accepting("text/html, Application/x-NDJSON;q=0.9"),
            Form::Lines
        );
    }
}
