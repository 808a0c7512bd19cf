//! The job that tells the provider what the ledger says, and the ledger what the provider did.
//!
//! ```text
//!               take up         answer
//!   PENDING ───────────> SENT ──────────> SUCCEEDED, DECLINED
//!                        ^  │ no answer
//!            look for it │  v
//!                       UNKNOWN
//! ```
//!
//! An operation is written down as sent before it is. Whoever finds one that was sent, because the answer
//! or the process was lost, looks for it first. A lease lets one process of several do this; what makes
//! it safe is that taking an operation up counts, and an answer to an earlier time is not written down.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use jitney_platform::{clock::Clock, lease::Lease, telemetry::TraceContext};
use jitney_proto::ids::{PayoutId, TripId};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::{Found, Kind, Operation, Outcome, Provider, State, config::ProviderConfig};
use crate::{
    Error,
    hold::Refusal,
    idempotency::Key,
    payout::PayoutState,
    store::{Due, Settlement, Store},
};

/// The lease's name.
const LEASE: &str = "provider";
/// Operations that are carried out side by side, at most.
const PARALLEL_MAX: usize = 16;
/// Operations that are read at once, at most.
const BATCH_MAX: i64 = 200;
/// The longest reason or error that is kept, characters.
const REASON_CHARS_MAX: usize = 500;

/// Does the job.
#[derive(Clone)]
pub struct Teller {
    store: Store,
    provider: Arc<dyn Provider>,
    config: ProviderConfig,
}

impl Teller {
    /// One that tells that provider.
    pub fn new(store: Store, provider: Arc<dyn Provider>, config: ProviderConfig) -> Teller {
        Teller {
            store,
            provider,
            config,
        }
    }

