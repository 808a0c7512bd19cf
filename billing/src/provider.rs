//! Payment providers: who moves the money that the ledger speaks of.
//!
//! The ledger decides, the provider is told. Every [`Operation`] is made from a fact of the ledger and
//! has a key made from that fact, so that however often it is asked for it is the same one. An answer that
//! is lost leaves it [`Outcome::Unknown`]: it is then looked for ([`Provider::find`]), and sent again, under
//! the same key, only when the provider never saw it. [`teller`] is the job that does so.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jitney_proto::{ids::TripId, money::Money};
use uuid::Uuid;

use crate::chargeback::ChargebackState;

pub mod config;
pub mod sandbox;
pub mod stripe;
pub mod teller;

/// What is asked of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sets a rider's money aside.
    Authorize,
    /// Takes what was set aside, or a part of it; the rest is released.
    Capture,
    /// Releases what was set aside.
    Void,
    /// Gives back what was taken, or a part of it.
    Refund,
    /// Sends a driver money.
    Transfer,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [
        Kind::Authorize,
        Kind::Capture,
        Kind::Void,
        Kind::Refund,
        Kind::Transfer,
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Authorize => "AUTHORIZE",
            Kind::Capture => "CAPTURE",
            Kind::Void => "VOID",
            Kind::Refund => "REFUND",
            Kind::Transfer => "TRANSFER",
        }
    }
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Was never sent.
    Pending,
    /// Is on its way, or the process that sent it is gone.
    Sent,
    /// Was carried out. An end.
    Succeeded,
    /// Was refused. An end.
    Declined,
    /// Has had no answer.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [State; 5] = [
        State::Pending,
        State::Sent,
        State::Succeeded,
        State::Declined,
        State::Unknown,
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Sent => "SENT",
            State::Succeeded => "SUCCEEDED",
            State::Declined => "DECLINED",
            State::Unknown => "UNKNOWN",
        }
    }
}

/// One thing to be asked of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The trip, or the payout.
    pub subject: Uuid,
    /// What is asked.
    pub kind: Kind,
    /// Which one of its kind, from 1.
    pub seq: i32,
    /// Its name; the provider does what has the same name once.
    pub key: String,
    /// Who pays, or is paid.
    pub owner: String,
    /// How much; nothing for a void.
    pub amount: Money,
    /// The provider's name for the authorisation that it is about.
    pub authorization: Option<String>,
    /// The provider's names for who pays or is paid; none when nobody told us.
    pub account: Option<ProviderAccount>,
    /// When the ledger's fact was seen. It was not asked for before.
    pub planned_at: DateTime<Utc>,
}

/// The provider's names for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderAccount {
    /// Who they are.
    pub account: String,
    /// What they pay with.
    pub payment_method: Option<String>,
}

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerRole {
    /// Somebody who pays.
    Rider,
    /// Somebody who is paid.
    Driver,
}

impl OwnerRole {
    /// Every role.
    pub const ALL: [OwnerRole; 2] = [OwnerRole::Rider, OwnerRole::Driver];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            OwnerRole::Rider => "RIDER",
            OwnerRole::Driver => "DRIVER",
        }
    }
}

/// What a provider tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The provider's name for it.
    pub id: String,
    /// What it is about, in the provider's words.
    pub kind: String,
    /// The trip or the payout, if it is about one of ours.
    pub subject: Option<Uuid>,
    /// The dispute that it tells of.
    pub dispute: Option<Dispute>,
}

/// What a provider tells of a payment that a rider had taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// The provider's name for it.
    pub id: String,
    /// The trip, where the provider says so.
    pub trip: Option<TripId>,
    /// The provider's name for the payment.
    pub payment: String,
    /// How much was taken back.
    pub amount: Money,
    /// Where it stands.
    pub state: ChargebackState,
}

/// Why a message is not an event of the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The provider in use tells nothing by itself, or its secret is not configured.
    #[error("the payment provider in use sends no events")]
    NotExpected,
    /// The signature is not the provider's, or is about something else.
    #[error("the signature is not the provider's")]
    Forged,
    /// It was signed too long ago, or in the future.
    #[error("the signature is too old, or from the future")]
    Stale,
    /// It is the provider's and cannot be read.
    #[error("the event cannot be read")]
    Unreadable,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out; the provider's name for it.
    Succeeded {
        /// That name.
        reference: String,
    },
    /// It was refused for good.
    Declined {
        /// Why.
        reason: String,
    },
    /// It may have been carried out or not: the answer was lost, late or no answer.
    Unknown {
        /// What went wrong.
        error: String,
    },
}

impl Outcome {
    /// There is no telling.
    pub fn unknown(error: impl ToString) -> Outcome {
        Outcome::Unknown {
            error: error.to_string(),
        }
    }
}

/// What a provider has under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This became of it.
    Known(Outcome),
    /// It never saw such an operation.
    Never,
}

/// A row of a provider's book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The trip or the payout.
    pub subject: Uuid,
    /// The key it was asked under.
    pub key: String,
    /// How much.
    pub amount: Money,
    /// What became of it.
    pub outcome: Outcome,
}

/// Somebody who moves money. Whatever is asked under the same key twice is done once. Implementations do
/// not retry; whoever calls them looks first.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Its name in the database; it never changes.
    fn name(&self) -> &'static str;

    /// Does what an operation's [`Kind`] says: sets its amount aside, takes it (at most what was set aside,
    /// the rest of which is released), releases it, gives it back, or sends it to a driver.
    async fn carry_out(&self, operation: &Operation) -> Outcome;

    /// What became of an operation.
    async fn find(&self, operation: &Operation) -> Found;

    /// What the provider's book has of a time, at most so many rows; none when it does not give it out.
    ///
    /// # Errors
    /// In words, when the provider gives no answer.
    async fn list(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        at_most: usize,
    ) -> Result<Option<Vec<Listed>>, String>;

    /// Reads what the provider is said to tell by itself, if it is signed as theirs at about `now`.
    ///
    /// # Errors
    /// When it is not.
    fn event(
        &self,
        payload: &[u8],
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<Event, EventError>;
}
