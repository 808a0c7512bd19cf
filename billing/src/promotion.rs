//! Promotions and credit: what makes a ride cheaper for its rider at the platform's expense. The driver
//! earns, and the state is due, what they would without.
//!
//! A promotion is put by operators and applied to a held trip, which keeps its terms; the capture takes
//! it off the fare. Credit is given to a rider and pays for their next fares by itself.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{CreditId, RiderId},
    money::{Currency, Money},
};
use serde::Deserialize;

use crate::fare::{FareError, times};

/// The longest code, characters.
const CODE_CHARS_MAX: usize = 32;

/// A promotion's code as it is kept: capitals, digits, `-` and `_`. Riders may type it in small letters.
pub fn code(text: &str) -> Option<String> {
    let code = text.trim().to_ascii_uppercase();
    let is_allowed =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (!code.is_empty() && code.len() <= CODE_CHARS_MAX && code.bytes().all(is_allowed))
        .then_some(code)
}

/// What a promotion takes off a fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// So much, minor units; or else
    pub amount_minor: Option<i64>,
    /// this part of the fare, percent.
    pub percent: Option<i64>,
    /// At most so much, minor units.
    pub cap_minor: Option<i64>,
}

impl Terms {
    /// What they take off a fare of `fare` minor units: never more than all of it. A part is rounded
    /// once, half to even.
    ///
    /// # Errors
    /// [`FareError::TooLarge`].
    pub fn off(&self, fare: i64) -> Result<i64, FareError> {
        let part = self
            .percent
            .map_or(Ok(0), |percent| times(fare, percent, 100))?;
        let off = self.amount_minor.unwrap_or(part);
        Ok(off
            .min(self.cap_minor.unwrap_or(i64::MAX))
            .clamp(0, fare.max(0)))
    }
}

/// A promotion: the row of `promotion`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Promotion {
    /// What riders type in.
    pub code: String,
    /// The currency of the amounts, and of the fares it is for.
    pub currency: Currency,
    /// How much it takes off, minor units; or else
    pub amount_minor: Option<i64>,
    /// which part of the fare, percent.
    pub percent: Option<i32>,
    /// How much at most, minor units.
    pub cap_minor: Option<i64>,
    /// On how many rides one rider may have it.
    pub rides_per_rider: i32,
    /// From when on it may be applied.
    pub valid_from: DateTime<Utc>,
    /// Until when; not itself.
    pub valid_to: DateTime<Utc>,
}

impl Promotion {
    /// What it takes off.
    pub fn terms(&self) -> Terms {
        Terms {
            amount_minor: self.amount_minor,
            percent: self.percent.map(i64::from),
            cap_minor: self.cap_minor,
        }
    }
}

/// What a held trip has of a promotion; the promotion's part of the row of `trip_charge`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Applied {
    /// Whose trip it is.
    pub rider_id: String,
    /// The currency of the fare.
    pub currency: Currency,
    /// The fare that is held, minor units.
    pub authorised: i64,
    /// Which promotion.
    pub promotion_code: Option<String>,
    /// Its terms when it was applied.
    pub promotion_amount_minor: Option<i64>,
    /// Likewise.
    pub promotion_percent: Option<i64>,
    /// Likewise.
    pub promotion_cap_minor: Option<i64>,
}

impl Applied {
    /// The terms.
    pub fn terms(&self) -> Terms {
        Terms {
            amount_minor: self.promotion_amount_minor,
            percent: self.promotion_percent,
            cap_minor: self.promotion_cap_minor,
        }
    }
}

/// Asks to give a rider credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditOf {
    /// To whom.
    pub rider_id: RiderId,
    /// What to call it, unless the request was made before.
    pub credit_id: CreditId,
    /// How much.
    pub amount: Money,
    /// Why.
    pub reason: String,
    /// Who gives it: their role and id.
    pub made_by: String,
}

/// Credit that was given: the row of `credit`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Credit {
    /// To whom.
    pub rider_id: String,
    /// Its name.
    pub credit_id: CreditId,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much, minor units.
    pub amount_minor: i64,
    /// Why.
    pub reason: String,
    /// When.
    pub granted_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_capitals() {
        assert_eq!(code(" welcome-5 ").as_deref(), Some("WELCOME-5"));
        for bad in ["", " ", "a b", "é", "=1", &"A".repeat(33)] {
            assert_eq!(code(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn never_more_than_the_fare_and_the_cap() {
        let amount = |amount, cap_minor| Terms {
            amount_minor: Some(amount),
            percent: None,
            cap_minor,
        };
        let percent = |percent, cap_minor| Terms {
            amount_minor: None,
            percent: Some(percent),
            cap_minor,
        };
        assert_eq!(amount(300, None).off(995), Ok(300));
        assert_eq!(amount(300, None).off(200), Ok(200));
        assert_eq!(amount(300, Some(100)).off(995), Ok(100));
        assert_eq!(percent(50, None).off(995), Ok(498), "497.5 to the even one");
        assert_eq!(percent(50, Some(300)).off(995), Ok(300));
        assert_eq!(percent(100, None).off(995), Ok(995));
        assert_eq!(percent(100, None).off(0), Ok(0));
        assert_eq!(Terms::default().off(995), Ok(0));
    }
}
