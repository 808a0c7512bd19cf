//! How one consumer is told events: each by itself, or all that there are at once.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};

use tracing::Instrument;

use super::{DeliveryError, OutboxEvent};
use crate::telemetry::TraceContext;

/// What became of one event.
pub type Delivery = Result<(), DeliveryError>;

type TellOne = dyn Fn(OutboxEvent) -> BoxFuture<'static, Delivery> + Send + Sync;
type TellMany = dyn Fn(Vec<OutboxEvent>) -> BoxFuture<'static, Vec<Delivery>> + Send + Sync;

/// Tells a consumer events. It must bear to be called again with the same ones.
pub struct Handler {
    way: Way,
    /// What happened that it wants to be told of; all of it without.
    kinds: Option<Vec<&'static str>>,
}

enum Way {
    Each(Box<TellOne>),
    Together(Box<TellMany>),
}

/// How long and how widely a handler may work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long one call may take.
    pub(super) timeout: Duration,
    /// How many aggregates are told about side by side, where each event is told by itself.
    pub(super) parallel_max: usize,
}

/// What became of one aggregate's events.
pub(super) struct Told {
    pub(super) delivered: usize,
    pub(super) failure: Option<DeliveryError>,
    /// The event that failed and those behind it.
    pub(super) left: Vec<OutboxEvent>,
}

impl Handler {
    /// Tells one event at a time. Those of one aggregate come in their order, each after the one before it
    /// was taken; those of others at the same time.
    pub fn each<F>(tell: F) -> Handler
    where
        F: Fn(OutboxEvent) -> BoxFuture<'static, Delivery> + Send + Sync + 'static,
    {
        Handler::new(Way::Each(Box::new(tell)))
    }

    /// Tells all the events there are in one call, which answers for each in their order. Those of one
    /// aggregate stand together, in their order; after one that is not taken, the consumer must not take
    /// a later one of the same aggregate.
    pub fn together<F>(tell: F) -> Handler
    where
        F: Fn(Vec<OutboxEvent>) -> BoxFuture<'static, Vec<Delivery>> + Send + Sync + 'static,
    {
        Handler::new(Way::Together(Box::new(tell)))
    }

    fn new(way: Way) -> Handler {
        Handler { way, kinds: None }
    }

    /// Passes over every event but those of these kinds.
    pub fn only(mut self, kinds: impl IntoIterator<Item = &'static str>) -> Handler {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    /// Whether the consumer wants to be told of an event.
    pub(super) fn wants(&self, event: &OutboxEvent) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&event.kind.as_str()))
    }

    /// Tells the events of several aggregates, each as far as it goes.
    pub(super) async fn tell(
        &self,
        consumer: &'static str,
        aggregates: Vec<Vec<OutboxEvent>>,
        bounds: Bounds,
    ) -> Vec<Told> {
        match &self.way {
            Way::Each(tell) => {
                stream::iter(aggregates)
                    .map(|events| tell_each(consumer, tell, events, bounds.timeout))
                    .buffer_unordered(bounds.parallel_max.max(1))
                    .collect()
                    .await
            }
            Way::Together(tell) => tell_together(consumer, tell, aggregates, bounds.timeout).await,
        }
    }
}

async fn tell_each(
    consumer: &'static str,
    tell: &TellOne,
    events: Vec<OutboxEvent>,
    timeout: Duration,
) -> Told {
    for (delivered, event) in events.iter().enumerate() {
        let span = tracing::info_span!(
            parent: None,
            "outbox.deliver",
            otel.kind = "consumer",
            messaging.system = "outbox",
            messaging.destination.name = consumer,
            event.kind = event.kind,
        );
        if let Some(happened) = event.traceparent.as_deref().and_then(TraceContext::parse) {
            happened.adopt(&span);
        }
        let telling = patiently(timeout, || tell(event.clone())).instrument(span);
        let delivery = telling.await.flatten();
        if let Err(failure) = delivery {
            return Told::up_to(delivered, failure, events);
        }
    }
    Told::all(&events)
}

async fn tell_together(
    consumer: &'static str,
    tell: &TellMany,
    aggregates: Vec<Vec<OutboxEvent>>,
    timeout: Duration,
) -> Vec<Told> {
    if aggregates.is_empty() {
        return Vec::new();
    }
    let span = tracing::info_span!(
        parent: None,
        "outbox.deliver",
        otel.kind = "consumer",
        messaging.system = "outbox",
        messaging.destination.name = consumer,
        messaging.batch.message_count = aggregates.iter().map(Vec::len).sum::<usize>(),
    );
    for event in aggregates.iter().flatten() {
        if let Some(happened) = event.traceparent.as_deref().and_then(TraceContext::sampled) {
            happened.link(&span);
        }
    }
    let telling = patiently(timeout, || tell(aggregates.concat())).instrument(span);
    let mut outcomes = match telling.await {
        Ok(outcomes) => outcomes.into_iter(),
        Err(failure) => {
            let none = |events| Told::up_to(0, failure.clone(), events);
            return aggregates.into_iter().map(none).collect();
        }
    };
    let mut all = Vec::with_capacity(aggregates.len());
    for events in aggregates {
        let mut first = None;
        for place in 0..events.len() {
            let unanswered = || Err(DeliveryError::failed("the handler did not answer for it"));
            let outcome = outcomes.next().unwrap_or_else(unanswered);
            if let (Err(failure), None) = (outcome, &first) {
                first = Some((place, failure));
            }
        }
        all.push(match first {
            Some((place, failure)) => Told::up_to(place, failure, events),
            None => Told::all(&events),
        });
    }
    all
}

/// Waits for a handler, which may panic or hang.
async fn patiently<T>(
    timeout: Duration,
    call: impl FnOnce() -> BoxFuture<'static, T>,
) -> Result<T, DeliveryError> {
    let answer = AssertUnwindSafe(async { call().await }).catch_unwind();
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(DeliveryError::failed("the handler panicked")),
        Err(_) => Err(DeliveryError::failed("the handler took too long")),
    }
}

impl Told {
    fn all(events: &[OutboxEvent]) -> Told {
        Told {
            delivered: events.len(),
            failure: None,
            left: Vec::new(),
        }
    }

    fn up_to(delivered: usize, failure: DeliveryError, mut events: Vec<OutboxEvent>) -> Told {
        Told {
            delivered,
            failure: Some(failure),
            left: events.split_off(delivered),
        }
    }
}
