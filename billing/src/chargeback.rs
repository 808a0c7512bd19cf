//! Chargebacks: a rider has their bank take a payment back, and it is ours again or it is not.
//!
//! ```text
//!          disputed          we were right
//!   (none) ──────────> OPEN ───────────────> WON
//!                        │  we were not
//!                        └─────────────────> LOST
//! ```
//!
//! What was taken back is a loss from the first moment on; what is won is lifted again. The provider has
//! paid the rider, so nothing is given back by us, and the driver keeps their share.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::TripId,
    money::{Currency, Money},
};
use serde::Deserialize;

/// Where a chargeback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChargebackState {
    /// Disputed; the money is gone for now.
    Open,
    /// Given to us. An end.
    Won,
    /// Lost for good. An end.
    Lost,
}

impl ChargebackState {
    /// Every state.
    pub const ALL: [ChargebackState; 3] = [
        ChargebackState::Open,
        ChargebackState::Won,
        ChargebackState::Lost,
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            ChargebackState::Open => "OPEN",
            ChargebackState::Won => "WON",
            ChargebackState::Lost => "LOST",
        }
    }
}

/// Says that a payment was taken back, or how that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargebackOf {
    /// The trip whose payment it is about.
    pub trip_id: TripId,
    /// The provider's name for it.
    pub dispute_id: String,
    /// How much was taken back.
    pub amount: Money,
    /// Where it stands.
    pub state: ChargebackState,
    /// Who says so.
    pub recorded_by: String,
}

/// A chargeback: the row of `chargeback`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Chargeback {
    /// The provider's name for it.
    pub dispute_id: String,
    /// The trip.
    pub trip_id: TripId,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much was taken back, minor units.
    pub amount_minor: i64,
    /// Where it stands.
    pub state: ChargebackState,
    /// When we heard of it.
    pub opened_at: DateTime<Utc>,
    /// When we heard of its end.
    pub closed_at: Option<DateTime<Utc>>,
}
