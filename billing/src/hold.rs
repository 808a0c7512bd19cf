//! Holds: money set aside for a trip until it is captured, released or runs out.
//!
//! ```text
//!          authorize            capture
//!   (none) ─────────> HELD ───────────────> CAPTURED
//!                       │  release, or time
//!                       └─────────────────> VOIDED
//! ```
//!
//! Each arrow is one SQL statement that locks the charge, judges it by the database's clock and
//! stores what it answered; see `sql/authorize_hold.sql`, `sql/capture_hold.sql` and
//! `sql/void_hold.sql`. What those statements may say is here.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, QuoteId, RiderId, TripId},
    money::{Currency, Money},
};
use serde::Deserialize;

use crate::{
    payout::{Payout, PayoutState},
    promotion::Credit,
    receipt::Receipt,
    refund::Refund,
    tip::Tip,
};

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HoldState {
    /// Waits for the end of the ride.
    Held,
    /// Was taken. An end.
    Captured,
    /// Was released or ran out. An end.
    Voided,
}

impl HoldState {
    /// Every state.
    pub const ALL: [HoldState; 3] = [HoldState::Held, HoldState::Captured, HoldState::Voided];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            HoldState::Held => "HELD",
            HoldState::Captured => "CAPTURED",
            HoldState::Voided => "VOIDED",
        }
    }
}

/// How a rider pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentMethod {
    /// By what the platform charges.
    #[default]
    Card,
    /// In cash, to the driver.
    Cash,
}

impl PaymentMethod {
    /// Every method.
    pub const ALL: [PaymentMethod; 2] = [PaymentMethod::Card, PaymentMethod::Cash];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            PaymentMethod::Card => "CARD",
            PaymentMethod::Cash => "CASH",
        }
    }
}

/// A hold as some statement left it: the row of `trip_charge`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Hold {
    /// The trip.
    pub trip_id: TripId,
    /// Where it stands.
    pub state: HoldState,
    /// The currency of the amounts.
    pub currency: Currency,
    /// How much was held, minor units.
    pub authorised: i64,
    /// How much was taken, minor units.
    pub captured: i64,
    /// How much of that was given back, minor units.
    #[serde(default)]
    pub refunded: i64,
    /// What the tips add up to, minor units; not part of what was taken.
    #[serde(default)]
    pub tipped: i64,
    /// What the rider had their bank take back, and was not given to us again.
    #[serde(default)]
    pub charged_back: i64,
    /// How it is paid.
    #[serde(default)]
    pub payment_method: PaymentMethod,
    /// Until when it may be captured.
    pub expires_at: DateTime<Utc>,
    /// How often it was moved; 0 where that was not counted yet.
    #[serde(default)]
    pub version: i64,
    /// What the payment provider thinks of it, where that is not what the ledger says.
    #[serde(default)]
    pub provider_state: Option<ProviderState>,
}

/// What a payment provider thinks of a charge that the ledger has held or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProviderState {
    /// It has not answered.
    Unknown,
    /// It declined to take it.
    Declined,
}

impl ProviderState {
    /// Every such state.
    pub const ALL: [ProviderState; 2] = [ProviderState::Unknown, ProviderState::Declined];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            ProviderState::Unknown => "UNKNOWN",
            ProviderState::Declined => "DECLINED",
        }
    }
}

/// Asks to hold a quoted fare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize {
    /// The trip.
    pub trip_id: TripId,
    /// Who pays.
    pub rider_id: RiderId,
    /// The price.
    pub quote_id: QuoteId,
    /// How it is paid.
    pub payment_method: PaymentMethod,
}

/// Asks to take a held fare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOf {
    /// The trip.
    pub trip_id: TripId,
    /// Who drove.
    pub driver_id: DriverId,
    /// How much; `None` for all that is held, or for the whole fee.
    pub amount: Option<Money>,
    /// What for.
    pub reason: Reason,
}

/// What is captured for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// The ride.
    #[default]
    Fare,
    /// The quote's cancellation fee.
    CancellationFee,
    /// The quote's no-show fee.
    NoShowFee,
}

