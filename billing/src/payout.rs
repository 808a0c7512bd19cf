//! Payouts: what a driver is owed sets out to them, less the cash they owe, and arrives or comes back.
//!
//! ```text
//!          create            finish
//!   (none) ──────> OPEN ──────────────> SETTLED
//!                    │  fail
//!                    └────────────────> FAILED
//! ```
//!
//! The money goes from what the driver is owed to what is on its way, and from there to the payment
//! provider, or back. A driver has one open payout at a time.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{DriverId, PayoutId},
    money::{Currency, Money},
};
use serde::Deserialize;

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PayoutState {
    /// On its way.
    Open,
    /// Arrived. An end.
    Settled,
    /// Came back. An end.
    Failed,
}

impl PayoutState {
    /// Every state.
    pub const ALL: [PayoutState; 3] =
        [PayoutState::Open, PayoutState::Settled, PayoutState::Failed];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            PayoutState::Open => "OPEN",
            PayoutState::Settled => "SETTLED",
            PayoutState::Failed => "FAILED",
        }
    }
}

/// Asks to send a driver money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutOf {
    /// To whom.
    pub driver_id: DriverId,
    /// What to call it, unless the request was made before.
    pub payout_id: PayoutId,
    /// In which currency.
    pub currency: Currency,
    /// How much; `None` for all that is owed.
    pub amount: Option<Money>,
    /// Who sends it: their role and id.
    pub made_by: String,
}

/// A payout: the row of `payout`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Payout {
    /// To whom.
    pub driver_id: String,
    /// Its name.
    pub payout_id: PayoutId,
    /// The currency of the amounts.
    pub currency: Currency,
    /// How much set out, minor units.
    pub amount_minor: i64,
    /// How much of the cash they owed was kept back, minor units.
    pub dues_minor: i64,
    /// Where it stands.
    pub state: PayoutState,
    /// Why it came back.
    pub reason: Option<String>,
    /// When it set out.
    pub created_at: DateTime<Utc>,
    /// When it arrived or came back.
    pub closed_at: Option<DateTime<Utc>>,
}

/// Where a payout stands in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// When it set out.
    pub created_at: DateTime<Utc>,
    /// Its name.
    pub payout_id: PayoutId,
}

impl Place {
    /// The place as a text, for the next page to begin after.
    pub fn token(&self) -> String {
        let micros = self.created_at.timestamp_micros();
        format!("{micros}.{}", self.payout_id)
    }

    /// Reads [`Place::token`].
    pub fn from_token(token: &str) -> Option<Place> {
        let (micros, id) = token.split_once('.')?;
        Some(Place {
            created_at: DateTime::from_timestamp_micros(micros.parse().ok()?)?,
            payout_id: id.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_token() {
        let place = Place {
            created_at: "2026-03-01T00:00:00.123456Z".parse().unwrap(),
            payout_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        };
        assert_eq!(Place::from_token(&place.token()), Some(place));
        for wrong in ["", "1", "a.b", "1.2", &format!("{}x", place.token())] {
            assert_eq!(Place::from_token(wrong), None, "{wrong}");
        }
    }
}
