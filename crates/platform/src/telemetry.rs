//! What the program tells about itself: log lines on standard error, and traces, metrics and logs to
//! an OpenTelemetry collector if one is configured. Log lines carry the ids of the trace they belong
//! to, so that one leads to the other.
//!
//! Tokens, phone numbers and exact coordinates never get here: spans hold names of routes and rpcs, not
//! what was asked.

use std::{fmt, io::IsTerminal, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, filter::Targets, layer::SubscriberExt,
    util::SubscriberInitExt,
};

mod format;
mod http;
pub mod meters;
mod pipeline;
mod scrape;
mod trace;

use pipeline::Pipeline;

pub use http::{HttpSpan, HttpSpanLayer, http_span_layer, name_route};
pub use scrape::{METRICS_PATH, metrics_router};
pub use trace::{TraceContext, link_both, traceparent};

/// The variable that names a collector for any program that speaks OpenTelemetry.
const STANDARD_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long what is still unsent may take at the end.
const FLUSH_MAX: Duration = Duration::from_secs(3);
/// Libraries whose own spans say nothing about a ride, and among them the exporter's, which would
/// make it export its own exporting.
const MUTED: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "tonic",
    "tower",
    "opentelemetry",
    "opentelemetry_sdk",
    "rustls",
];

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// What is told, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The OTLP/gRPC collector, for example `http://localhost:4317`. Absent: what the variable
    /// OTEL_EXPORTER_OTLP_ENDPOINT names, or none.
    pub endpoint: Option<String>,
    /// Which share of traces that begin here is exported, 0 to 1. A trace that began elsewhere is
    /// exported if it is there.
    pub sample_ratio: f64,
    /// How log lines are written: `text` or `json`.
    pub log_format: LogFormat,
    /// Which log lines are written: a level, and others for parts of the program, as in
    /// `info,jitney_trips=debug`.
    pub log_filter: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 1.0,
            log_format: LogFormat::Text,
            log_filter:
                "info,sqlx=warn,h2=warn,hyper=warn,tonic=warn,tower=warn,opentelemetry=warn"
                    .to_owned(),
        }
    }
}

/// Sends what is still unsent when it is dropped. Keep it until the program ends.
#[must_use = "dropping it ends the export"]
pub struct Guard(Pipeline);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Guard {
    /// Sends what is still unsent, now. It blocks, at most a few seconds.
    pub fn flush(&self) {
        self.0.flush();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.shut_down(FLUSH_MAX);
    }
}

/// Sets up logging and, if there is a collector, exporting, for the whole process; `service` is the
/// name it goes by there. With `scraped`, what is measured is also collected for [`metrics_router`].
///
/// # Errors
/// When the filter or the endpoint is not one, or this was called before.
pub fn init(config: &TelemetryConfig, service: &str, scraped: bool) -> anyhow::Result<Guard> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .with_context(|| format!("telemetry.log_filter = {:?}", config.log_filter))?;
    anyhow::ensure!(
        (0.0..=1.0).contains(&config.sample_ratio),
        "telemetry.sample_ratio = {} is not between 0 and 1",
        config.sample_ratio
    );
    let endpoint = match &config.endpoint {
        Some(endpoint) => Some(endpoint.clone()),
        None => std::env::var(STANDARD_ENDPOINT)
            .ok()
            .filter(|endpoint| !endpoint.is_empty()),
    };
    let pipeline = Pipeline::new(endpoint.as_deref(), config.sample_ratio, service, scraped)?;

    let lines = tracing_subscriber::fmt::layer()
        .event_format(format::Lines::new(config.log_format))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.fmt_fields(format::json_fields()).boxed(),
    };
    Registry::default()
        .with(lines.with_filter(filter))
        .with(pipeline.spans().with_filter(ours()))
        .with(pipeline.logs().with_filter(ours()))
        .try_init()
        .context("telemetry was set up before")?;
    pipeline.publish();
    Ok(Guard(pipeline))
}

/// Our own spans and events from INFO on, whatever the log's filter says.
fn ours() -> Targets {
    MUTED.iter().fold(
        Targets::new().with_default(LevelFilter::INFO),
        |targets, muted| targets.with_target(*muted, LevelFilter::OFF),
    )
}
