//! Tips: what a rider gives the driver on top of a fare that was taken. All of it is the driver's, and a
//! refund of the fare leaves it alone. How much and until when is configured; the statement judges
//! both, see `sql/add_tip.sql`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::TripId,
    money::{Currency, Money},
};
use serde::Deserialize;

/// Asks to add a tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TipOf {
    /// The trip.
    pub trip_id: TripId,
    /// How much.
    pub amount: Money,
    /// Who asks: their role and id.
    pub made_by: String,
}

/// A tip that was given: the row of `tip`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Tip {
    /// The currency of the amount.
    pub currency: Currency,
    /// How much, minor units.
    pub amount_minor: i64,
    /// When.
    pub tipped_at: DateTime<Utc>,
}

/// What tips are given under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TipTerms {
    /// What the tips of a trip may add up to, minor units.
    pub max_minor: i64,
    /// How long after the capture they may be given.
    pub window: Duration,
}
