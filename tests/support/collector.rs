//! An OpenTelemetry collector in this process, which keeps what it is sent.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use jitney_platform::testing::collector;
use opentelemetry_proto::tonic::trace::v1::Span;

/// A running collector, and what came; it ends when this is dropped.
pub struct Collector {
    kept: Arc<Mutex<Kept>>,
    running: collector::Collector,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    /// Everything that came, printed.
    everything: String,
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let into = kept.clone();
        let running = collector::Collector::start(move |exported| {
            let mut kept = into.lock().unwrap();
            kept.everything.push_str(&format!("{exported:?}\n"));
            kept.spans.extend(exported.spans().cloned());
        });
        let running = running.await.expect("a free port");
        Self { kept, running }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.running.endpoint
    }

    /// Every span so far.
    pub fn spans(&self) -> Spans {
        Spans(self.kept.lock().unwrap().spans.clone())
    }

    /// Everything that came, printed.
    pub fn everything(&self) -> String {
        self.kept.lock().unwrap().everything.clone()
    }
}

/// Spans that were exported.
#[derive(Clone)]
pub struct Spans(pub Vec<Span>);

impl Spans {
    /// Those of the trace that the first span of this name is in.
    pub fn trace_of(&self, name: &str) -> Option<Spans> {
        let trace = self.named(name).next()?.trace_id.clone();
        let spans = self.0.iter().filter(|span| span.trace_id == trace);
        Some(Spans(spans.cloned().collect()))
    }

    /// Those of a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Span> {
        self.0.iter().filter(move |span| span.name == name)
    }

    /// The one of a name, if it came.
    pub fn find(&self, name: &str) -> Option<&Span> {
        self.named(name).next()
    }

    /// The names of the spans that one is in, from its parent to the root, as far as they came. The two
    /// sides of a call have one name, and are there once.
    pub fn above(&self, span: &Span) -> Vec<String> {
        let by_id: HashMap<_, _> = self.0.iter().map(|span| (&span.span_id, span)).collect();
        let mut names = Vec::new();
        let mut below = span;
        while let Some(parent) = by_id.get(&below.parent_span_id) {
            if parent.name != below.name {
                names.push(parent.name.clone());
            }
            below = parent;
        }
        names
    }

    /// Names of the spans that one points at.
    pub fn linked(&self, span: &Span) -> Vec<String> {
        let ids: HashSet<_> = span.links.iter().map(|link| &link.span_id).collect();
        let linked = self.0.iter().filter(|other| ids.contains(&other.span_id));
        linked.map(|span| span.name.clone()).collect()
    }

    /// Names, for messages of tests.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|span| span.name.as_str()).collect()
    }

    /// How many have no parent.
    pub fn roots(&self) -> usize {
        let is_root = |span: &&Span| span.parent_span_id.is_empty();
        self.0.iter().filter(is_root).count()
    }

    /// Asserts that every parent that a span names is there.
    pub fn assert_whole(&self) {
        let ids: HashSet<_> = self.0.iter().map(|span| &span.span_id).collect();
        for span in &self.0 {
            let has_parent = span.parent_span_id.is_empty() || ids.contains(&span.parent_span_id);
            assert!(has_parent, "{} hangs loose", span.name);
        }
    }
}
