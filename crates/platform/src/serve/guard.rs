//! What stands between a call and the handler, on the network and in process alike.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use futures::FutureExt;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use http_body::{Frame, SizeHint};
use jitney_proto::Code;
use tokio::time::{Instant, Sleep};
use tonic::{Status, body::Body};
use tracing::Instrument;

use super::{Handle, deadline};
use crate::{
    auth::{AccessRules, Caller, TokenKeys},
    clock::Clock,
    rpc::{self, Call, Side},
};

pub(super) struct Guard {
    pub(super) rules: AccessRules,
    pub(super) keys: Arc<TokenKeys>,
    pub(super) clock: Clock,
    /// Whom it guards.
    pub(super) handle: Handle,
}

impl Guard {
    /// Lets a call in, or refuses it; either way the answer is a gRPC response.
    pub(super) async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let call = Call::begin(Side::Server, request.uri().path());
        rpc::adopt(&call.span, request.headers());
        match self.admit(&request) {
            Ok(caller) => {
                let deadline = deadline::of(request.headers());
                if let Some(caller) = caller {
                    call.span.record("caller.role", caller.role.name());
                    request.extensions_mut().insert(caller);
                }
                let handler = caught(request, &self.handle).instrument(call.span.clone());
                let response = deadline::within(deadline, handler).await;
                call.follow(response.map(|inner| Guarded {
                    inner,
                    deadline,
                    timer: None,
                    ended: false,
                }))
            }
            Err(status) => {
                let refused = call.span.enter();
                tracing::debug!(code = ?status.code(), "refused: {}", status.message());
                drop(refused);
                call.follow(status.into_http::<Body>())
            }
        }
    }

    /// Who calls; nobody where an rpc is for everybody and no token was shown.
    #[allow(clippy::result_large_err)] // Status is what the caller is answered.
    fn admit(&self, request: &Request<Body>) -> Result<Option<Caller>, Status> {
        let is_silent = !request.headers().contains_key(AUTHORIZATION);
        if is_silent && self.rules.is_public(request.uri().path()) {
            return Ok(None);
        }
        let caller = self
            .keys
            .verify(bearer(request.headers())?, self.clock.now())?;
        self.rules.check(request.uri().path(), &caller)?;
        Ok(Some(caller))
    }
}

/// The token of a request.
#[allow(clippy::result_large_err)]
fn bearer(headers: &HeaderMap) -> Result<&str, Status> {
    let refuse = |problem| Code::Unauthenticated.status(problem);
    let value = headers
        .get(AUTHORIZATION)
        .ok_or_else(|| refuse("no authorization metadata"))?;
    let text = value
        .to_str()
        .map_err(|_| refuse("the authorization metadata is not text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(refuse("the authorization metadata is not `Bearer <token>`")),
    }
}

/// Runs the handler; a panic in it is a defect and not the end.
async fn caught(request: Request<Body>, handle: &Handle) -> Response<Body> {
    match AssertUnwindSafe(async { handle(request).await })
        .catch_unwind()
        .await
    {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(panic) => panicked(&*panic).into_http(),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text");
    crate::status::internal(format_args!("the handler panicked: {message}"))
}

/// A response body that ends at the deadline, and whose panics end it with INTERNAL.
struct Guarded {
    inner: Body,
    deadline: Option<Instant>,
    /// Until the deadline, once there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl Guarded {
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        self.ended = true;
        // What the handler holds is let go.
        self.inner = Body::empty();
        Poll::Ready(Some(trailers(status)))
    }
}

impl http_body::Body for Guarded {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let inner = &mut this.inner;
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(Poll::Pending) => {}
            Ok(ready) => return ready,
            Err(panic) => return this.end(&panicked(&*panic)),
        }
        let Some(deadline) = this.deadline else {
            return Poll::Pending;
        };
        let sleep = || Box::pin(tokio::time::sleep_until(deadline));
        ready!(this.timer.get_or_insert_with(sleep).as_mut().poll(cx));
        this.end(&deadline::exceeded())
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body's last frame: how the call ended.
#[allow(clippy::result_large_err)] // The error type of a gRPC body.
fn trailers(status: &Status) -> Result<Frame<bytes::Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}
