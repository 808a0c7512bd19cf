//! Tells one consumer what is in the outbox.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use chrono::{DateTime, Utc};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge},
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    DeliveryError, Handler, OutboxEvent, Position, Wake,
    handler::{Bounds, Told},
    prune,
    store::{Batch, Parking, Retried, Store},
};
use crate::{clock::Clock, lease::Lease, telemetry::meters};

/// The first wait after a round that found nothing; it doubles up to the poll interval. An event that
/// was just committed may have to wait for a neighbour's transaction to end.
const LOOK_AGAIN: Duration = Duration::from_millis(4);
/// How often old events are removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// How a relay works. Times are written as in `"5s"`, `"250ms"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelayConfig {
    /// Events read at once, at most.
    pub batch_max: u32,
    /// How long after it began to tell some events the relay reads the next, at the soonest: what happens
    /// meanwhile is told together. A full batch, and an event after a rest, is told at once.
    #[serde(with = "humantime_serde")]
    pub gather: Duration,
    /// Aggregates told about at once, at most.
    pub parallel_max: usize,
    /// How long a delivery may take before it counts as failed.
    #[serde(with = "humantime_serde")]
    pub delivery_timeout: Duration,
    /// How often the relay looks by itself, without a poke.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// The wait before a parked event is tried again; it doubles each time.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// The longest such wait.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// How long another process waits before it takes over from one that is gone.
    #[serde(with = "humantime_serde")]
    pub lease_ttl: Duration,
    /// How long delivered events are kept.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            batch_max: 500,
            gather: Duration::from_millis(20),
            parallel_max: 16,
            delivery_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_secs(1),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(60),
            lease_ttl: Duration::from_secs(5),
            keep: Duration::from_secs(24 * 3600),
        }
    }
}

/// Tells one consumer every event, at least once, those of one aggregate in order. Any number of
/// processes may run it; one of them works at a time.
#[derive(Debug)]
pub struct Relay {
    store: Store,
    clock: Clock,
    wake: Wake,
    config: RelayConfig,
    pub(super) prune_interval: Duration,
}

/// What is measured.
struct Measures {
    delivered: Counter<u64>,
    parked: Counter<u64>,
    lag: Gauge<f64>,
}

static MEASURES: LazyLock<Measures> = LazyLock::new(|| Measures {
    delivered: meters::counter(
        "jitney.outbox.delivered",
        "{event}",
        "Events that a consumer was told",
    ),
    parked: meters::counter(
        "jitney.outbox.parked",
        "{event}",
        "Events that were set aside, to be told later",
    ),
    lag: meters::meter()
        .f64_gauge("jitney.outbox.lag")
        .with_unit("s")
        .with_description("How old the oldest event is that a consumer has yet to be told")
        .build(),
});

/// What is known of the consumer for as long as the lease is held: nobody else moves it.
struct Held {
    /// When the lease was last held.
    at: Instant,
    /// How far the consumer has been told.
    cursor: Position,
    /// Whether events may have been set aside.
    has_parked: bool,
}

/// What a round has found to do.
#[derive(PartialEq)]
enum Round {
    /// Something, and there is more.
    Busy,
    /// Something, perhaps all there was.
    Told,
    /// Nothing now.
    Idle,
    /// The consumer is away, or another process does the work: no need to hurry.
    Away,
}

impl Relay {
    /// A relay from the outbox in the pool's schema to `consumer`.
    pub fn new(
        pool: PgPool,
        consumer: &'static str,
        clock: Clock,
        wake: Wake,
        config: RelayConfig,
    ) -> Self {
        let lease = Lease::new(pool.clone(), format!("outbox-{consumer}"), config.lease_ttl);
        Self {
            store: Store {
                pool,
                consumer,
                lease,
            },
            clock,
            wake,
            config,
            prune_interval: PRUNE_INTERVAL,
        }
    }

