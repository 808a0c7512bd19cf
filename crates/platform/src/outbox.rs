//! The outbox: an event is written in the transaction that makes it true, and told to its consumers
//! afterwards, at least once and in order per aggregate, whatever crashes in between.
//!
//! The tables live in each service's own schema, made by its migrations; [`TABLES`] is their text. A
//! service appends with [`append`], pokes its [`Wake`] after the commit, and has a [`Transport`] carry the
//! events to each consumer. Consumers keep the ids or versions they have seen: what reaches them may reach
//! them again, even after later events.
//!
//! An event is told once every transaction that began before it has ended, so a transaction that is
//! left open anywhere on the server holds the events back; `idle_in_transaction_timeout` bounds ours.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, postgres::types::PgInterval};
use tokio::sync::watch;
use uuid::Uuid;

mod handler;
#[cfg(test)]
mod load_tests;
mod relay;
pub mod statements;
mod store;
#[cfg(test)]
mod tests;
mod transport;

pub use handler::{Delivery, Handler};
use relay::Relay;
pub use relay::RelayConfig;
pub use transport::{PostgresTransport, Transport};

/// The tables that the outbox and [`crate::lease`] need, for a service's migration.
pub const TABLES: &str = include_str!("outbox/tables.sql");

/// What came to them later: the trace that an event belongs to.
pub const TRACEPARENT: &str = include_str!("outbox/traceparent.sql");

/// An event to be told.
#[derive(Clone, Debug)]
pub struct NewEvent<'a> {
    /// By which consumers know it again.
    pub event_id: Uuid,
    /// What kind of thing it happened to, for example `trip`.
    pub aggregate_type: &'a str,
    /// Which of them.
    pub aggregate_id: Uuid,
    /// What happened, for example `ASSIGNED`.
    pub kind: &'a str,
    /// The event, encoded.
    pub payload: Vec<u8>,
    /// The thing's version that the event made. Events of one thing are told in this order.
    pub version: i64,
}

/// An event as its consumers are told it.
#[derive(Clone, PartialEq, FromRow)]
pub struct OutboxEvent {
    /// By which it is known again.
    #[sqlx(rename = "id")]
    pub event_id: Uuid,
    /// What kind of thing it happened to.
    #[sqlx(rename = "aggregatetype")]
    pub aggregate_type: String,
    /// Which of them.
    #[sqlx(rename = "aggregateid")]
    pub aggregate_id: Uuid,
    /// What happened.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// The thing's version that the event made.
    pub version: i64,
    /// The event, encoded.
    pub payload: Vec<u8>,
    /// The span it happened in, as W3C's header, for whatever comes of it to be in that trace.
    pub traceparent: Option<String>,
    /// When it happened, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// Where it stands in the outbox.
    #[sqlx(flatten)]
    position: Position,
}

impl fmt::Debug for OutboxEvent {
    // What is in an event is nobody's business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxEvent")
            .field("event_id", &self.event_id)
            .field("aggregate_id", &self.aggregate_id)
            .field("kind", &self.kind)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A place in the outbox: transaction and number.
#[derive(Clone, Debug, PartialEq, FromRow)]
struct Position {
    xid: String,
    seq: i64,
}

/// Why a consumer was not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It cannot be reached at all. When nothing else gets through either, the relay pauses.
    #[error("the consumer cannot be reached: {0}")]
    Unavailable(String),
    /// It would not take this event, which is parked with all later ones of its aggregate.
    #[error("{0}")]
    Failed(String),
}

impl DeliveryError {
    /// A failure to tell this one event.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<tonic::Status> for DeliveryError {
    fn from(status: tonic::Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => Self::Unavailable(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<sqlx::Error> for DeliveryError {
    fn from(error: sqlx::Error) -> Self {
        if crate::db::is_unavailable(&error) {
            Self::Unavailable(error.to_string())
        } else {
            Self::failed(error)
        }
    }
}

/// Makes relays prompt: poke it after the commit. They look by themselves every second anyway.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<watch::Sender<u64>>);

impl Wake {
    /// A new one, for the relays and the writers of one outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something was committed.
    pub fn poke(&self) {
        self.0.send_modify(|pokes| *pokes = pokes.wrapping_add(1));
    }

    /// What a relay listens to; it misses no poke, however busy it is.
    fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Writes an event, in the caller's transaction, with the trace context of the caller's span.
///
/// # Errors
/// Those of the database.
pub async fn append(
    transaction: &mut PgConnection,
    event: NewEvent<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(statements::APPEND)
        .bind(event.event_id)
        .bind(event.aggregate_type)
        .bind(event.aggregate_id)
        .bind(event.kind)
        .bind(event.version)
        .bind(event.payload)
        .bind(crate::telemetry::traceparent())
        .execute(transaction)
        .await
        .map(drop)
}

/// Removes events older than `keep` that every consumer has been told; how many.
///
/// # Errors
/// Those of the database.
pub async fn prune(pool: &PgPool, keep: Duration) -> Result<u64, sqlx::Error> {
    let microseconds = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let keep = PgInterval {
        months: 0,
        days: 0,
        microseconds,
    };
    let done = sqlx::query(statements::PRUNE)
        .bind(keep)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}