/// What a money statement says. What may be otherwise a moment later is not kept with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Done,
    /// The trip has a hold, made under another key.
    AlreadyHeld,
    /// The quote ran out.
    QuoteExpired,
    /// The rider's open holds would go above the limit.
    Declined,
    /// The hold was captured, was released or ran out.
    HoldNotOpen,
    /// More is to be taken than is held.
    AboveHold,
    /// More is to be given back than is left of what was taken.
    AboveCaptured,
    /// The trip's tips would add up to more than is allowed.
    TipTooHigh,
    /// The fare was taken too long ago for a tip.
    TipTooLate,
    /// The ride was paid in cash, and so are its tips.
    TipInCash,
    /// The driver has a payout on its way.
    PayoutOpen,
    /// More is to be paid out than is owed.
    AboveOwed,
    /// There is no such quote.
    NoQuote,
    /// The quote is not as it was made, or was not made by us.
    QuoteNotGenuine,
    /// The amount is not in the currency of the hold.
    OtherCurrency,
    /// The rider has holds that ran out and still count; release them and ask again.
    LapsedInTheWay,
    /// The charge is not what the capture was planned for; plan and ask again.
    Changed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 17] = [
        Outcome::Done,
        Outcome::AlreadyHeld,
        Outcome::QuoteExpired,
        Outcome::Declined,
        Outcome::HoldNotOpen,
        Outcome::AboveHold,
        Outcome::AboveCaptured,
        Outcome::TipTooHigh,
        Outcome::TipTooLate,
        Outcome::TipInCash,
        Outcome::PayoutOpen,
        Outcome::AboveOwed,
        Outcome::NoQuote,
        Outcome::QuoteNotGenuine,
        Outcome::OtherCurrency,
        Outcome::LapsedInTheWay,
        Outcome::Changed,
    ];

    /// Its name in the statements.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "DONE",
            Outcome::AlreadyHeld => "ALREADY_HELD",
            Outcome::QuoteExpired => "QUOTE_EXPIRED",
            Outcome::Declined => "DECLINED",
            Outcome::HoldNotOpen => "HOLD_NOT_OPEN",
            Outcome::AboveHold => "ABOVE_HOLD",
            Outcome::AboveCaptured => "ABOVE_CAPTURED",
            Outcome::TipTooHigh => "TIP_TOO_HIGH",
            Outcome::TipTooLate => "TIP_TOO_LATE",
            Outcome::TipInCash => "TIP_IN_CASH",
            Outcome::PayoutOpen => "PAYOUT_OPEN",
            Outcome::AboveOwed => "ABOVE_OWED",
            Outcome::NoQuote => "NO_QUOTE",
            Outcome::QuoteNotGenuine => "QUOTE_NOT_GENUINE",
            Outcome::OtherCurrency => "OTHER_CURRENCY",
            Outcome::LapsedInTheWay => "LAPSED_IN_THE_WAY",
            Outcome::Changed => "CHANGED",
        }
    }

    /// Whether it is kept with the key and said again.
    pub fn is_kept(self) -> bool {
        match self {
            Outcome::Done
            | Outcome::AlreadyHeld
            | Outcome::QuoteExpired
            | Outcome::Declined
            | Outcome::HoldNotOpen
            | Outcome::AboveHold
            | Outcome::AboveCaptured
            | Outcome::TipTooHigh
            | Outcome::TipTooLate
            | Outcome::PayoutOpen
            | Outcome::AboveOwed => true,
            Outcome::NoQuote
            | Outcome::QuoteNotGenuine
            | Outcome::OtherCurrency
            | Outcome::TipInCash
            | Outcome::LapsedInTheWay
            | Outcome::Changed => false,
        }
    }
}

/// What is kept beside the outcome: what the command was about, as it was then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The hold; none when a refusal is not about one.
    pub hold: Option<Hold>,
    /// What was charged, for a capture.
    pub receipt: Option<Receipt>,
    /// What was given back, for a refund.
    pub refund: Option<Refund>,
    /// The tip, for one.
    pub tip: Option<Tip>,
    /// The payout, for one.
    pub payout: Option<Payout>,
    /// What was owed, minor units, for a payout.
    pub owed_minor: Option<i64>,
    /// The credit, for one.
    pub credit: Option<Credit>,
}

