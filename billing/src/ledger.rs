//! Double entry: the accounts, and what a captured fare moves between whom. Every entry sums to zero;
//! how the database keeps that is in `sql/capture_hold.sql` and the migrations.

use jitney_proto::{
    ids::{DriverId, RiderId},
    money::Currency,
};
use serde::Deserialize;

use crate::fare::{FareError, FareLines, times};
use crate::promotion::Terms;
use crate::tariff::BASIS_POINTS;

macro_rules! accounts {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $whose:ident;)*) => {
        /// A kind of account. Debits are positive, credits negative.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Account { $($(#[$doc])* $name,)* }

        impl Account {
            /// Every kind.
            pub const ALL: &[Account] = &[$(Account::$name),*];

            /// Its name in the database and in answers.
            pub fn name(self) -> &'static str {
                match self { $(Account::$name => $text,)* }
            }

            /// Whether there is one per person, with a cached balance. The others have a single
            /// owner and would be one hot row.
            pub fn is_personal(self) -> bool {
                match self { $(Account::$name => accounts!($whose),)* }
            }
        }
    };
    (personal) => { true };
    (single) => { false };
}

accounts! {
    /// What a rider owes; below zero, what they are owed.
    RiderReceivable = "rider_receivable", personal;
    /// What a rider has in credit, a credit; it pays for their next rides.
    RiderCredit = "rider_credit", personal;
    /// What a driver is owed, a credit.
    DriverPayable = "driver_payable", personal;
    /// What a driver owes of the cash they took.
    DriverCashDue = "driver_cash_due", personal;
    /// What the platform earned.
    PlatformRevenue = "platform_revenue", single;
    /// Tax that is due to the state.
    TaxPayable = "tax_payable", single;
    /// What lies with the payment provider.
    PspClearing = "psp_clearing", single;
    /// What is on its way to drivers.
    PayoutInTransit = "payout_in_transit", single;
    /// What promotions and credits cost.
    PromoExpense = "promo_expense", single;
    /// What was lost to riders who had a payment taken back.
    ChargebackLoss = "chargeback_loss", single;
    /// What rounding leaves over where nobody else can bear it.
    Rounding = "rounding", single;
}

impl Account {
    /// The kind of that name.
    pub fn of(name: &str) -> Option<Account> {
        let known = Account::ALL.iter().copied();
        known.into_iter().find(|account| account.name() == name)
    }
}

macro_rules! entry_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why money moves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EntryKind { $($(#[$doc])* $name,)* }

        impl EntryKind {
            /// Every kind.
            pub const ALL: &[EntryKind] = &[$(EntryKind::$name),*];

            /// Its name in the database.
            pub fn name(self) -> &'static str {
                match self { $(EntryKind::$name => $text,)* }
            }
        }
    };
}

entry_kinds! {
    /// A fare was taken; about the trip.
    Capture = "CAPTURE";
    /// A fare, or a part of it, was given back; about the trip.
    Refund = "REFUND";
    /// A rider thanks a driver; about the trip.
    Tip = "TIP";
    /// A driver's money set out; about the payout.
    Payout = "PAYOUT";
    /// It arrived; about the payout.
    PayoutSettled = "PAYOUT_SETTLED";
    /// It came back; about the payout.
    PayoutFailed = "PAYOUT_FAILED";
    /// A rider was given credit; about the credit.
    Credit = "CREDIT";
    /// The provider took what a rider owed; about the trip.
    ProviderCapture = "PROVIDER_CAPTURE";
    /// The provider gave a rider back what they were owed; about the trip.
    ProviderRefund = "PROVIDER_REFUND";
    /// A rider had a payment taken back; about the trip.
    Chargeback = "CHARGEBACK";
    /// It was given to us after all; about the trip.
    ChargebackWon = "CHARGEBACK_WON";
}

/// One side of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Where.
    pub account: Account,
    /// Whose, for a personal account.
    pub owner: Option<String>,
    /// How much, minor units; debits positive, credits negative; never zero.
    pub amount_minor: i64,
}

