//! Streams of requests, as WebSockets: one JSON message per text frame, in each direction. An empty
//! text frame says that the app has no more to send; the service may go on answering. A stream of
//! requests with one answer is answered in the last frame, before the close.
//!
//! A socket that ends for a reason other than the app's own wish is told why twice: a last frame
//! `{"error": <google.rpc.Status>}` for programs that want the details, and the close code:
//!
//! | close code | meaning |
//! | --- | --- |
//! | 1000 | the service has ended the stream; all is well |
//! | 1001 | the gateway is stopping (`DRAINING`) or the socket is old (`LIFETIME`): connect again |
//! | 1002 | a frame could not be read at all |
//! | 1003 | a binary frame came; messages are text |
//! | 1009 | a frame was larger than allowed |
//! | 4400 | the frame or the request was refused (`INVALID_REQUEST`, `STREAM_ORDER`, …) |
//! | 4401 | the token has expired: get a new one and connect again |
//! | 4403, 4404, 4409, 4429 | as the HTTP status: not allowed, not found, superseded, too much |
//! | 4408 | the app did not answer pings |
//! | 4499, 4500, 4501, 4503, 4504 | as the HTTP status: cancelled, a defect, not served, unavailable, too slow |
//!
//! The close reason begins with the error's `reason`. Queues are short on both sides: an app that
//! sends faster than the service takes in, or does not read, is slowed down and then cut.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{
        FromRequestParts,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{Response, header::UPGRADE, request},
};
use futures::{Sink, SinkExt, Stream, StreamExt, TryStreamExt, stream};
use jitney_proto::{Code, code::http_status};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::json;
use tokio::{pin, sync::mpsc, time::Instant, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status};
use tracing::Instrument;

use crate::{
    auth::{Bearer, Gate, SUBPROTOCOL},
    config::Config,
    limit::StreamPermit,
    problem::Problem,
    route::{Binding, Shape},
    stream::End,
    transcode,
    upstream::Upstream,
};

/// How long the other side may take to answer a close frame.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// How long the service may take over what was sent before the app left.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Silence, in heartbeats, after which the app is taken for gone.
const SILENT_HEARTBEATS: u32 = 3;
/// The longest close reason the protocol can hold, bytes.
const REASON_BYTES_MAX: usize = 123;

/// What a socket needs beside its frames.
pub struct Line {
    /// Which rpc it is.
    pub binding: Arc<Binding>,
    /// The call's metadata.
    pub metadata: tonic::metadata::MetadataMap,
    /// The services.
    pub upstream: Arc<Upstream>,
    /// Whose it is.
    pub bearer: Bearer,
    /// Who judges whether the token is still good.
    pub gate: Gate,
    /// Its bounds.
    pub config: Arc<Config>,
    /// Its place among all streams.
    pub permit: StreamPermit,
    /// Cancelled when the gateway stops.
    pub shutdown: CancellationToken,
    /// Where the socket counts as a task, so that stopping waits for its goodbye.
    pub tasks: TaskTracker,
}

/// Why a socket ends.
#[derive(Debug)]
enum Farewell {
    /// The app said goodbye, or is gone without a word.
    App,
    /// The app did not read what was sent.
    Unread,
    /// The gateway's own wish.
    Ended(End),
    /// Something was wrong; the code overrides the status's own.
    Failed(Status, Option<u16>),
}

/// Answers an upgrade, and carries frames once it is done. Not an upgrade: 426.
pub async fn respond(parts: &mut request::Parts, line: Line) -> Result<Response<Body>, Problem> {
    let asked = parts
        .headers
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok());
    if !asked.is_some_and(|asked| asked.eq_ignore_ascii_case("websocket")) {
        return Err(Problem::upgrade_required());
    }
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
        .await
        .map_err(|rejection| Code::InvalidRequest.status(rejection.body_text()))?;
    // A little above our own bound, so that it is ours that answers; far above it the line is cut.
    let bytes_max = 4 * line.config.frame_bytes_max;
    Ok(upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(bytes_max)
        .max_frame_size(bytes_max)
        .on_upgrade(move |socket| carry(socket, line).in_current_span()))
}

async fn carry(socket: WebSocket, line: Line) {
    let _counted = line.tasks.token();
    let (mut sink, mut source) = socket.split();
    let (up, waiting) = mpsc::channel(line.config.stream_queue);
    let rpc = line.binding.rpc.clone();
    let mut request = Request::new(ReceiverStream::new(waiting));
    *request.metadata_mut() = line.metadata.clone();
    let call = (line.upstream.clone(), rpc.clone());
    let down = match rpc.shape {
        Shape::ClientStream => {
            stream::once(async move { call.0.client_stream(&call.1, request).await }).left_stream()
        }
        _ => stream::once(async move { call.0.both_ways(&call.1, request).await })
            .try_flatten()
            .right_stream(),
    };
    pin!(down);
    let heard = Heard::now();
    let farewell = {
        let listening = listen(&mut source, up, &rpc.input, &heard, &line.config);
        converse(listening, down.as_mut(), &mut sink, &heard, &line).await
    };
    tracing::debug!(?farewell, "a socket ends");
    let settle_max = match farewell {
        Farewell::Unread => Duration::ZERO,
        _ if line.shutdown.is_cancelled() => GOODBYE_MAX,
        _ => SETTLE_MAX,
    };
    // `up` is gone by now: the service takes in what was sent, sees the end and ends its side.
    let settle = timeout(settle_max, async {
        while let Some(Ok(_)) = down.next().await {}
    });
    let part = async {
        if part(&mut sink, farewell).await {
            // Closing over unread frames would tear the connection down before our last words.
            let _ = timeout(GOODBYE_MAX, async {
                while let Some(Ok(_)) = source.next().await {}
            })
            .await;
        }
    };
    let _ = tokio::join!(settle, part);
    drop(line.permit);
}

