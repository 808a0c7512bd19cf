//! What one caller, and all callers together, may ask for at once. Everything is bounded, and what
//! is above a bound is refused early with a hint when to come back.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Uri, header::CONTENT_LENGTH},
};
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jitney_platform::{auth::Caller, clock::Clock};
use jitney_proto::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{config::Config, problem::Problem};

/// How many callers are remembered before those that stand at rest are forgotten.
const CALLERS_KEPT: usize = 10_000;

/// The counts behind the bounds.
#[derive(Clone)]
pub struct Limits {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    callers: Arc<Mutex<Callers>>,
    per_caller: usize,
    rate: Option<Rate>,
    retry_after: Duration,
    clock: Clock,
}

/// Room for one unary call; given back when dropped.
#[derive(Debug)]
pub struct CallPermit {
    _place: OwnedSemaphorePermit,
}

/// Room for one stream; given back when dropped.
pub struct StreamPermit {
    caller: Caller,
    callers: Arc<Mutex<Callers>>,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Time one request takes up.
    each: TimeDelta,
    /// How far ahead of the time a caller's requests may run.
    ahead_max: TimeDelta,
}

#[derive(Default)]
struct Callers {
    known: HashMap<Caller, Usage>,
    forget_above: usize,
}

#[derive(Default)]
struct Usage {
    streams: usize,
    /// When all requests so far would have been made at the steady rate.
    due: DateTime<Utc>,
}

impl Limits {
    /// Bounds as configured.
    pub fn new(config: &Config, clock: Clock) -> Limits {
        let rate = (config.requests_per_second > 0).then(|| {
            let each =
                TimeDelta::nanoseconds(1_000_000_000 / i64::from(config.requests_per_second));
            let burst = i32::try_from(config.requests_burst).unwrap_or(i32::MAX);
            Rate {
                each,
                ahead_max: each.checked_mul(burst).unwrap_or(TimeDelta::MAX),
            }
        });
        Limits {
            calls: Arc::new(Semaphore::new(config.calls_max)),
            streams: Arc::new(Semaphore::new(config.streams_max)),
            callers: Arc::default(),
            per_caller: config.streams_per_caller_max,
            rate,
            retry_after: config.retry_after,
            clock,
        }
    }

    /// Counts a request of a caller; refused (429) when they make too many.
    pub fn request(&self, caller: &Caller) -> Result<(), Status> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = self.clock.now();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = callers.usage(caller, now);
        let due = usage
            .due
            .max(now)
            .checked_add_signed(rate.each)
            .unwrap_or(now);
        let over = due - now - rate.ahead_max;
        if over <= TimeDelta::zero() {
            usage.due = due;
            return Ok(());
        }
        let wait = over.to_std().unwrap_or_default();
        Err(Code::Overloaded.retry_after("you are asking too often; slow down", wait))
    }

    /// Room for a unary call, or 503.
    pub fn call(&self) -> Result<CallPermit, Problem> {
        match self.calls.clone().try_acquire_owned() {
            Ok(place) => Ok(CallPermit { _place: place }),
            Err(_) => Err(Problem::full("the gateway is busy", self.retry_after)),
        }
    }

    /// Room for a stream of a caller: 429 when the caller has too many, 503 when all together do.
    pub fn stream(&self, caller: &Caller) -> Result<StreamPermit, Problem> {
        let Ok(place) = self.streams.clone().try_acquire_owned() else {
            return Err(Problem::full(
                "the gateway holds all the streams it can",
                self.retry_after,
            ));
        };
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = callers.usage(caller, self.clock.now());
        if usage.streams >= self.per_caller {
            let told = format!("you have {} streams open; close one", usage.streams);
            return Err(Code::Overloaded.retry_after(told, self.retry_after).into());
        }
        usage.streams += 1;
        let callers = self.callers.clone();
        Ok(StreamPermit {
            caller: caller.clone(),
            callers,
            _place: place,
        })
    }
}

impl Callers {
    fn usage(&mut self, caller: &Caller, now: DateTime<Utc>) -> &mut Usage {
        if self.known.len() > self.forget_above.max(CALLERS_KEPT) {
            self.known
                .retain(|_, usage| usage.streams > 0 || usage.due > now);
            // Looked through again only when it has grown by as much: the cost stays even.
            self.forget_above = 2 * self.known.len();
        }
        self.known.entry(caller.clone()).or_default()
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = callers.known.get_mut(&self.caller) {
            usage.streams = usage.streams.saturating_sub(1);
        }
    }
}

impl fmt::Debug for StreamPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamPermit")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// Refuses a head that is too large (431).
pub fn check_head(uri: &Uri, headers: &HeaderMap, bytes_max: usize) -> Result<(), Problem> {
    let url = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let fields: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if url + fields > bytes_max {
        Err(Problem::headers_too_large(bytes_max))
    } else {
        Ok(())
    }
}

/// Reads a body that must be small (413) and come soon (408).
pub async fn read_body(body: Body, headers: &HeaderMap, config: &Config) -> Result<Bytes, Problem> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > config.body_bytes_max as u64) {
        return Err(Problem::too_large(config.body_bytes_max));
    }
    let all = Limited::new(body, config.body_bytes_max).collect();
    match tokio::time::timeout(config.arrival_timeout, all).await {
        Err(_) => Err(Problem::slow_body(config.arrival_timeout)),
        Ok(Ok(all)) => Ok(all.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::too_large(config.body_bytes_max))
        }
        Ok(Err(_)) => Err(Code::InvalidRequest.status("the body broke off").into()),
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
