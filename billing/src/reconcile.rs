//! Reconciliation: what we think the provider did, beside the provider's own book.
//!
//! What is under way is not compared. Where the provider gives its book out, what is in there and not with us
//! is found too; of the others every operation is asked for by itself.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use jitney_proto::money::Money;
use uuid::Uuid;

use crate::{
    Error,
    provider::{Found, Listed, Outcome, Provider, State},
    store::{Compared, Store},
};

/// Operations, and rows of the provider's book, that are compared at once, at most.
pub const OPERATIONS_MAX: usize = 2_000;
/// Differences that are told one by one, at most.
pub const ROWS_MAX: usize = 100;
/// Operations that are asked for side by side.
const PARALLEL: usize = 8;

/// How our books and the provider's differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Difference {
    /// We think it was carried out, and the provider never saw it.
    MissingThere,
    /// The provider has it and we never asked for it.
    MissingHere,
    /// The amounts or currencies differ.
    Amount,
    /// One of us thinks it was carried out and the other that it was not.
    State,
    /// It ended otherwise than the ledger says: a charge or a refund that was declined, a payout that was
    /// closed by hand and ended otherwise.
    Ledger,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub difference: Difference,
    /// The trip or the payout.
    pub subject: Uuid,
    /// The operation's key.
    pub key: String,
    /// The amount we have.
    pub ours: Option<Money>,
    /// The amount the provider has, where it says so.
    pub theirs: Option<Money>,
    /// Where we think it stands.
    pub our_state: Option<State>,
    /// Where the provider says it stands.
    pub their_state: Option<State>,
    /// Why it was declined, or what went wrong last.
    pub reason: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Operations of ours that were compared.
    pub compared: usize,
    /// Operations of ours that are under way.
    pub unfinished: usize,
    /// Operations the provider gave no answer about.
    pub unanswered: usize,
    /// How many differences of each kind there are.
    pub counts: HashMap<Difference, usize>,
    /// The first of them.
    pub rows: Vec<Row>,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// It is too much at once.
    #[error("there are more than {OPERATIONS_MAX} operations; ask for less time")]
    TooMany,
    /// The provider did not give its book out.
    #[error("the provider gave no answer: {0}")]
    Provider(String),
    /// The database failed.
    #[error(transparent)]
    Inside(#[from] Error),
}

impl Report {
    fn add(&mut self, row: Row) {
        *self.counts.entry(row.difference).or_default() += 1;
        if self.rows.len() < ROWS_MAX {
            self.rows.push(row);
        }
    }

    /// How many differences of that kind there are.
    pub fn count(&self, difference: Difference) -> usize {
        self.counts.get(&difference).copied().unwrap_or(0)
    }

    /// Judges one operation of ours by what the provider has.
    fn judge(&mut self, compared: &Compared, found: &Found, theirs: Option<Money>) {
        let Compared { due, reason, .. } = compared;
        let operation = &due.operation;
        self.compared += 1;
        let their_state = match found {
            Found::Known(Outcome::Succeeded { .. }) => Some(State::Succeeded),
            Found::Known(Outcome::Declined { .. }) => Some(State::Declined),
            Found::Known(Outcome::Unknown { .. }) => {
                self.unanswered += 1;
                return;
            }
            Found::Never => None,
        };
        let row = |difference| Row {
            difference,
            subject: operation.subject,
            key: operation.key.clone(),
            ours: Some(operation.amount),
            theirs,
            our_state: Some(due.state),
            their_state,
            reason: reason.clone(),
        };
        match (due.state, their_state) {
            (State::Succeeded, None) => self.add(row(Difference::MissingThere)),
            (ours, Some(theirs)) if ours != theirs => self.add(row(Difference::State)),
            _ if compared.is_against_ledger => self.add(row(Difference::Ledger)),
            _ => {}
        }
        if theirs.is_some_and(|theirs| theirs != operation.amount) {
            self.add(row(Difference::Amount));
        }
    }
}

/// Compares what was planned from `from` until `to`, and what the provider did in that time.
///
/// # Errors
/// When it is too much, the provider gives no answer, or the database fails.
pub async fn reconcile(
    store: &Store,
    provider: &dyn Provider,
    timeout: Duration,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Report, ReconcileError> {
    let listed = tokio::time::timeout(timeout, provider.list(from, to, OPERATIONS_MAX + 1)).await;
    let listed = listed.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let listed = listed
        .map_err(ReconcileError::Provider)?
        .unwrap_or_default();
    let keys: Vec<_> = listed
        .iter()
        .map(|entry| (entry.subject, entry.key.clone()))
        .collect();
    let name = provider.name();
    let ours = store
        .operations(name, from, to, &keys, OPERATIONS_MAX + 1)
        .await?;
    if ours.len() > OPERATIONS_MAX || listed.len() > OPERATIONS_MAX {
        return Err(ReconcileError::TooMany);
    }
    let mut book: HashMap<_, _> = keys.into_iter().zip(listed).collect();
    let mut report = Report::default();
    let mut to_ask = Vec::new();
    for compared in ours {
        let due = &compared.due;
        let operation = &due.operation;
        let entry = book.remove(&(operation.subject, operation.key.clone()));
        match (due.state, entry) {
            (State::Pending | State::Sent | State::Unknown, _) => report.unfinished += 1,
            (_, Some(entry)) => {
                report.judge(&compared, &Found::Known(entry.outcome), Some(entry.amount));
            }
            // What was released is judged by its release.
            (_, None) if due.is_baseless => report.compared += 1,
            (_, None) => to_ask.push(compared),
        }
    }
    let mut answers = stream::iter(to_ask)
        .map(|compared| async move {
            let found = tokio::time::timeout(timeout, provider.find(&compared.due.operation)).await;
            let late = |_| Found::Known(Outcome::unknown("no answer in time"));
            (found.unwrap_or_else(late), compared)
        })
        .buffered(PARALLEL);
    while let Some((found, compared)) = answers.next().await {
        report.judge(&compared, &found, None);
    }
    let mut theirs: Vec<Listed> = book.into_values().collect();
    theirs.sort_by(|a, b| (a.subject, &a.key).cmp(&(b.subject, &b.key)));
    for entry in theirs {
        let (state, reason) = match entry.outcome {
            Outcome::Succeeded { .. } => (State::Succeeded, None),
            Outcome::Declined { reason } => (State::Declined, Some(reason)),
            Outcome::Unknown { error } => (State::Unknown, Some(error)),
        };
        report.add(Row {
            difference: Difference::MissingHere,
            subject: entry.subject,
            key: entry.key,
            ours: None,
            theirs: Some(entry.amount),
            our_state: None,
            their_state: Some(state),
            reason,
        });
    }
    Ok(report)
}