/// The postings of these amounts, without those of nothing.
pub fn postings<const N: usize>(amounts: [(Account, Option<&String>, i64); N]) -> Vec<Posting> {
    let amounts = amounts.into_iter().filter(|&(_, _, amount)| amount != 0);
    amounts
        .map(|(account, owner, amount_minor)| Posting {
            account,
            owner: owner.cloned(),
            amount_minor,
        })
        .collect()
}

/// Who gets what of a fare; the parts sum to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What the driver earns: their share of the ride and what they paid on the way.
    pub driver_share_minor: i64,
    /// What the platform keeps: its share of the ride and the booking fee.
    pub platform_share_minor: i64,
    /// Tax.
    pub tax_minor: i64,
}

impl Split {
    /// Splits a fare. The platform's share of the ride is rounded half to even and the rest is the
    /// driver's, so nothing is left over.
    pub fn of(lines: &FareLines, platform_share_basis_points: i64) -> Result<Split, FareError> {
        if !(0..=BASIS_POINTS).contains(&platform_share_basis_points) {
            return Err(FareError::OutOfRange);
        }
        let ride = lines.ride()?;
        let kept = times(ride, platform_share_basis_points, BASIS_POINTS)?;
        Ok(Split {
            driver_share_minor: ride - kept + lines.drivers()?,
            platform_share_minor: kept + lines.platforms()?,
            tax_minor: lines.tax_minor,
        })
    }
}

/// What makes a fare cheaper for its rider; the platform bears both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// What a promotion takes off.
    pub promotion: Terms,
    /// What the rider has in credit, minor units.
    pub credit_minor: i64,
}

/// How a capture is paid, beside what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// What makes it cheaper.
    pub relief: Relief,
    /// How the rest is paid.
    pub payment: Payment,
    /// What the rider has to pay of earlier fees, minor units.
    pub dues_minor: i64,
}

/// How a capture is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payment {
    /// The rider owes it.
    #[default]
    Owed,
    /// The driver takes it in cash.
    Cash,
    /// The rider owes it and pays it with the next ride: a fee of one who pays in cash.
    Carried,
}

/// Everything a capture writes besides moving the charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// The receipt's lines.
    pub lines: FareLines,
    /// What a promotion takes off them, minor units.
    pub promotion_minor: i64,
    /// What is left to be paid: what the charge is captured with, minor units.
    pub total_minor: i64,
    /// How much of that is paid with credit, minor units.
    pub credit_minor: i64,
    /// Earlier fees that are paid with it, minor units.
    pub dues_minor: i64,
    /// How much the driver takes in cash, minor units.
    pub cash_minor: i64,
    /// How much is to be paid with the next ride, minor units.
    pub carried_minor: i64,
    /// Who gets what.
    pub split: Split,
    /// The entry's postings; they sum to zero.
    pub postings: Vec<Posting>,
}

impl Capture {
    /// Plans the capture of `amount` of a fare quoted as `quoted`. What makes it cheaper costs neither
    /// driver nor tax anything. Of cash, the driver keeps their share and owes the rest; where that is
    /// less than their share, because promotion or credit paid for much of it, they are owed it.
    pub fn plan(
        quoted: &FareLines,
        platform_share_basis_points: i64,
        amount: i64,
        means: &Means,
        rider: &RiderId,
        driver: &DriverId,
    ) -> Result<Capture, FareError> {
        let lines = quoted.scaled(amount)?;
        let split = Split::of(&lines, platform_share_basis_points)?;
        let (rider, driver) = (rider.to_string(), driver.to_string());
        let promotion_minor = means.relief.promotion.off(amount)?;
        let total_minor = amount - promotion_minor;
        let credit_minor = means.relief.credit_minor.clamp(0, total_minor);
        let left = total_minor - credit_minor;
        let dues_minor = match means.payment {
            Payment::Owed | Payment::Cash => means.dues_minor.max(0),
            Payment::Carried => 0,
        };
        let share = split.driver_share_minor;
        let is_cash = means.payment == Payment::Cash;
        let (owed, payable, cash_due, cash_minor) = if is_cash {
            let over = left - share;
            (
                -dues_minor,
                over.min(0),
                over.max(0) + dues_minor,
                left + dues_minor,
            )
        } else {
            (left, -share, 0, 0)
        };
        let postings = postings([
            (Account::RiderReceivable, Some(&rider), owed),
            (Account::RiderCredit, Some(&rider), credit_minor),
            (Account::PromoExpense, None, promotion_minor),
            (Account::DriverCashDue, Some(&driver), cash_due),
            (Account::DriverPayable, Some(&driver), payable),
            (Account::PlatformRevenue, None, -split.platform_share_minor),
            (Account::TaxPayable, None, -split.tax_minor),
        ]);
        Ok(Capture {
            lines,
            promotion_minor,
            total_minor,
            credit_minor,
            dues_minor,
            cash_minor,
            carried_minor: match means.payment {
                Payment::Carried => left,
                Payment::Owed | Payment::Cash => 0,
            },
            split,
            postings,
        })
    }
}

