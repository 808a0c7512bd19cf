//! Tells one consumer what is in the outbox.

use std::{panic::AssertUnwindSafe, time::Duration};

use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    DeliveryError, OutboxEvent, Wake, prune,
    store::{Batch, Parking, Retried, Store},
};
use crate::{clock::Clock, lease::Lease};

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
            batch_max: 200,
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
}

/// What became of one aggregate's events.
struct Told {
    delivered: usize,
    failure: Option<DeliveryError>,
    /// The event that failed and those behind it.
    left: Vec<OutboxEvent>,
}

/// What a round has found to do.
#[derive(PartialEq)]
enum Round {
    /// Something, and there may be more.
    Busy,
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
        }
    }

    /// Works until `shutdown`; what was begun is finished. The handler tells the consumer one event
    /// and must bear to be called again with the same one.
    pub async fn run<H>(self, handler: H, shutdown: CancellationToken)
    where
        H: Fn(OutboxEvent) -> BoxFuture<'static, Result<(), DeliveryError>> + Send + Sync,
    {
        let mut wait = LOOK_AGAIN;
        let mut pokes = self.wake.subscribe();
        let mut held = None;
        let mut pruned = Instant::now();
        while !shutdown.is_cancelled() {
            match self.round(&handler, &mut held).await {
                Ok(Round::Busy) => {
                    wait = LOOK_AGAIN;
                    continue;
                }
                Ok(Round::Idle) => {}
                Ok(Round::Away) => wait = self.config.poll_interval,
                Err(error) => {
                    held = None;
                    tracing::warn!(consumer = self.store.consumer, %error, "the outbox rests");
                    wait = self.config.poll_interval;
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                // It ends never: we hold a sender ourselves.
                _ = pokes.changed() => wait = LOOK_AGAIN,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(self.config.poll_interval),
            }
            if pruned.elapsed() > PRUNE_INTERVAL {
                pruned = Instant::now();
                self.prune().await;
            }
        }
        if let Err(error) = self.store.lease.release().await {
            tracing::debug!(consumer = self.store.consumer, %error, "the lease ends by itself");
        }
    }

    /// One look at the outbox. `held` is when the lease was last held.
    async fn round<H>(&self, handler: &H, held: &mut Option<Instant>) -> Result<Round, sqlx::Error>
    where
        H: Fn(OutboxEvent) -> BoxFuture<'static, Result<(), DeliveryError>> + Send + Sync,
    {
        if held.is_none_or(|at| at.elapsed() > self.config.lease_ttl / 3) {
            let now = Instant::now();
            if !self.store.lease.hold().await? {
                *held = None;
                return Ok(Round::Away);
            }
            if held.replace(now).is_none() {
                self.store.begin().await?;
            }
        }
        let retried = self.retry_parked(handler).await?;
        match self.store.read(self.config.batch_max.into()).await? {
            Some(batch) => {
                let round = self.tell_batch(batch, handler).await?;
                if round == Round::Away {
                    *held = None;
                }
                Ok(round)
            }
            None => Ok(if retried { Round::Busy } else { Round::Idle }),
        }
    }

    async fn tell_batch<H>(&self, batch: Batch, handler: &H) -> Result<Round, sqlx::Error>
    where
        H: Fn(OutboxEvent) -> BoxFuture<'static, Result<(), DeliveryError>> + Send + Sync,
    {
        let id_of = |events: &Vec<OutboxEvent>| events.first().map(|event| event.aggregate_id);
        let ids: Vec<_> = batch.aggregates.iter().filter_map(id_of).collect();
        let waiting = self.store.parked(&ids).await?;
        let (waiting, ready): (Vec<_>, Vec<_>) = batch
            .aggregates
            .into_iter()
            .partition(|events| id_of(events).is_some_and(|id| waiting.contains(&id)));

        let told: Vec<Told> = stream::iter(ready)
            .map(|events| self.tell_aggregate(events, handler))
            .buffer_unordered(self.config.parallel_max.max(1))
            .collect()
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

        let now = self.clock.now();
        let mut parking: Vec<_> = told
            .into_iter()
            .flat_map(|told| self.park(told, now))
            .collect();
        let behind = waiting.into_iter().flatten();
        parking.extend(behind.map(|event| wait_behind(event, now)));
        let advanced = self.store.advance(&batch.end, &parking).await?;
        if !advanced {
            tracing::info!(
                consumer = self.store.consumer,
                "another process has taken over"
            );
            return Ok(Round::Away);
        }
        Ok(if batch.full || parking.is_empty() {
            Round::Busy
        } else {
            Round::Idle
        })
    }

    /// Tells the events of one aggregate in order, as far as it goes.
    async fn tell_aggregate<H>(&self, events: Vec<OutboxEvent>, handler: &H) -> Told
    where
        H: Fn(OutboxEvent) -> BoxFuture<'static, Result<(), DeliveryError>> + Send + Sync,
    {
        for (delivered, event) in events.iter().enumerate() {
            if let Err(failure) = self.tell(event.clone(), handler).await {
                let left = events[delivered..].to_vec();
                return Told {
                    delivered,
                    failure: Some(failure),
                    left,
                };
            }
        }
        Told {
            delivered: events.len(),
            failure: None,
            left: Vec::new(),
        }
    }

    async fn tell<H>(&self, event: OutboxEvent, handler: &H) -> Result<(), DeliveryError>
    where
        H: Fn(OutboxEvent) -> BoxFuture<'static, Result<(), DeliveryError>> + Send + Sync,
    {
        let delivery = AssertUnwindSafe(async { handler(event).await }).catch_unwind();
        match tokio::time::timeout(self.config.delivery_timeout, delivery).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(DeliveryError::failed("the handler panicked")),
            Err(_) => Err(DeliveryError::failed("the handler took too long")),
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
    async fn retry_parked<H>(&self, handler: &H) -> Result<bool, sqlx::Error>
    where
        H: Fn(OutboxEvent) -> BoxFuture<'static, Result<(), DeliveryError>> + Send + Sync,
    {
        let due = self
            .store
            .due(self.clock.now(), self.config.batch_max.into())
            .await?;
        if due.is_empty() {
            return Ok(false);
        }
        let retried: Vec<Retried> = stream::iter(due)
            .map(|due| async move {
                let event_id = due.event.event_id;
                let outcome = self.tell(due.event, handler).await;
                let failure = outcome.err().map(|error| {
                    let wait = self.backoff(due.attempts + 1);
                    (self.clock.now() + wait, error.to_string())
                });
                (event_id, failure)
            })
            .buffer_unordered(self.config.parallel_max.max(1))
            .collect()
            .await;
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
