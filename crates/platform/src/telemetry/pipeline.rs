//! The way to the collector. It runs on a thread of its own, so that it goes on while the program
//! drains, and ends whatever kind of runtime the program has.

use std::time::Duration;

use anyhow::Context;
use opentelemetry::{KeyValue, global, trace::TracerProvider};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    logs::{SdkLogger, SdkLoggerProvider},
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Runtime;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// How long one export may take.
const EXPORT_MAX: Duration = Duration::from_secs(5);

pub(super) struct Pipeline {
    spans: SdkTracerProvider,
    /// For a collector, a scrape, or both.
    metrics: Option<SdkMeterProvider>,
    export: Option<Export>,
}

/// What only a collector needs.
struct Export {
    logs: SdkLoggerProvider,
    runtime: Option<Runtime>,
}

impl Pipeline {
    pub(super) fn new(
        endpoint: Option<&str>,
        sample_ratio: f64,
        service: &str,
        scraped: bool,
    ) -> anyhow::Result<Self> {
        let resource = resource(service);
        let metrics = SdkMeterProvider::builder().with_resource(resource.clone());
        let metrics = match scraped {
            true => metrics.with_reader(super::scrape::reader()?),
            false => metrics,
        };
        let Some(endpoint) = endpoint else {
            // Spans still have ids, which log lines and answers carry; nothing is recorded.
            let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
            let spans = SdkTracerProvider::builder().with_sampler(sampler).build();
            return Ok(Self {
                spans,
                metrics: scraped.then(|| metrics.build()),
                export: None,
            });
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("telemetry")
            .enable_all()
            .build()
            .context("the telemetry thread cannot be started")?;
        let entered = runtime.enter();
        let wrong = || format!("telemetry.endpoint = {endpoint:?}");
        let spans = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_MAX)
            .build()
            .with_context(wrong)?;
        let logs = LogExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_MAX)
            .build()
            .with_context(wrong)?;
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_MAX)
            .build()
            .with_context(wrong)?;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio)));
        let spans = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource.clone())
            .with_batch_exporter(spans)
            .build();
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(logs)
            .build();
        let metrics = metrics.with_periodic_exporter(exporter).build();
        drop(entered);
        Ok(Self {
            spans,
            metrics: Some(metrics),
            export: Some(Export {
                logs,
                runtime: Some(runtime),
            }),
        })
    }

    /// Makes spans of the program OpenTelemetry's.
    pub(super) fn spans<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.spans.tracer("jitney"))
            // Threads and code lines are noise in a trace of an asynchronous program.
            .with_threads(false)
            .with_location(false)
            .with_tracked_inactivity(false)
    }

    /// Makes log lines OpenTelemetry's, with the ids of their trace.
    pub(super) fn logs(&self) -> Option<OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>> {
        let export = self.export.as_ref()?;
        Some(OpenTelemetryTracingBridge::new(&export.logs))
    }

    /// Lets libraries find the pipeline.
    pub(super) fn publish(&self) {
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(self.spans.clone());
        if let Some(metrics) = &self.metrics {
            global::set_meter_provider(metrics.clone());
        }
    }

    pub(super) fn flush(&self) {
        report("traces", self.spans.force_flush());
        if let Some(export) = &self.export {
            report("logs", export.logs.force_flush());
        }
        if let Some(metrics) = &self.metrics {
            report("metrics", metrics.force_flush());
        }
    }

    /// Sends the rest and ends. What is not sent within `patience` is lost.
    pub(super) fn shut_down(&self, patience: Duration) {
        if let Some(metrics) = &self.metrics {
            report("metrics", metrics.shutdown_with_timeout(patience));
        }
        let Some(export) = &self.export else { return };
        report("traces", self.spans.shutdown_with_timeout(patience));
        report("logs", export.logs.shutdown_with_timeout(patience));
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // Waiting for it, as a plain drop would, is not allowed inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Who it is that tells.
fn resource(service: &str) -> Resource {
    Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new(
            "service.instance.id",
            uuid::Uuid::new_v4().to_string(),
        ))
        .build()
}

fn report(what: &str, result: opentelemetry_sdk::error::OTelSdkResult) {
    if let Err(error) = result {
        tracing::debug!(what, %error, "some telemetry was not exported");
    }
}
