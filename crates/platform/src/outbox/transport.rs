//! How events get from a service's outbox to those who are told. Services know this trait and nothing of
//! what is behind it: on one machine that is the database itself.

use futures::{FutureExt, future::BoxFuture};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{Handler, Relay, RelayConfig, Wake};
use crate::clock::Clock;

/// Carries events from one service's outbox to its consumers.
pub trait Transport: Send + Sync {
    /// Tells `consumer` every event, at least once, those of one aggregate in order, until `shutdown`.
    /// Any number of processes may do so; one of them works at a time.
    fn carry(
        &self,
        consumer: &'static str,
        handler: Handler,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()>;
}

/// Carries events by reading the outbox, with a cursor for each consumer beside it. Needs nothing but the
/// database that the events are in.
#[derive(Clone, Debug)]
pub struct PostgresTransport {
    /// The schema with the outbox.
    pub pool: PgPool,
    /// When what is tried again is due.
    pub clock: Clock,
    /// Poked when an event was committed.
    pub wake: Wake,
    /// How it works.
    pub config: RelayConfig,
}

impl Transport for PostgresTransport {
    fn carry(
        &self,
        consumer: &'static str,
        handler: Handler,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let relay = Relay::new(
            self.pool.clone(),
            consumer,
            self.clock.clone(),
            self.wake.clone(),
            self.config.clone(),
        );
        relay.run(handler, shutdown).boxed()
    }
}
