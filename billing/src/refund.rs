//! Refunds: a captured fare, or a part of it, is given back. What comes back of each line is in
//! proportion to the receipt, reckoned over all refunds of the trip together, so that refunds which
//! reach the whole fare give back every line and every share exactly.
//!
//! Only the fare is given back. A tip is the rider's thanks to the driver and stays theirs.

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::TripId,
    money::{Currency, Money},
};
use serde::Deserialize;

use crate::{
    apportion,
    fare::{FareError, FareLines, times},
    ledger::{Account, Posting, Split, postings},
};

/// The longest reason, characters.
pub const REASON_CHARS_MAX: usize = 500;

/// Asks to give a fare back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOf {
    /// The trip.
    pub trip_id: TripId,
    /// How much; `None` for all that is left.
    pub amount: Option<Money>,
    /// Why.
    pub reason: String,
    /// Who gives it back: their role and id.
    pub made_by: String,
}

/// What was given back: the row of `refund`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refund {
    /// Which one of the trip's, from 1.
    pub seq: u32,
    /// The currency of the amounts.
    pub currency: Currency,
    /// What of each line; without the promotion they sum to the total.
    #[serde(flatten)]
    pub lines: FareLines,
    /// What the rider gets back, minor units.
    pub total_minor: i64,
    /// What of it the driver gives, minor units.
    pub driver_share_minor: i64,
    /// What of it the platform gives, minor units.
    pub platform_share_minor: i64,
    /// What of a promotion was taken back with it, minor units: the lines without it are the total.
    #[serde(default)]
    pub promotion_minor: i64,
    /// How much was given back as credit, minor units.
    #[serde(default)]
    pub credit_minor: i64,
    /// Why.
    pub reason: String,
    /// When.
    pub refunded_at: DateTime<Utc>,
}

/// What was charged, as far as giving it back depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// Who paid.
    pub rider_id: String,
    /// Who drove.
    pub driver_id: String,
    /// The receipt's lines.
    pub lines: FareLines,
    /// What the platform keeps of the ride itself, basis points.
    pub platform_share_basis_points: i64,
    /// What a promotion took off them, minor units.
    pub promotion_minor: i64,
    /// How much was taken, minor units: the lines without the promotion.
    pub captured_minor: i64,
    /// How much of that was paid with credit, minor units.
    pub credit_minor: i64,
    /// Whether the rest was paid in cash: it comes back as credit, for want of a better way.
    pub in_cash: bool,
    /// How much was given back so far, minor units.
    pub refunded_minor: i64,
}

/// Everything a refund writes besides moving the charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What of each line.
    pub lines: FareLines,
    /// What of the promotion is taken back with it, minor units: lines without it are the amount.
    pub promotion_minor: i64,
    /// How much is given back as credit, minor units.
    pub credit_minor: i64,
    /// Who gives what.
    pub split: Split,
    /// The entry's postings; they sum to zero.
    pub postings: Vec<Posting>,
}

impl Plan {
    /// Plans giving `amount` back.
    ///
    /// # Errors
    /// [`FareError::OutOfRange`] when that is more than is left.
    pub fn of(charged: &Charged, amount: i64) -> Result<Plan, FareError> {
        let given = charged.refunded_minor.checked_add(amount);
        let before = charged.given_back(charged.refunded_minor)?;
        let after = charged.given_back(given.ok_or(FareError::TooLarge)?)?;
        let lines = after.lines.less(&before.lines);
        let promotion_minor = after.promotion_minor - before.promotion_minor;
        let credit_minor = after.credit_minor - before.credit_minor;
        let (after, before) = (after.split, before.split);
        let split = Split {
            driver_share_minor: after.driver_share_minor - before.driver_share_minor,
            platform_share_minor: after.platform_share_minor - before.platform_share_minor,
            tax_minor: after.tax_minor - before.tax_minor,
        };
        let (rider, driver) = (Some(&charged.rider_id), Some(&charged.driver_id));
        let owed = amount - credit_minor;
        Ok(Plan {
            lines,
            promotion_minor,
            credit_minor,
            split,
            postings: postings([
                (Account::RiderReceivable, rider, -owed),
                (Account::RiderCredit, rider, -credit_minor),
                (Account::PromoExpense, None, -promotion_minor),
                (Account::DriverPayable, driver, split.driver_share_minor),
                (Account::PlatformRevenue, None, split.platform_share_minor),
                (Account::TaxPayable, None, split.tax_minor),
            ]),
        })
    }
}

/// What the first so much of a fare is made of.
struct Part {
    lines: FareLines,
    promotion_minor: i64,
    credit_minor: i64,
    split: Split,
}