/// What [`crate::store::Store::check_ledger`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soundness {
    /// How many entries there are.
    pub entries: i64,
    /// Entries whose postings do not sum to zero, or are not as many as were written with it.
    pub unbalanced_entries: i64,
    /// Cached balances that differ from their postings.
    pub wrong_balances: i64,
    /// Charges without an entry or a receipt, or with a different sum of what was taken or given back.
    pub wrong_charges: i64,
    /// Payouts without their entries, or with a different sum.
    pub wrong_payouts: i64,
    /// Credits without their entry, or with a different sum.
    pub wrong_credits: i64,
    /// Per kind of account and currency.
    pub totals: Vec<AccountTotal>,
}

/// The sum of one kind of account in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AccountTotal {
    /// The kind.
    pub account: String,
    /// The currency.
    pub currency: Currency,
    /// The sum of its postings, minor units.
    pub total_minor: i64,
}

impl Soundness {
    /// Whether the ledger holds.
    pub fn is_balanced(&self) -> bool {
        let sums_to_zero = |currency| {
            let of_currency = self
                .totals
                .iter()
                .filter(|total| total.currency == currency);
            of_currency
                .map(|total| i128::from(total.total_minor))
                .sum::<i128>()
                == 0
        };
        self.unbalanced_entries == 0
            && self.wrong_balances == 0
            && self.wrong_charges == 0
            && self.wrong_payouts == 0
            && self.wrong_credits == 0
            && self.totals.iter().all(|total| sums_to_zero(total.currency))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fare::MAX_MINOR;

    fn plan(lines: &FareLines, share: i64, amount: i64) -> Result<Capture, FareError> {
        Capture::plan(
            lines,
            share,
            amount,
            &Means::default(),
            &"anna".parse().unwrap(),
            &"ben".parse().unwrap(),
        )
    }

    #[test]
    fn a_fare_by_hand() {
        let lines = FareLines {
            base_minor: 150,
            distance_minor: 434,
            time_minor: 255,
            minimum_top_up_minor: 0,
            booking_fee_minor: 100,
            tax_minor: 56,
            ..FareLines::default()
        };
        // 20 % of 839 is 167.8 → 168.
        let capture = plan(&lines, 2_000, 995).unwrap();
        assert_eq!(capture.lines, lines);
        assert_eq!(
            capture.split,
            Split {
                driver_share_minor: 671,
                platform_share_minor: 268,
                tax_minor: 56
            }
        );
        let posted: Vec<_> = capture
            .postings
            .iter()
            .map(|p| (p.account, p.amount_minor))
            .collect();
        assert_eq!(
            posted,
            [
                (Account::RiderReceivable, 995),
                (Account::DriverPayable, -671),
                (Account::PlatformRevenue, -268),
                (Account::TaxPayable, -56),
            ]
        );
        assert_eq!(capture.postings[0].owner.as_deref(), Some("anna"));
        assert_eq!(capture.postings[1].owner.as_deref(), Some("ben"));
        assert_eq!(capture.postings[2].owner, None);
    }

    #[test]
    fn nothing_charged_is_nothing_posted() {
        let lines = FareLines {
            base_minor: 5,
            ..FareLines::default()
        };
        assert_eq!(plan(&lines, 2_000, 0).unwrap().postings, []);
        assert_eq!(plan(&lines, 2_000, 6), Err(FareError::OutOfRange));
        assert_eq!(plan(&lines, 10_001, 5), Err(FareError::OutOfRange));
    }

    #[test]
    fn a_total_that_is_off_is_seen() {
        let total = |account: &str, code: &str, total_minor| AccountTotal {
            account: account.to_owned(),
            currency: code.parse().unwrap(),
            total_minor,
        };
        let mut soundness = Soundness {
            entries: 1,
            unbalanced_entries: 0,
            wrong_balances: 0,
            wrong_charges: 0,
            wrong_payouts: 0,
            wrong_credits: 0,
            totals: vec![total("a", "EUR", 5), total("b", "EUR", -5)],
        };
        assert!(soundness.is_balanced());
        soundness.totals[1] = total("b", "CHF", -5);
        assert!(!soundness.is_balanced());
    }

    #[test]
    fn a_promotion_and_credit_cost_the_platform_and_nobody_else() {
        let lines = FareLines {
            base_minor: 839,
            booking_fee_minor: 100,
            tax_minor: 56,
            ..FareLines::default()
        };
        let relieved = |percent, credit_minor| {
            let relief = Relief {
                promotion: Terms {
                    percent: Some(percent),
                    ..Terms::default()
                },
                credit_minor,
            };
            let (anna, ben) = ("anna".parse().unwrap(), "ben".parse().unwrap());
            let means = Means {
                relief,
                ..Means::default()
            };
            Capture::plan(&lines, 2_000, 995, &means, &anna, &ben).unwrap()
        };
        let capture = relieved(20, 100);
        assert_eq!(capture.split, plan(&lines, 2_000, 995).unwrap().split);
        assert_eq!((capture.promotion_minor, capture.total_minor), (199, 796));
        let posted: Vec<_> = capture
            .postings
            .iter()
            .map(|p| (p.account, p.amount_minor))
            .collect();
        assert_eq!(
            posted,
            [
                (Account::RiderReceivable, 696),
                (Account::RiderCredit, 100),
                (Account::PromoExpense, 199),
                (Account::DriverPayable, -671),
                (Account::PlatformRevenue, -268),
                (Account::TaxPayable, -56),
            ]
        );
        assert_eq!(
            relieved(20, 5_000).credit_minor,
            796,
            "no more than is left"
        );
        let free = relieved(100, 5_000);
        assert_eq!((free.total_minor, free.credit_minor), (0, 0));
        assert_eq!(free.postings.iter().map(|p| p.amount_minor).sum::<i64>(), 0);
    }

    #[test]
    fn cash_stays_with_the_driver_and_the_rest_is_due() {
        let lines = FareLines {
            base_minor: 839,
            booking_fee_minor: 100,
            tax_minor: 56,
            ..FareLines::default()
        };
        let paid = |payment, credit_minor, dues_minor| {
            let means = Means {
                relief: Relief {
                    credit_minor,
                    ..Relief::default()
                },
                payment,
                dues_minor,
            };
            let (anna, ben) = ("anna".parse().unwrap(), "ben".parse().unwrap());
            let capture = Capture::plan(&lines, 2_000, 995, &means, &anna, &ben).unwrap();
            let posted: Vec<_> = capture
                .postings
                .iter()
                .map(|p| (p.account, p.amount_minor))
                .collect();
            assert_eq!(posted.iter().map(|p| p.1).sum::<i64>(), 0);
            (capture, posted)
        };
        let (capture, posted) = paid(Payment::Cash, 0, 0);
        assert_eq!(capture.cash_minor, 995);
        assert_eq!(
            posted,
            [
                (Account::DriverCashDue, 324),
                (Account::PlatformRevenue, -268),
                (Account::TaxPayable, -56),
            ]
        );
        // Of 295 in cash and 200 of earlier fees the driver keeps but 295, and is owed the rest.
        let (capture, posted) = paid(Payment::Cash, 700, 200);
        assert_eq!((capture.cash_minor, capture.dues_minor), (495, 200));
        assert_eq!(
            posted,
            [
                (Account::RiderReceivable, -200),
                (Account::RiderCredit, 700),
                (Account::DriverCashDue, 200),
                (Account::DriverPayable, -376),
                (Account::PlatformRevenue, -268),
                (Account::TaxPayable, -56),
            ]
        );
        let (capture, posted) = paid(Payment::Carried, 95, 200);
        assert_eq!((capture.carried_minor, capture.dues_minor), (900, 0));
        assert_eq!(posted[0], (Account::RiderReceivable, 900));
        let (capture, posted) = paid(Payment::Owed, 0, 200);
        assert_eq!((capture.dues_minor, capture.cash_minor), (200, 0));
        assert_eq!(posted[0], (Account::RiderReceivable, 995), "owed before");
    }

    proptest! {
        #[test]
        fn postings_sum_to_zero(
            lines in prop::array::uniform14(prop_oneof![0..3_i64, 0..3_000_i64, 0..=MAX_MINOR / 16]),
            share in 0..=BASIS_POINTS, cut: u64,
        ) {
            let lines = FareLines::of_amounts(&lines).unwrap();
            let total = lines.total().unwrap();
            let part = (cut % (total as u64 + 1)) as i64;
            for amount in [total, part] {
                let capture = plan(&lines, share, amount).unwrap();
                prop_assert_eq!(capture.postings.iter().map(|p| p.amount_minor).sum::<i64>(), 0);
                prop_assert!(capture.postings.iter().all(|p| p.amount_minor != 0));
                let split = capture.split;
                prop_assert_eq!(
                    split.driver_share_minor + split.platform_share_minor + split.tax_minor, amount
                );
                prop_assert!(split.driver_share_minor >= 0 && split.platform_share_minor >= 0);
                for posting in &capture.postings {
                    prop_assert_eq!(posting.account.is_personal(), posting.owner.is_some());
                }
            }
        }

        #[test]
        fn however_it_is_paid_it_sums_to_zero_and_the_driver_has_their_share(
            lines in prop::array::uniform14(0..3_000_i64), share in 0..=BASIS_POINTS,
            percent in 0..=100_i64, credit_minor in 0..50_000_i64, dues_minor in 0..5_000_i64,
            payment in prop_oneof![
                Just(Payment::Owed), Just(Payment::Cash), Just(Payment::Carried)
            ],
        ) {
            let lines = FareLines::of_amounts(&lines).unwrap();
            let total = lines.total().unwrap();
            let promotion = Terms { percent: Some(percent), ..Terms::default() };
            let relief = Relief { promotion, credit_minor };
            let means = Means { relief, payment, dues_minor };
            let (anna, ben) = ("anna".parse().unwrap(), "ben".parse().unwrap());
            let capture = Capture::plan(&lines, share, total, &means, &anna, &ben).unwrap();
            let of = |account: Account| -> i64 {
                let own = capture.postings.iter().filter(|p| p.account == account);
                own.map(|p| p.amount_minor).sum()
            };
            prop_assert_eq!(capture.postings.iter().map(|p| p.amount_minor).sum::<i64>(), 0);
            // Cash in hand, less what is due of it, and what is owed.
            let drivers = capture.cash_minor - of(Account::DriverCashDue) - of(Account::DriverPayable);
            prop_assert_eq!(drivers, Split::of(&lines, share).unwrap().driver_share_minor);
            prop_assert_eq!(
                of(Account::RiderReceivable) + capture.cash_minor,
                capture.total_minor - capture.credit_minor
            );
            prop_assert!(of(Account::DriverCashDue) >= 0);
        }
    }
}
