//! What one relay reads and writes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{Connection, FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{OutboxEvent, Position, statements};
use crate::lease::Lease;

/// Longer errors are cut.
const ERROR_CHARS_MAX: usize = 500;

/// The outbox as one consumer's relay sees it.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) pool: PgPool,
    pub(super) consumer: &'static str,
    pub(super) lease: Lease,
}

/// An event to be set aside.
#[derive(Debug)]
pub(super) struct Parking {
    pub(super) event: OutboxEvent,
    /// 0 for one that waits for another.
    pub(super) attempts: i32,
    pub(super) next_attempt_at: DateTime<Utc>,
    pub(super) error: Option<String>,
}

/// An event that was set aside.
#[derive(Debug, FromRow)]
pub(super) struct Due {
    #[sqlx(flatten)]
    pub(super) event: OutboxEvent,
    pub(super) attempts: i32,
}

/// What became of a second try: `None` when it was delivered.
pub(super) type Retried = (Uuid, Option<(DateTime<Utc>, String)>);

/// A batch: the events that the consumer wants by aggregate, each in the order of its versions, and the
/// position of the last one, wanted or not.
pub(super) struct Batch {
    pub(super) aggregates: Vec<Vec<OutboxEvent>>,
    /// When the oldest of all events happened, by the database's clock.
    pub(super) oldest: DateTime<Utc>,
    pub(super) end: Position,
    pub(super) full: bool,
}

impl Store {
    /// Where the consumer is; at the beginning, when it has not been told anything.
    pub(super) async fn begin(&self) -> Result<Position, sqlx::Error> {
        let query = sqlx::query(statements::BEGIN_CURSOR).bind(self.consumer);
        query.execute(&self.pool).await?;
        sqlx::query_as(statements::READ_CURSOR)
            .bind(self.consumer)
            .fetch_one(&self.pool)
            .await
    }

    /// The next events after a position, if there are any, and of those what is wanted.
    pub(super) async fn read(
        &self,
        cursor: &Position,
        events_max: i64,
        is_wanted: impl Fn(&OutboxEvent) -> bool,
    ) -> Result<Option<Batch>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let events: Vec<OutboxEvent> = sqlx::query_as(statements::READ_EVENTS)
            .bind(&cursor.xid)
            .bind(cursor.seq)
            .bind(events_max)
            // Planned when it runs: a plan from when the outbox was empty would read all of it.
            .persistent(false)
            .fetch_all(&mut *connection)
            .await?;
        let oldest = events.iter().map(|event| event.created_at).min();
        let end = events.last().map(|event| event.position.clone());
        let (Some(oldest), Some(end)) = (oldest, end) else {
            return Ok(None);
        };
        let full = i64::try_from(events.len()).unwrap_or(i64::MAX) >= events_max;
        let wanted = events.into_iter().filter(&is_wanted).collect();
        let mut aggregates = by_aggregate(wanted);
        if !aggregates.is_empty() {
            let stragglers = stragglers(&mut connection, &aggregates, &end).await?;
            if !stragglers.is_empty() {
                let stragglers = stragglers.into_iter().filter(&is_wanted);
                let events = aggregates.into_iter().flatten().chain(stragglers);
                aggregates = by_aggregate(events.collect());
            }
        }
        Ok(Some(Batch {
            aggregates,
            oldest,
            end,
            full,
        }))
    }

    /// Whether any event was set aside.
    pub(super) async fn has_parked(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(statements::HAS_PARKED)
            .bind(self.consumer)
            .fetch_one(&self.pool)
            .await
    }

    /// Which of these aggregates wait for an event that was set aside.
    pub(super) async fn parked(&self, ids: &[Uuid]) -> Result<HashSet<Uuid>, sqlx::Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(statements::READ_PARKED_AGGREGATES)
            .bind(self.consumer)
            .bind(ids)
            .fetch_all(&self.pool)
            .await?;
        Ok(ids.into_iter().collect())
    }

    /// Events that were set aside and are to be tried again.
    pub(super) async fn due(
        &self,
        now: DateTime<Utc>,
        events_max: i64,
    ) -> Result<Vec<Due>, sqlx::Error> {
        sqlx::query_as(statements::READ_DUE)
            .bind(self.consumer)
            .bind(now)
            .bind(events_max)
            .fetch_all(&self.pool)
            .await
    }

    /// Moves the cursor past a batch whose events were delivered but for those in `parking`. `false`
    /// when another process has taken over; then it tells the batch again.
    pub(super) async fn advance(
        &self,
        end: &Position,
        parking: &[Parking],
    ) -> Result<bool, sqlx::Error> {
        if parking.is_empty() {
            return self.move_on(end, &mut *self.pool.acquire().await?).await;
        }
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        if !self.move_on(end, &mut transaction).await? {
            return Ok(false);
        }
        for parking in parking {
            sqlx::query(statements::PARK)
                .bind(self.consumer)
                .bind(parking.event.event_id)
                .bind(parking.event.aggregate_id)
                .bind(&parking.event.position.xid)
                .bind(parking.event.position.seq)
                .bind(parking.attempts)
                .bind(parking.next_attempt_at)
                .bind(parking.error.as_deref().map(shorten))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn move_on(
        &self,
        end: &Position,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(statements::ADVANCE_CURSOR)
            .bind(self.consumer)
            .bind(&end.xid)
            .bind(end.seq)
            .bind(self.lease.name())
            .bind(self.lease.holder())
            .fetch_one(connection)
            .await
    }

    /// Records what became of second tries. `false` when another process has taken over.
    pub(super) async fn retried(&self, retried: &[Retried]) -> Result<bool, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        if !self.lease.confirm(&mut transaction).await? {
            return Ok(false);
        }
        for (event_id, failure) in retried {
            let query = match failure {
                None => sqlx::query(statements::UNPARK)
                    .bind(self.consumer)
                    .bind(event_id),
                Some((next_attempt_at, error)) => sqlx::query(statements::PARK_AGAIN)
                    .bind(self.consumer)
                    .bind(event_id)
                    .bind(next_attempt_at)
                    .bind(shorten(error)),
            };
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

/// Events behind the end of a batch that belong before ones inside it.
async fn stragglers(
    connection: &mut PgConnection,
    aggregates: &[Vec<OutboxEvent>],
    end: &Position,
) -> Result<Vec<OutboxEvent>, sqlx::Error> {
    let newest = aggregates.iter().filter_map(|events| events.last());
    let (ids, versions): (Vec<Uuid>, Vec<i64>) = newest
        .map(|event| (event.aggregate_id, event.version))
        .unzip();
    sqlx::query_as(statements::READ_STRAGGLERS)
        .bind(&end.xid)
        .bind(end.seq)
        .bind(ids)
        .bind(versions)
        .persistent(false)
        .fetch_all(connection)
        .await
}

/// The events of each aggregate in the order of their versions, aggregates in the order of their
/// first event.
fn by_aggregate(events: Vec<OutboxEvent>) -> Vec<Vec<OutboxEvent>> {
    let mut aggregates: Vec<Vec<OutboxEvent>> = Vec::new();
    let mut places = HashMap::new();
    for event in events {
        let place = *places.entry(event.aggregate_id).or_insert(aggregates.len());
        match aggregates.get_mut(place) {
            Some(aggregate) => aggregate.push(event),
            None => aggregates.push(vec![event]),
        }
    }
    for aggregate in &mut aggregates {
        // Stable: events of one version keep the order of the outbox.
        aggregate.sort_by_key(|event| event.version);
    }
    aggregates
}

fn shorten(error: &str) -> String {
    error.chars().take(ERROR_CHARS_MAX).collect()
}
