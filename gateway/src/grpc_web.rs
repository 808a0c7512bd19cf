//! gRPC-Web: what browsers with a generated client speak, at the rpcs' own gRPC paths. The same rpcs
//! as over REST, for the same callers, within the same bounds; calls and server streams, since a
//! browser cannot stream up.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body as AxumBody, Bytes},
    http::{
        HeaderMap, Method, Request, Response,
        header::{CONTENT_TYPE, HeaderValue},
        request,
    },
};
use http_body_util::{BodyStream, Limited, StreamBody};
use hyper::body::Frame;
use jitney_platform::client::Channel;
use jitney_proto::Code;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, sleep_until, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    auth::{Bearer, Gate},
    handler::Handler,
    limit::{CallPermit, StreamPermit},
    route::{Rpc, Shape},
    surround::REQUEST_ID,
};

/// Whether a request is one of these.
pub fn is_asked(method: &Method, headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    method == Method::POST && kind.is_some_and(|kind| kind.starts_with("application/grpc-web"))
}

/// Answers one, whatever happens, in its own form.
pub async fn answer(handler: Arc<Handler>, request: Request<AxumBody>) -> Response<AxumBody> {
    let calls = service_fn(move |request: Request<Body>| {
        let handler = handler.clone();
        async move {
            let answer = call(&handler, request).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(Status::into_http))
        }
    });
    match GrpcWebLayer::new().layer(calls).oneshot(request).await {
        Ok(response) => response.map(AxumBody::new),
        Err(never) => match never {},
    }
}