/// Why a money command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such quote.
    #[error("there is no such quote")]
    NoQuote,
    /// The quote is not as it was made, or was not made by us.
    #[error("the quote is not genuine; ask for a new one")]
    QuoteNotGenuine,
    /// The quote ran out.
    #[error("the quote has expired; ask for a new one")]
    QuoteExpired,
    /// The rider's open holds would go above the limit.
    #[error("the payment was declined: open holds would go above the limit")]
    Declined,
    /// The trip has a hold already, made under another key.
    #[error("the trip has a hold already, made under another key")]
    AlreadyHeld,
    /// The trip has no hold.
    #[error("the trip has no hold")]
    NoHold,
    /// Nothing was captured for the trip.
    #[error("there is no receipt for this trip")]
    NotCaptured,
    /// More is to be given back than is left.
    #[error("only {} is left to give back", .0.left())]
    AboveCaptured(Hold),
    /// The hold is no longer open.
    #[error("the hold is not open: {}", .0.why_not_open())]
    HoldNotOpen(Hold),
    /// The amount is not in the currency of the hold.
    #[error("the hold is in another currency")]
    OtherCurrency,
    /// More is to be taken than is held.
    #[error("only {} is held", .0.authorized())]
    AboveHold(Hold),
    /// The trip's tips would add up to more than is allowed.
    #[error("the tips of a trip may not add up to so much; so far they are {}", .0.tips())]
    TipTooHigh(Hold),
    /// The fare was taken too long ago.
    #[error("it is too late for a tip")]
    TipTooLate,
    /// The ride was paid in cash.
    #[error("the ride was paid in cash: give the driver the tip in cash, too")]
    TipInCash,
    /// The driver has a payout on its way.
    #[error("the driver has an open payout")]
    PayoutOpen,
    /// More is to be paid out than is owed: so many minor units.
    #[error("only {0} minor units are owed")]
    AboveOwed(i64),
    /// More is said to be taken back than is left of what was charged: so many minor units.
    #[error("only {0} minor units are left of what was charged")]
    AboveCharged(i64),
    /// The dispute is known with another trip or amount.
    #[error("the dispute is known with another trip or amount")]
    OtherDispute,
    /// The dispute has ended otherwise.
    #[error("the dispute has ended otherwise")]
    DisputeEnded,
    /// There is no such payout.
    #[error("there is no such payout")]
    NoPayout,
    /// Something else became of the payout.
    #[error("the payout is not open: it is {}", .0.name())]
    PayoutNotOpen(PayoutState),
    /// The trip has another promotion.
    #[error("the trip has another promotion")]
    HasPromotion,
    /// No such promotion is to be had now.
    #[error("there is no such promotion now")]
    NoPromotion,
    /// The rider has had the promotion as often as it may be had.
    #[error("the promotion may not be used more often")]
    PromotionUsedUp,
    /// The fare was taken, released, or the hold ran out.
    #[error("the hold is not open: it is too late for a promotion")]
    TooLateForPromotion,
    /// The key was used for another request.
    #[error("the idempotency key was used before, for another request")]
    KeyReused,
}

impl Hold {
    /// How much was held.
    pub fn authorized(&self) -> Money {
        Money::new(self.authorised, self.currency)
    }

    /// What the tips add up to.
    pub fn tips(&self) -> Money {
        Money::new(self.tipped, self.currency)
    }

    /// How much of what was taken may be given back: neither was it, nor did the rider's bank take it.
    pub fn left(&self) -> Money {
        let left = self.captured - self.refunded - self.charged_back;
        Money::new(left.max(0), self.currency)
    }

    fn why_not_open(&self) -> &'static str {
        match self.state {
            HoldState::Held => "it ran out",
            HoldState::Captured => "it was captured",
            HoldState::Voided => "it was released",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_by_their_database_names() {
        for state in HoldState::ALL {
            let read: HoldState = serde_json::from_str(&format!("{:?}", state.name())).unwrap();
            assert_eq!(read, state);
        }
    }

    #[test]
    fn a_row_is_read_whatever_else_it_holds() {
        let answer: Answer = serde_json::from_str(
            r#"{"hold": {"trip_id": "01890a5d-ac96-774b-bcce-b302099a8057", "state": "HELD",
                "currency": "EUR", "authorised": 9007199254740993, "captured": 0, "refunded": 0,
                "rider_id": "anna", "expires_at": "2026-01-01T00:00:00.123456+00:00"}}"#,
        )
        .unwrap();
        let hold = answer.hold.unwrap();
        assert_eq!(
            hold.authorised, 9_007_199_254_740_993,
            "more than a float could hold"
        );
        assert_eq!(hold.expires_at.timestamp_subsec_micros(), 123_456);
        assert_eq!(answer.receipt, None);
        let refusal = Refusal::AboveHold(hold).to_string();
        assert_eq!(refusal, "only EUR 90071992547409.93 is held");
    }
}