    /// Works until `shutdown`; what was begun is finished.
    pub async fn run(self, handler: Handler, shutdown: CancellationToken) {
        let mut wait = LOOK_AGAIN;
        let mut pokes = self.wake.subscribe();
        let mut held = None;
        // On the page from the start.
        MEASURES.parked.add(0, &self.labels());
        let mut pruned = Instant::now();
        while !shutdown.is_cancelled() {
            // Whether there is a rest between the rounds or none.
            if pruned.elapsed() > self.prune_interval {
                pruned = Instant::now();
                self.prune().await;
            }
            let begun = Instant::now();
            let next = match self.round(&handler, &mut held).await {
                Ok(Round::Busy) => {
                    wait = LOOK_AGAIN;
                    continue;
                }
                Ok(Round::Told) => {
                    wait = LOOK_AGAIN;
                    begun + self.config.gather
                }
                Ok(Round::Idle) => {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        // It ends never: we hold a sender ourselves.
                        _ = pokes.changed() => wait = LOOK_AGAIN,
                        () = tokio::time::sleep(wait) => {
                            wait = (wait * 2).min(self.config.poll_interval);
                        }
                    }
                    continue;
                }
                Ok(Round::Away) => {
                    held = None;
                    Instant::now() + self.config.poll_interval
                }
                Err(error) => {
                    held = None;
                    tracing::warn!(consumer = self.store.consumer, %error, "the outbox rests");
                    Instant::now() + self.config.poll_interval
                }
            };
            // However much happens meanwhile.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
        if let Err(error) = self.store.lease.release().await {
            tracing::debug!(consumer = self.store.consumer, %error, "the lease ends by itself");
        }
    }

    /// One look at the outbox.
    async fn round(
        &self,
        handler: &Handler,
        held: &mut Option<Held>,
    ) -> Result<Round, sqlx::Error> {
        let Some(held) = self.hold(held).await? else {
            return Ok(Round::Away);
        };
        let retried = held.has_parked && self.retry_parked(handler, held).await?;
        let is_wanted = |event: &OutboxEvent| handler.wants(event);
        let batch_max = self.config.batch_max.into();
        let next = self.store.read(&held.cursor, batch_max, is_wanted);
        let batch = next.await?;
        let lag = batch.as_ref().map(|batch| self.clock.now() - batch.oldest);
        self.measure_lag(lag.unwrap_or_default());
        match batch {
            Some(batch) => self.tell_batch(batch, handler, held).await,
            None => Ok(if retried { Round::Told } else { Round::Idle }),
        }
    }

