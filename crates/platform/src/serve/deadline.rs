//! Deadlines: `grpc-timeout` bounds a whole call, its stream included, as the gRPC protocol has it.
//! (tonic itself bounds network calls only, and only until the first byte.)

use std::{future::Future, pin::Pin, task::Poll, time::Duration};

use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use jitney_proto::Code;
use tokio::time::{Instant, Sleep};
use tonic::{Status, body::Body};

/// How much earlier than the caller we call it a day, so that it still hears DEADLINE_EXCEEDED from
/// us and not from the transport, which says CANCELLED.
const HEAD_START: Duration = Duration::from_millis(3);

/// The moment the caller stops waiting, if it said so. A malformed header is as good as none.
pub(super) fn of(headers: &HeaderMap) -> Option<Instant> {
    let timeout = timeout(headers)?;
    Instant::now().checked_add(timeout.saturating_sub(HEAD_START))
}

/// How long the caller waits, if it said so. A malformed header is as good as none.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// At most eight digits and a unit, as in `250m`.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// The handler's answer, or DEADLINE_EXCEEDED; the handler is dropped then.
pub(super) async fn within(
    deadline: Option<Instant>,
    handler: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    let Some(deadline) = deadline else {
        return handler.await;
    };
    match tokio::time::timeout_at(deadline, handler).await {
        Ok(response) => response.map(|inner| {
            let timer = Box::pin(tokio::time::sleep_until(deadline));
            Body::new(TimedBody {
                inner,
                timer,
                ended: false,
            })
        }),
        Err(_) => exceeded().into_http(),
    }
}

fn exceeded() -> Status {
    Code::DeadlineExceeded.status("the deadline passed before the answer was complete")
}

/// A body's last frame: how the call ended.
#[allow(clippy::result_large_err)] // The error type of a gRPC body.
pub(super) fn trailers(status: &Status) -> Result<Frame<bytes::Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// A response body that ends at the deadline.
struct TimedBody {
    inner: Body,
    timer: Pin<Box<Sleep>>,
    ended: bool,
}

impl http_body::Body for TimedBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let ready @ Poll::Ready(_) = Pin::new(&mut self.inner).poll_frame(cx) {
            return ready;
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.ended = true;
            self.inner = Body::empty();
            return Poll::Ready(Some(trailers(&exceeded())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            parse("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        for bad in ["", "m", "1", "1x", "-1S", "123456789S", "1 S", "1µ"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