    /// Goes on until `shutdown`. Any number of processes may do so; one of them works. An operation that
    /// is cut off is looked for later, like one whose answer was lost.
    pub async fn run(self, clock: Clock, shutdown: CancellationToken) {
        let ttl = (3 * self.config.poll_interval).max(Duration::from_secs(5));
        let lease = Lease::new(self.store.pool().clone(), LEASE, ttl);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = clock.sleep(self.config.poll_interval) => {}
            }
            self.work(&lease, &shutdown).await;
        }
        if let Err(error) = lease.release().await {
            tracing::debug!(%error, "the provider's lease ends by itself");
        }
    }

    /// Rounds, until one finds nothing to do or is cut off. The lease is never cut off while it is being
    /// taken: the database would take it after it was given back, and others would wait for its end.
    async fn work(&self, lease: &Lease, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            match lease.hold().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "the provider's lease cannot be held");
                    return;
                }
            }
            let round = tokio::select! {
                () = shutdown.cancelled() => return,
                round = self.round() => round,
            };
            match round {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the provider could not be told");
                    return;
                }
            }
        }
    }

    /// Looks through the ledger once, takes up what is due once, and draws the consequences; how many
    /// operations came to an end.
    ///
    /// # Errors
    /// When the database fails. What was begun is taken up again.
    pub async fn round(&self) -> Result<usize, Error> {
        self.store.plan_operations(self.provider.name()).await?;
        self.store
            .post_operations(self.provider.name(), BATCH_MAX)
            .await?;
        let due = self
            .store
            .due_operations(self.provider.name(), BATCH_MAX)
            .await?;
        let ended = stream::iter(due)
            .map(|due| {
                let span = of_the_ride(&due);
                self.take_up(due).instrument(span)
            })
            .buffer_unordered(PARALLEL_MAX)
            .collect::<Vec<_>>()
            .await;
        self.release_lost_holds().await?;
        self.close_payouts().await?;
        let mut count = 0;
        for ended in ended {
            count += usize::from(ended?);
        }
        Ok(count)
    }

    /// Carries an operation out, or finds out what became of it; whether it came to an end.
    async fn take_up(&self, due: Due) -> Result<bool, Error> {
        // Nobody else takes it up before both calls have ended.
        let alone = 2 * self.config.timeout + self.config.backoff_min;
        let Some(time) = self.store.take_up_operation(&due, alone).await? else {
            return Ok(false);
        };
        let operation = &due.operation;
        let outcome = if due.is_baseless {
            Outcome::Declined {
                reason: "what it is about was declined or is over; it was not sent".to_owned(),
            }
        } else if due.state == State::Pending {
            self.send(operation).await
        } else {
            match self.find(operation).await {
                Found::Known(outcome) => outcome,
                Found::Never => self.send(operation).await,
            }
        };
        let settlement = Settlement::of(&outcome, self.config.backoff(time), REASON_CHARS_MAX);
        let is_written = self
            .store
            .settle_operation(operation, time, &settlement)
            .await?;
        if is_written {
            log(operation, &outcome, due.is_baseless);
        }
        Ok(is_written && !matches!(outcome, Outcome::Unknown { .. }))
    }

    async fn send(&self, operation: &Operation) -> Outcome {
        let sent =
            tokio::time::timeout(self.config.timeout, self.provider.carry_out(operation)).await;
        sent.unwrap_or_else(|_| Outcome::unknown("no answer in time"))
    }

    async fn find(&self, operation: &Operation) -> Found {
        let found = tokio::time::timeout(self.config.timeout, self.provider.find(operation)).await;
        found.unwrap_or_else(|_| Found::Known(Outcome::unknown("no answer in time")))
    }

    /// A hold that nobody guarantees is not kept open.
    async fn release_lost_holds(&self) -> Result<(), Error> {
        for trip in self.store.lost_holds(self.provider.name()).await? {
            let key = format!("{trip}:provider-declined");
            let key = Key::new(key).map_err(|_| Error::Unreadable("a trip's id".to_owned()))?;
            match self.store.void(&key, TripId(trip)).await {
                Ok(_) => tracing::info!(trip_id = %trip, "the hold was declined and is released"),
                // It was taken at this moment: then its capture is what fails.
                Err(Error::Refused(Refusal::HoldNotOpen(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Payouts arrive or come back as their transfers do.
    async fn close_payouts(&self) -> Result<(), Error> {
        for ended in self.store.ended_payouts(self.provider.name()).await? {
            let driver = ended.driver.parse();
            let driver = driver.map_err(|_| Error::Unreadable("a driver's id".to_owned()))?;
            let (state, reason) = match ended.arrived {
                true => (PayoutState::Settled, None),
                false => (PayoutState::Failed, Some(ended.reason.as_str())),
            };
            let closed = self
                .store
                .close_payout(&driver, PayoutId(ended.payout), state, reason);
            match closed.await {
                Ok(_) => {}
                // Somebody closed it otherwise at this moment.
                Err(Error::Refused(Refusal::PayoutNotOpen(state))) => tracing::error!(
                    payout_id = %ended.payout, arrived = ended.arrived, state = state.name(),
                    "a payout was closed otherwise than its transfer ended"
                ),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The span of an operation: in the trace of the ride that it belongs to, however late it comes.
fn of_the_ride(due: &Due) -> Span {
    let operation = &due.operation;
    let span = tracing::info_span!(
        parent: None,
        "provider.operation",
        otel.name = format!("provider {}", operation.kind.name()),
        operation.key = operation.key,
        operation.attempts = due.attempts,
    );
    if let Some(ride) = due.traceparent.as_deref().and_then(TraceContext::parse) {
        ride.adopt(&span);
    }
    span
}

/// Says what people have to know of: money that the ledger has moved and the provider has not.
fn log(operation: &Operation, outcome: &Outcome, is_baseless: bool) {
    let Operation {
        key, kind, amount, ..
    } = operation;
    match (outcome, kind) {
        (Outcome::Declined { reason }, Kind::Capture | Kind::Refund) => {
            tracing::error!(key, %amount, reason, "the provider declined what the ledger has moved");
        }
        (Outcome::Declined { reason }, _) if !is_baseless => {
            tracing::info!(key, %amount, reason, "the provider declined");
        }
        (Outcome::Unknown { error }, _) => {
            tracing::warn!(key, %amount, error, "the provider gave no answer");
        }
        _ => {}
    }
}
