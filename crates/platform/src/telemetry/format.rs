//! Log lines, with the ids of the trace they belong to.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::LogFormat;

/// Writes one line per event.
pub(super) enum Lines {
    Text,
    Json(Format<Json>),
}

/// How fields are kept for JSON lines.
pub(super) fn json_fields() -> JsonFields {
    JsonFields::new()
}

impl Lines {
    pub(super) fn new(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json(
                tracing_subscriber::fmt::format()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            ),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let ids = current_ids();
        match self {
            Self::Text => {
                SystemTime.format_time(&mut writer)?;
                let level = *event.metadata().level();
                match writer.has_ansi_escapes().then(|| colour(level)) {
                    Some(colour) => write!(writer, " \x1b[{colour}m{level:>5}\x1b[0m ")?,
                    None => write!(writer, " {level:>5} ")?,
                }
                write!(writer, "{}: ", event.metadata().target())?;
                context
                    .field_format()
                    .format_fields(writer.by_ref(), event)?;
                if let Some((trace, span)) = ids {
                    write!(writer, " trace_id={trace} span_id={span}")?;
                }
                writeln!(writer)
            }
            Self::Json(format) => {
                let mut line = String::with_capacity(256);
                format.format_event(context, Writer::new(&mut line), event)?;
                let object = line.trim_end();
                match (ids, object.strip_suffix('}')) {
                    (Some((trace, span)), Some(open)) => {
                        writeln!(
                            writer,
                            r#"{open},"trace_id":"{trace}","span_id":"{span}"}}"#
                        )
                    }
                    _ => writeln!(writer, "{object}"),
                }
            }
        }
    }
}

/// The ids of the span that the event is in, if it is in one.
fn current_ids() -> Option<(String, String)> {
    let context = opentelemetry::Context::current();
    let span = context.span();
    let ids = span.span_context();
    ids.is_valid()
        .then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
}

/// The terminal's number for the colour of a level.
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::{Layer, Registry, fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Page;
        fn make_writer(&'a self) -> Page {
            self.clone()
        }
    }

    /// The lines of one event outside any span and one inside.
    fn lines(format: LogFormat) -> Vec<String> {
        let page = Page::default();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines::new(format))
            .with_ansi(false)
            .with_writer(page.clone());
        let layer = match format {
            LogFormat::Text => layer.boxed(),
            LogFormat::Json => layer.fmt_fields(json_fields()).boxed(),
        };
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = Registry::default().with(layer).with(spans);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(answer = 42, "outside");
            tracing::info_span!("work", otel.name = "quiet").in_scope(|| {
                tracing::warn!(name = "a \"quoted\" text", "inside");
            });
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn text_lines_carry_the_ids_of_their_trace() {
        let lines = lines(LogFormat::Text);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("INFO") && lines[0].contains("outside answer=42"),
            "{lines:?}"
        );
        assert!(!lines[0].contains("trace_id"), "{lines:?}");
        assert!(
            lines[1].contains(" trace_id=") && lines[1].contains(" span_id="),
            "{lines:?}"
        );
    }

    #[test]
    fn json_lines_are_json_and_carry_them_too() {
        let lines = lines(LogFormat::Json);
        let objects: Vec<serde_json::Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(objects[0]["message"], "outside");
        assert_eq!(objects[0]["answer"], 42);
        assert!(objects[0].get("trace_id").is_none());
        assert_eq!(objects[1]["name"], "a \"quoted\" text");
        assert_eq!(objects[1]["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(objects[1]["span_id"].as_str().unwrap().len(), 16);
    }
}
