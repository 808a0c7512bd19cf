//! Deadlines: `grpc-timeout` bounds a whole call, its stream included, as the gRPC protocol has it.
//! (tonic itself bounds network calls only, and only until the first byte.)

use std::{future::Future, time::Duration};

use http::{HeaderMap, Response};
use jitney_proto::Code;
use tokio::time::Instant;
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

/// The handler's answer, or DEADLINE_EXCEEDED; the handler is dropped then. What is left of the time is the
/// answer's body's.
pub(super) async fn within(
    deadline: Option<Instant>,
    handler: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    let Some(deadline) = deadline else {
        return handler.await;
    };
    match tokio::time::timeout_at(deadline, handler).await {
        Ok(response) => response,
        Err(_) => exceeded().into_http(),
    }
}

pub(super) fn exceeded() -> Status {
    Code::DeadlineExceeded.status("the deadline passed before the answer was complete")
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
