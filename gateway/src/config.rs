//! What an operator may set about the gateway. Durations are written as in `"10s"`.

use std::time::Duration;

use anyhow::{Result, ensure};
use jitney_platform::tls::TlsConfig;
use serde::{Deserialize, Serialize};

use crate::{login, transcode::Unknown};

/// The gateway's configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a unary call may take, from its body being read to the answer. Then: 504.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long the head of a request, and then its body, may take to arrive. Then: 408.
    #[serde(with = "humantime_serde")]
    pub arrival_timeout: Duration,
    /// What to do with JSON fields and query parameters that nobody declared: `refuse` or `ignore`.
    pub unknown_fields: Unknown,
    /// The largest request body, bytes. Above: 413.
    pub body_bytes_max: usize,
    /// The largest request head (URL and headers), bytes, at most 65,536. Above: 431.
    pub head_bytes_max: usize,
    /// The largest message a service may answer with, bytes.
    pub answer_bytes_max: usize,
    /// Open connections, all callers together. Above, new ones wait to be accepted.
    pub connections_max: usize,
    /// Open connections from one address; 0 sets no limit. Above, new ones are closed at once. Proxies
    /// that are trusted may have any number.
    pub connections_per_address_max: usize,
    /// Unary calls under way, all callers together. Above: 503 with `Retry-After`.
    pub calls_max: usize,
    /// Open event streams and WebSockets, all callers together. Above: 503 with `Retry-After`.
    pub streams_max: usize,
    /// Open event streams and WebSockets of one caller. Above: 429 with `Retry-After`.
    pub streams_per_caller_max: usize,
    /// Requests a second one caller may make over a longer time; 0 sets no limit. Above: 429 with
    /// `Retry-After`.
    pub requests_per_second: u32,
    /// Requests one caller may make at once, before the rate counts.
    pub requests_burst: u32,
    /// Requests a second that may come from one address over a longer time, whoever makes them; 0 sets
    /// no limit. Above: 429. Many phones may share an address.
    pub address_requests_per_second: u32,
    /// Requests that may come from one address at once, before the rate counts.
    pub address_requests_burst: u32,
    /// Logins, and requests without a good token, that may come from one address in a minute; 0 sets no
    /// limit. Above: 429.
    pub address_refusals_per_minute: u32,
    /// The proxies before the gateway, as addresses or networks (`10.0.0.0/8`). What they say in
    /// `X-Forwarded-For` is believed; what anybody else says there is not.
    pub trusted_proxies: Vec<String>,
    /// What `Retry-After` says when the gateway is full.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// Time between signs of life on event streams and pings on WebSockets. The token is looked at
    /// again each time, so a stream outlives its token by no more than this. A WebSocket that has been
    /// silent for three times as long is closed.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long an event stream may have nothing to tell before it is ended; the app resumes it.
    #[serde(with = "humantime_serde")]
    pub stream_idle_max: Duration,
    /// How long a stream or a WebSocket may last before it is ended; the app resumes it.
    #[serde(with = "humantime_serde")]
    pub stream_lifetime_max: Duration,
    /// How long a caller may leave what is sent unread before its stream is cut, or its connection.
    #[serde(with = "humantime_serde")]
    pub unread_max: Duration,
    /// The largest WebSocket message a caller may send, bytes. Above: close code 1009.
    pub frame_bytes_max: usize,
    /// Messages waiting in each direction of a stream; the sender waits when there are more.
    pub stream_queue: usize,
    /// How long requests under way may take to end when the gateway stops.
    #[serde(with = "humantime_serde")]
    pub drain_max: Duration,
    /// Web origins whose pages may call, for example `https://app.example.org`; `*` lets all. The
    /// token is never sent by a browser on its own, so `*` gives no page anybody's rights.
    pub cors_origins: Vec<String>,
    /// The certificate of the gateway's port. Without one it speaks plain HTTP.
    pub tls: TlsConfig,
    /// Says that a proxy before the gateway speaks TLS, so that production may do without here.
    pub behind_tls_proxy: bool,
    /// The login for development. In production it is not served.
    pub login: login::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            call_timeout: Duration::from_secs(10),
            arrival_timeout: Duration::from_secs(10),
            unknown_fields: Unknown::Refuse,
            body_bytes_max: 1 << 20,
            head_bytes_max: 16 << 10,
            answer_bytes_max: 16 << 20,
            connections_max: 20_000,
            connections_per_address_max: 2_000,
            calls_max: 1024,
            streams_max: 10_000,
            streams_per_caller_max: 8,
            requests_per_second: 50,
            requests_burst: 100,
            address_requests_per_second: 500,
            address_requests_burst: 1000,
            address_refusals_per_minute: 120,
            trusted_proxies: Vec::new(),
            retry_after: Duration::from_secs(1),
            heartbeat: Duration::from_secs(15),
            stream_idle_max: Duration::from_secs(15 * 60),
            stream_lifetime_max: Duration::from_secs(60 * 60),
            unread_max: Duration::from_secs(30),
            frame_bytes_max: 64 << 10,
            stream_queue: 32,
            drain_max: Duration::from_secs(10),
            cors_origins: vec!["*".to_owned()],
            tls: TlsConfig::default(),
            behind_tls_proxy: false,
            login: login::Config::default(),
        }
    }
}

/// What the server's buffer for a request's head holds.
pub(crate) const HEAD_BUFFER_BYTES: usize = 128 << 10;

impl Config {
    /// Refuses values nothing could work with; the error names the key.
    pub fn check(&self) -> Result<()> {
        let durations = [
            ("call_timeout", self.call_timeout),
            ("arrival_timeout", self.arrival_timeout),
            ("heartbeat", self.heartbeat),
            ("stream_idle_max", self.stream_idle_max),
            ("stream_lifetime_max", self.stream_lifetime_max),
            ("unread_max", self.unread_max),
        ];
        for (key, duration) in durations {
            ensure!(!duration.is_zero(), "gateway.{key} is zero");
        }
        let counts = [
            ("body_bytes_max", self.body_bytes_max),
            ("head_bytes_max", self.head_bytes_max),
            ("answer_bytes_max", self.answer_bytes_max),
            ("connections_max", self.connections_max),
            ("calls_max", self.calls_max),
            ("streams_max", self.streams_max),
            ("streams_per_caller_max", self.streams_per_caller_max),
            ("frame_bytes_max", self.frame_bytes_max),
            ("stream_queue", self.stream_queue),
        ];
        for (key, count) in counts {
            ensure!(count > 0, "gateway.{key} is zero");
            ensure!(count <= 1 << 30, "gateway.{key} is above 2^30");
        }
        ensure!(
            self.head_bytes_max <= HEAD_BUFFER_BYTES / 2,
            "gateway.head_bytes_max is above {}",
            HEAD_BUFFER_BYTES / 2
        );
        ensure!(
            self.requests_per_second == 0 || self.requests_burst > 0,
            "gateway.requests_burst is zero"
        );
        ensure!(
            self.address_requests_per_second == 0 || self.address_requests_burst > 0,
            "gateway.address_requests_burst is zero"
        );
        self.login.check()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_can_be_worked_with_and_read_back() {
        let config = Config::default();
        config.check().unwrap();
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_and_a_zero_are_refused_by_name() {
        let error = serde_json::from_str::<Config>(r#"{"bodymax": 1}"#).unwrap_err();
        assert!(error.to_string().contains("bodymax"), "{error}");
        let error = Config {
            calls_max: 0,
            ..Config::default()
        }
        .check()
        .unwrap_err();
        assert!(error.to_string().contains("gateway.calls_max"), "{error}");
    }
}