/// Everything between the upgrade and the farewell.
async fn converse(
    listening: impl Future<Output = Farewell>,
    mut down: impl Stream<Item = Result<DynamicMessage, Status>> + Unpin,
    sink: &mut (impl Sink<Message> + Unpin),
    heard: &Heard,
    line: &Line,
) -> Farewell {
    pin!(listening);
    let config = &line.config;
    let start = Instant::now();
    let mut heartbeat = tokio::time::interval_at(start + config.heartbeat, config.heartbeat);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let frame = tokio::select! {
            // In this order, as for event streams: the end of the gateway comes before that of a service.
            biased;
            farewell = &mut listening => return farewell,
            () = line.shutdown.cancelled() => return Farewell::Ended(End::Draining),
            () = tokio::time::sleep_until(start + config.stream_lifetime_max) => {
                return Farewell::Ended(End::Lifetime);
            }
            _ = heartbeat.tick() => {
                if let Err(status) = line.gate.check_again(&line.bearer) {
                    return Farewell::Failed(status, None);
                }
                if heard.silence() > config.heartbeat * SILENT_HEARTBEATS {
                    let status = Code::DeadlineExceeded.status("pings were not answered");
                    return Farewell::Failed(status, Some(4408));
                }
                Message::Ping(Bytes::new())
            }
            message = down.next() => match message {
                None => return Farewell::Ended(End::Complete),
                Some(Err(status)) => return Farewell::Failed(status, None),
                Some(Ok(message)) => match transcode::to_json(&message).map(String::from_utf8) {
                    Ok(Ok(json)) => Message::Text(json.into()),
                    Ok(Err(_)) => continue,
                    Err(status) => return Farewell::Failed(status, None),
                },
            },
        };
        match timeout(config.unread_max, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Farewell::App,
            Err(_) => return Farewell::Unread,
        }
    }
}

/// Reads frames into messages until something ends it.
async fn listen<E>(
    mut source: impl Stream<Item = Result<Message, E>> + Unpin,
    up: mpsc::Sender<DynamicMessage>,
    input: &MessageDescriptor,
    heard: &Heard,
    config: &Config,
) -> Farewell {
    let frame_bytes_max = config.frame_bytes_max;
    let mut up = Some(up);
    let refused = |told: String, code| Farewell::Failed(Code::InvalidRequest.status(told), code);
    while let Some(frame) = source.next().await {
        heard.again();
        match frame {
            Err(_) => {
                let told = format!("a frame is malformed, or far above {frame_bytes_max} bytes");
                return refused(told, Some(1002));
            }
            Ok(Message::Text(text)) if text.len() > frame_bytes_max => {
                return refused(
                    format!("the frame is above {frame_bytes_max} bytes"),
                    Some(1009),
                );
            }
            Ok(Message::Text(text)) if text.is_empty() => up = None,
            Ok(Message::Text(text)) => {
                let Some(up) = &up else {
                    let told = "a message came after the end of messages";
                    return refused(told.into(), None);
                };
                let unknown = config.unknown_fields;
                match transcode::from_json(input, text.as_bytes(), unknown) {
                    Err(status) => return Farewell::Failed(status, None),
                    Ok(message) => {
                        if up.send(message).await.is_err() {
                            // The call has ended; its own end tells how.
                            return std::future::pending().await;
                        }
                    }
                }
            }
            Ok(Message::Binary(_)) => {
                return refused(
                    "messages are text frames, this one is binary".into(),
                    Some(1003),
                );
            }
            Ok(Message::Close(_)) => return Farewell::App,
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
        }
    }
    Farewell::App
}

/// Says why; whether it is worth waiting for an answer.
async fn part(sink: &mut (impl Sink<Message> + Unpin), farewell: Farewell) -> bool {
    let (error, code, reason) = match farewell {
        // The close frame of the app is answered by the protocol's own hand.
        Farewell::App => {
            let _ = timeout(GOODBYE_MAX, sink.close()).await;
            return false;
        }
        Farewell::Unread => return false,
        Farewell::Ended(End::Complete) => (None, 1000, String::new()),
        Farewell::Ended(end) => (None, 1001, end.reason().to_owned()),
        Farewell::Failed(status, code) => {
            let problem = Problem::from(status);
            let code = code.unwrap_or(4000 + http_status(problem.status().code()));
            let known = Code::of(problem.status()).map_or("UNKNOWN", Code::reason);
            let reason = format!("{known}: {}", problem.status().message());
            (
                Some(json!({"error": problem.json()}).to_string()),
                code,
                reason,
            )
        }
    };
    let close = CloseFrame {
        code,
        reason: cut(&reason, REASON_BYTES_MAX).into(),
    };
    let words = async {
        if let Some(error) = error {
            sink.feed(Message::Text(error.into())).await?;
        }
        sink.send(Message::Close(Some(close))).await
    };
    matches!(timeout(GOODBYE_MAX, words).await, Ok(Ok(())))
}

/// The longest beginning of a text that fits, on a character's border.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// When the app was last heard of.
struct Heard {
    start: Instant,
    after_ms: AtomicU64,
}

impl Heard {
    fn now() -> Heard {
        Heard {
            start: Instant::now(),
            after_ms: AtomicU64::new(0),
        }
    }

    fn again(&self) {
        self.after_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        let last = self.after_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.elapsed_ms().saturating_sub(last))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("short", 123), "short");
        assert_eq!(cut(&"ä".repeat(100), 123).len(), 122);
    }
}