    /// Takes or keeps the lease; none when it is another's.
    async fn hold<'a>(
        &self,
        held: &'a mut Option<Held>,
    ) -> Result<Option<&'a mut Held>, sqlx::Error> {
        let is_fresh = |held: &Held| held.at.elapsed() <= self.config.lease_ttl / 3;
        if !held.as_ref().is_some_and(is_fresh) {
            let now = Instant::now();
            if !self.store.lease.hold().await? {
                *held = None;
                return Ok(None);
            }
            match held {
                Some(held) => held.at = now,
                None => {
                    *held = Some(Held {
                        at: now,
                        cursor: self.store.begin().await?,
                        has_parked: self.store.has_parked().await?,
                    });
                }
            }
        }
        Ok(held.as_mut())
    }

    async fn tell_batch(
        &self,
        batch: Batch,
        handler: &Handler,
        held: &mut Held,
    ) -> Result<Round, sqlx::Error> {
        let (waiting, ready) = self.apart(batch.aggregates, held).await?;
        let told = handler
            .tell(self.store.consumer, ready, self.bounds())
            .await;

        let unavailable = |told: &Told| matches!(told.failure, Some(DeliveryError::Unavailable(_)));
        if !told.is_empty()
            && told
                .iter()
                .all(|told| told.delivered == 0 && unavailable(told))
        {
            // Nothing gets through: parking everything there is would help nobody.
            if let Some(DeliveryError::Unavailable(error)) =
                told.into_iter().find_map(|t| t.failure)
            {
                tracing::warn!(
                    consumer = self.store.consumer,
                    error,
                    "the consumer is away"
                );
            }
            return Ok(Round::Away);
        }

        let delivered = told.iter().map(|told| told.delivered as u64).sum();
        MEASURES.delivered.add(delivered, &self.labels());
        let now = self.clock.now();
        let mut parking: Vec<_> = told
            .into_iter()
            .flat_map(|told| self.park(told, now))
            .collect();
        let behind = waiting.into_iter().flatten();
        parking.extend(behind.map(|event| wait_behind(event, now)));
        held.has_parked |= !parking.is_empty();
        MEASURES.parked.add(parking.len() as u64, &self.labels());
        let advanced = self.store.advance(&batch.end, &parking).await?;
        if !advanced {
            tracing::info!(
                consumer = self.store.consumer,
                "another process has taken over"
            );
            return Ok(Round::Away);
        }
        held.cursor = batch.end;
        Ok(if batch.full {
            Round::Busy
        } else if parking.is_empty() {
            Round::Told
        } else {
            Round::Idle
        })
    }

    /// Aggregates that wait for an event that was set aside, and those that do not.
    async fn apart(
        &self,
        aggregates: Vec<Vec<OutboxEvent>>,
        held: &Held,
    ) -> Result<(Vec<Vec<OutboxEvent>>, Vec<Vec<OutboxEvent>>), sqlx::Error> {
        if !held.has_parked {
            return Ok((Vec::new(), aggregates));
        }
        let id_of = |events: &Vec<OutboxEvent>| events.first().map(|event| event.aggregate_id);
        let ids: Vec<_> = aggregates.iter().filter_map(id_of).collect();
        let waiting = self.store.parked(&ids).await?;
        Ok(aggregates
            .into_iter()
            .partition(|events| id_of(events).is_some_and(|id| waiting.contains(&id))))
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            timeout: self.config.delivery_timeout,
            parallel_max: self.config.parallel_max,
        }
    }

    fn park(&self, told: Told, now: DateTime<Utc>) -> Vec<Parking> {
        let mut left = told.left.into_iter();
        let (Some(failed), Some(failure)) = (left.next(), told.failure) else {
            return Vec::new();
        };
        tracing::warn!(consumer = self.store.consumer, event = ?failed, error = %failure, "parked");
        let first = Parking {
            event: failed,
            attempts: 1,
            next_attempt_at: now + self.backoff(1),
            error: Some(failure.to_string()),
        };
        std::iter::once(first)
            .chain(left.map(|event| wait_behind(event, now)))
            .collect()
    }

    /// Tries parked events again, the first of each aggregate; whether any got through.
    async fn retry_parked(&self, handler: &Handler, held: &mut Held) -> Result<bool, sqlx::Error> {
        let due = self
            .store
            .due(self.clock.now(), self.config.batch_max.into())
            .await?;
        if due.is_empty() {
            held.has_parked = self.store.has_parked().await?;
            return Ok(false);
        }
        let mut attempts = HashMap::with_capacity(due.len());
        let mut events = Vec::with_capacity(due.len());
        for due in due {
            attempts.insert(due.event.event_id, due.attempts);
            events.push(vec![due.event]);
        }
        let told = handler
            .tell(self.store.consumer, events, self.bounds())
            .await;
        let mut failures = HashMap::new();
        for told in told {
            if let (Some(failure), Some(event)) = (told.failure, told.left.first()) {
                failures.insert(event.event_id, failure);
            }
        }
        let retried: Vec<Retried> = attempts
            .into_iter()
            .map(|(event_id, attempts)| {
                let failure = failures.remove(&event_id).map(|error| {
                    let wait = self.backoff(attempts + 1);
                    (self.clock.now() + wait, error.to_string())
                });
                (event_id, failure)
            })
            .collect();
        self.store.retried(&retried).await?;
        Ok(retried.iter().any(|(_, failure)| failure.is_none()))
    }

    /// The wait after so many tries.
    fn backoff(&self, attempts: i32) -> Duration {
        let doublings = u32::try_from(attempts.saturating_sub(1))
            .unwrap_or(0)
            .min(20);
        let wait = self.config.backoff_min.saturating_mul(1 << doublings);
        wait.min(self.config.backoff_max)
    }

    /// How old the oldest event is that has yet to be told; nothing where none has.
    fn measure_lag(&self, lag: chrono::TimeDelta) {
        let seconds = lag.to_std().unwrap_or_default().as_secs_f64();
        MEASURES.lag.record(seconds, &self.labels());
    }

    fn labels(&self) -> [KeyValue; 1] {
        [KeyValue::new("consumer", self.store.consumer)]
    }

    async fn prune(&self) {
        match prune(&self.store.pool, self.config.keep).await {
            Ok(0) => {}
            Ok(events) => tracing::debug!(events, "old events were removed from the outbox"),
            Err(error) => tracing::warn!(%error, "old events could not be removed"),
        }
    }
}

/// An event that waits for an earlier one of its aggregate; it is due when that is out of the way.
fn wait_behind(event: OutboxEvent, now: DateTime<Utc>) -> Parking {
    Parking {
        event,
        attempts: 0,
        next_attempt_at: now,
        error: None,
    }
}
