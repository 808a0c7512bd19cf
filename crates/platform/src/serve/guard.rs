//! What stands between a call and the handler, on the network and in process alike.

use std::{any::Any, panic::AssertUnwindSafe, pin::Pin, sync::Arc, task::Poll};

use futures::FutureExt;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use http_body::{Frame, SizeHint};
use jitney_proto::Code;
use tonic::{Status, body::Body};
use tower::ServiceExt;
use tracing::Instrument;

use super::deadline;
use crate::{
    auth::{AccessRules, Caller, TokenKeys},
    clock::Clock,
    rpc::{self, Call, Side},
};

pub(super) struct Guard {
    pub(super) rules: AccessRules,
    pub(super) keys: Arc<TokenKeys>,
    pub(super) clock: Clock,
}

impl Guard {
    /// Lets a call in, or refuses it; either way the answer is a gRPC response.
    pub(super) async fn answer(
        &self,
        mut request: Request<Body>,
        routes: axum::Router,
    ) -> Response<Body> {
        let call = Call::begin(Side::Server, request.uri().path());
        rpc::adopt(&call.span, request.headers());
        let response = match self.admit(&request) {
            Ok(caller) => {
                let deadline = deadline::of(request.headers());
                if let Some(caller) = caller {
                    call.span.record("caller.role", caller.role.name());
                    request.extensions_mut().insert(caller);
                }
                let handler = handle(request, routes).instrument(call.span.clone());
                deadline::within(deadline, handler).await
            }
            Err(status) => {
                let refused = call.span.enter();
                tracing::debug!(code = ?status.code(), "refused: {}", status.message());
                drop(refused);
                status.into_http()
            }
        };
        call.follow(response)
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

/// Runs the handler; a panic in it, or later in its stream, is a defect and not the end.
async fn handle(request: Request<Body>, routes: axum::Router) -> Response<Body> {
    match AssertUnwindSafe(routes.oneshot(request))
        .catch_unwind()
        .await
    {
        Ok(Ok(response)) => response.map(|body| Body::new(CaughtBody(Body::new(body), false))),
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

/// A response body whose panics end it with INTERNAL.
struct CaughtBody(Body, bool);

impl http_body::Body for CaughtBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        if self.1 {
            return Poll::Ready(None);
        }
        let inner = &mut self.0;
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(frame) => frame,
            Err(panic) => {
                self.1 = true;
                Poll::Ready(Some(deadline::trailers(&panicked(&*panic))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.1 || self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
