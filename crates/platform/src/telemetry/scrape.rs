//! What is measured, as Prometheus reads it. The registry is the process's: everything that runs in it is on
//! one page, whichever service it belongs to.

use std::sync::OnceLock;

use anyhow::Context;
use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

/// The page's path.
pub const METRICS_PATH: &str = "/metrics";
/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Set once by the set-up, if metrics are to be scraped.
static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// What collects for the page.
pub(super) fn reader() -> anyhow::Result<PrometheusExporter> {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .context("metrics cannot be collected")?;
    // A second set-up fails elsewhere.
    let _ = REGISTRY.set(registry);
    Ok(reader)
}

/// A router with the page, for a port of its own: it has no guard. `None` where this process collects
/// nothing to be scraped.
pub fn metrics_router() -> Option<Router> {
    let registry = REGISTRY.get()?;
    Some(Router::new().route(METRICS_PATH, get(move || async { page(registry) })))
}

/// What is measured, in Prometheus' text format.
fn page(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