impl Charged {
    /// What the first `amount` that is given back is made of. Every part of it grows with the amount.
    fn given_back(&self, amount: i64) -> Result<Part, FareError> {
        if !(0..=self.captured_minor).contains(&amount) {
            return Err(FareError::OutOfRange);
        }
        // What a promotion paid for comes back in the same proportion, not to the rider.
        let promotion_minor = match self.captured_minor {
            0 => 0,
            captured => times(self.promotion_minor, amount, captured)?,
        };
        let lines = apportion::first(self.lines.amounts(), amount + promotion_minor)?;
        let lines = FareLines::of_amounts(&lines).ok_or(FareError::OutOfRange)?;
        // What was charged comes first; credit never becomes money.
        let charged_minor = match self.in_cash {
            true => 0,
            false => self.captured_minor - self.credit_minor,
        };
        let credit_minor = (amount - charged_minor).max(0);
        Ok(Part {
            lines,
            promotion_minor,
            credit_minor,
            split: Split::of(&lines, self.platform_share_basis_points)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tariff::BASIS_POINTS;

    fn charged(lines: FareLines, share: i64) -> Charged {
        Charged {
            captured_minor: lines.total().unwrap(),
            promotion_minor: 0,
            credit_minor: 0,
            in_cash: false,
            rider_id: "anna".to_owned(),
            driver_id: "ben".to_owned(),
            lines,
            platform_share_basis_points: share,
            refunded_minor: 0,
        }
    }

    #[test]
    fn half_a_fare_by_hand() {
        let lines = FareLines {
            base_minor: 150,
            distance_minor: 434,
            time_minor: 255,
            booking_fee_minor: 100,
            tax_minor: 56,
            ..FareLines::default()
        };
        let plan = Plan::of(&charged(lines, 2_000), 500).unwrap();
        let expected = FareLines {
            base_minor: 76,
            distance_minor: 218,
            time_minor: 128,
            booking_fee_minor: 50,
            tax_minor: 28,
            ..FareLines::default()
        };
        assert_eq!(plan.lines, expected);
        // 20 % of 422 is 84.4 → 84.
        let posted: Vec<_> = plan
            .postings
            .iter()
            .map(|posting| (posting.account, posting.amount_minor))
            .collect();
        assert_eq!(
            posted,
            [
                (Account::RiderReceivable, -500),
                (Account::DriverPayable, 338),
                (Account::PlatformRevenue, 134),
                (Account::TaxPayable, 28),
            ]
        );
        assert_eq!(
            Plan::of(&charged(lines, 2_000), 996),
            Err(FareError::OutOfRange)
        );
    }

    proptest! {
        #[test]
        fn parts_that_reach_the_whole_give_back_every_line(
            lines in prop::array::uniform14(prop_oneof![0..3_i64, 0..3_000_i64]),
            share in 0..=BASIS_POINTS, cuts: [u64; 5], off: [u64; 2], in_cash: bool,
        ) {
            let lines = FareLines::of_amounts(&lines).unwrap();
            let whole = Split::of(&lines, share).unwrap();
            let mut charged = charged(lines, share);
            charged.promotion_minor = (off[0] % (lines.total().unwrap() as u64 + 1)) as i64;
            charged.captured_minor -= charged.promotion_minor;
            let total = charged.captured_minor;
            charged.credit_minor = (off[1] % (total as u64 + 1)) as i64;
            charged.in_cash = in_cash;
            let back = if in_cash { total } else { charged.credit_minor };
            let mut left = (lines, whole);
            let mut relief = (charged.promotion_minor, back);
            let parts = cuts.iter().map(Some).chain([None]);
            for cut in parts {
                let rest = total - charged.refunded_minor;
                let amount = cut.map_or(rest, |cut| (cut % (rest as u64 + 1)) as i64);
                let plan = Plan::of(&charged, amount).unwrap();
                prop_assert_eq!(plan.lines.total(), Ok(amount + plan.promotion_minor));
                prop_assert!(plan.promotion_minor >= 0 && (0..=amount).contains(&plan.credit_minor));
                relief = (relief.0 - plan.promotion_minor, relief.1 - plan.credit_minor);
                prop_assert!(plan.lines.amounts().iter().all(|&minor| minor >= 0));
                let split = plan.split;
                prop_assert!(split.driver_share_minor >= 0 && split.platform_share_minor >= 0);
                prop_assert_eq!(split.tax_minor, plan.lines.tax_minor);
                prop_assert_eq!(plan.postings.iter().map(|p| p.amount_minor).sum::<i64>(), 0);
                left.0 = left.0.less(&plan.lines);
                left.1.driver_share_minor -= split.driver_share_minor;
                left.1.platform_share_minor -= split.platform_share_minor;
                left.1.tax_minor -= split.tax_minor;
                charged.refunded_minor += amount;
            }
            if total > 0 {
                prop_assert_eq!(left, (FareLines::default(), Split::default()));
                prop_assert_eq!(relief, (0, 0));
            }
        }
    }
}