async fn call(handler: &Handler, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let origin = handler.origin(&parts);
    if let Some(origin) = origin {
        handler.limits.address(origin)?;
    }
    let known = handler.routes.rpc(parts.uri.path());
    let rpc = known
        .ok_or_else(|| Status::unimplemented("there is no such rpc"))?
        .clone();
    let bearer = handler.admit(rpc.path.as_str(), &parts.headers, origin)?;
    handler.limits.request(&bearer.caller)?;
    let room = match rpc.shape {
        Shape::Unary => Room::Call(handler.limits.call().map_err(into_status)?),
        Shape::ServerStream => {
            Room::Stream(handler.limits.stream(&bearer.caller).map_err(into_status)?)
        }
        Shape::ClientStream | Shape::Bidirectional => {
            let told = "a browser cannot stream up: use the WebSocket";
            return Err(Status::unimplemented(told));
        }
    };
    let time = handler.time_of(&parts);
    let forwarded = forwarded(&rpc, &parts, &bearer, body, handler)?;
    let channel: Channel = handler.upstream.channel(&rpc)?;
    let answered = timeout(time, channel.oneshot(forwarded)).await;
    let answered = answered
        .map_err(|_| Code::DeadlineExceeded.status("the service behind did not answer in time"))?;
    let response = answered.map_err(Status::from_error)?;
    let config = &handler.config;
    let start = Instant::now();
    let lasting = match rpc.shape {
        Shape::Unary => time,
        _ => config.stream_lifetime_max,
    };
    let mut heartbeat = tokio::time::interval_at(start + config.heartbeat, config.heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(response.map(|inner| {
        Body::new(Watched {
            inner,
            bearer,
            gate: handler.gate.clone(),
            heartbeat,
            end: Box::pin(sleep_until(start + lasting)),
            stopping: Box::pin(handler.shutdown.clone().cancelled_owned()),
            is_stream: rpc.shape != Shape::Unary,
            frames: Frames::default(),
            last: None,
            ended: false,
            _room: room,
        })
    }))
}

fn into_status(problem: crate::problem::Problem) -> Status {
    problem.status().clone()
}

/// The call as the service gets it: of the browser's headers only those that mean something to it.
fn forwarded(
    rpc: &Rpc,
    parts: &request::Parts,
    bearer: &Bearer,
    body: Body,
    handler: &Handler,
) -> Result<Request<Body>, Status> {
    let body = Limited::new(body, handler.config.body_bytes_max);
    // Unpacked from text it is shorter than it says; as a stream it says nothing.
    let body = StreamBody::new(BodyStream::new(body));
    let mut request = Request::new(Body::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = rpc
        .path
        .as_str()
        .parse()
        .map_err(|_| Status::internal("the path"))?;
    *request.version_mut() = axum::http::Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    bearer.forward_in(headers);
    if let Some(id) = parts.headers.get(REQUEST_ID) {
        headers.insert(REQUEST_ID, id.clone());
    }
    if rpc.shape == Shape::Unary {
        let millis = handler.time_of(parts).as_millis().min(99_999_999);
        let timeout = HeaderValue::from_str(&format!("{millis}m"));
        headers.insert(
            "grpc-timeout",
            timeout.map_err(|_| Status::internal("the time"))?,
        );
    }
    Ok(request)
}

/// Held while the answer is being sent.
enum Room {
    Call(#[allow(dead_code)] CallPermit),
    Stream(#[allow(dead_code)] StreamPermit),
}

/// An answer that ends when its token does, when it has lasted long enough, and when the gateway stops.
struct Watched {
    inner: Body,
    bearer: Bearer,
    gate: Gate,
    heartbeat: Interval,
    end: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    is_stream: bool,
    frames: Frames,
    /// Why it ends, once it does: when the message under way is whole.
    last: Option<Status>,
    ended: bool,
    _room: Room,
}

/// Where messages end in the bytes that pass by: each has five bytes before it, the last four of them
/// its length.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    left: usize,
}

impl Frames {
    fn is_between(&self) -> bool {
        self.head.is_empty() && self.left == 0
    }

    /// Takes bytes in; how many of them it takes to the end of the first message that ends in them.
    fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut at, mut first) = (0, None);
        while at < bytes.len() {
            if self.left == 0 {
                self.head.push(bytes[at]);
                at += 1;
                let [_, a, b, c, d] = self.head[..] else {
                    continue;
                };
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.head.clear();
            } else {
                let step = self.left.min(bytes.len() - at);
                self.left -= step;
                at += step;
            }
            if self.is_between() {
                first = first.or(Some(at));
            }
        }
        first
    }
}

impl Watched {
    fn end(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        self.ended = true;
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        let written = self.last.take()?.add_header(&mut trailers);
        Some(written.map(|()| Frame::trailers(trailers)))
    }

    fn reason_to_end(&mut self, cx: &mut Context<'_>) -> Option<Status> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Some(match self.is_stream {
                true => Code::Unavailable.status("the stream has lasted long enough: ask again"),
                false => Code::DeadlineExceeded.status("the answer took too long"),
            });
        }
        if !self.is_stream {
            return None;
        }
        if self.stopping.as_mut().poll(cx).is_ready() {
            return Some(Code::Unavailable.status("the gateway is stopping: ask again"));
        }
        while self.heartbeat.poll_tick(cx).is_ready() {
            if let Err(status) = self.gate.check_again(&self.bearer) {
                return Some(status);
            }
        }
        None
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // First, so that a stream which always has something to say is bounded too.
        if self.last.is_none() {
            self.last = self.reason_to_end(cx);
        }
        if self.last.is_some() && self.frames.is_between() {
            return Poll::Ready(self.end());
        }
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(mut bytes) => {
                let whole = self.frames.pass(&bytes);
                if self.last.is_some()
                    && let Some(whole) = whole
                {
                    bytes.truncate(whole);
                    self.frames = Frames::default();
                }
                Frame::data(bytes)
            }
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_wherever_the_bytes_are_cut() {
        let message = |length: u8| {
            let mut bytes = vec![0, 0, 0, 0, length];
            bytes.extend(vec![7; usize::from(length)]);
            bytes
        };
        let all = [message(3), message(0), message(9)].concat();
        for cut in 0..=all.len() {
            let mut frames = Frames::default();
            let (first, second) = all.split_at(cut);
            assert_eq!(frames.pass(first), (cut >= 8).then_some(8), "{cut}");
            assert_eq!(frames.is_between(), [0, 8, 13, 27].contains(&cut), "{cut}");
            frames.pass(second);
            assert!(frames.is_between());
        }
    }
}
