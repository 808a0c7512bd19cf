//! What one caller, and all callers together, may ask for at once. Everything is bounded, and what
//! is above a bound is refused early with a hint when to come back.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{
        HeaderMap, Uri,
        header::{CONTENT_ENCODING, CONTENT_LENGTH},
    },
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jitney_platform::{auth::Caller, clock::Clock};
use jitney_proto::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{
    config::Config,
    problem::Problem,
    rate::{self, Network, Rate},
};

/// The counts behind the bounds.
#[derive(Clone)]
pub struct Limits {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    open: Arc<Mutex<HashMap<Caller, usize>>>,
    per_caller: usize,
    callers: Arc<Rate<Caller>>,
    addresses: Arc<Rate<Network>>,
    strangers: Arc<Rate<Network>>,
    retry_after: Duration,
}

/// Room for one unary call; given back when dropped.
#[derive(Debug)]
pub struct CallPermit {
    _place: OwnedSemaphorePermit,
}

/// Room for one stream; given back when dropped.
pub struct StreamPermit {
    caller: Caller,
    open: Arc<Mutex<HashMap<Caller, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Limits {
    /// Bounds as configured.
    pub fn new(config: &Config, clock: Clock) -> Limits {
        let callers = rate::quota(config.requests_per_second, config.requests_burst);
        let addresses = rate::quota(
            config.address_requests_per_second,
            config.address_requests_burst,
        );
        let strangers = rate::per_minute(config.address_refusals_per_minute);
        Limits {
            calls: Arc::new(Semaphore::new(config.calls_max)),
            streams: Arc::new(Semaphore::new(config.streams_max)),
            open: Arc::default(),
            per_caller: config.streams_per_caller_max,
            callers: Arc::new(Rate::new(callers, clock.clone())),
            addresses: Arc::new(Rate::new(addresses, clock.clone())),
            strangers: Arc::new(Rate::new(strangers, clock)),
            retry_after: config.retry_after,
        }
    }

    /// Counts a request of a caller; refused (429) when they make too many.
    pub fn request(&self, caller: &Caller) -> Result<(), Status> {
        let told = "you are asking too often; slow down";
        let counted = self.callers.count(caller);
        counted.map_err(|wait| Code::Overloaded.retry_after(told, wait))
    }

    /// Counts a request from an address, whoever it is; refused (429) when there are too many.
    pub fn address(&self, address: IpAddr) -> Result<(), Status> {
        let told = "too many requests come from your address; slow down";
        let counted = self.addresses.count(&address.into());
        counted.map_err(|wait| Code::Overloaded.retry_after(told, wait))
    }

    /// Counts a guess from an address: a token that is not good, a login. Refused (429) when there are
    /// too many.
    pub fn guess(&self, address: IpAddr) -> Result<(), Status> {
        let told = "too many logins or bad tokens come from your address; wait";
        let counted = self.strangers.count(&address.into());
        counted.map_err(|wait| Code::Overloaded.retry_after(told, wait))
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
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = open.entry(caller.clone()).or_default();
        if *streams >= self.per_caller {
            let told = format!("you have {streams} streams open; close one");
            return Err(Code::Overloaded.retry_after(told, self.retry_after).into());
        }
        *streams += 1;
        Ok(StreamPermit {
            caller: caller.clone(),
            open: self.open.clone(),
            _place: place,
        })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = open.get_mut(&self.caller) {
            *streams -= 1;
            if *streams == 0 {
                open.remove(&self.caller);
            }
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

/// Reads a body that must be small (413), unpacked, and come soon (408).
pub async fn read_body(body: Body, headers: &HeaderMap, config: &Config) -> Result<Bytes, Problem> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Problem::not_decoded());
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > config.body_bytes_max as u64) {
        return Err(Problem::too_large(config.body_bytes_max));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let all = Limited::new(body, config.body_bytes_max).collect();
    match tokio::time::timeout(config.arrival_timeout, all).await {
        Err(_) => Err(Problem::slow_body(config.arrival_timeout)),
        Ok(Ok(all)) => Ok(all.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::too_large(config.body_bytes_max))
        }
        Ok(Err(_)) => {
            let told = "the body broke off, or is not in the encoding it says";
            Err(Code::InvalidRequest.status(told).into())
        }
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
