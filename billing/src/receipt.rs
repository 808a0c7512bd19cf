//! Receipts: what a trip cost and where the money went, and who may read which part of it.

use chrono::{DateTime, Utc};
use jitney_platform::auth::{Caller, Role};
use jitney_proto::{ids::TripId, money::Currency};
use serde::Deserialize;

use crate::{fare::FareLines, hold::PaymentMethod, refund::Refund};

/// What was charged: the row of `receipt`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Receipt {
    /// The trip.
    pub trip_id: TripId,
    /// Who paid.
    pub rider_id: String,
    /// Who drove.
    pub driver_id: String,
    /// What kind of ride.
    pub product: String,
    /// The tariff the price was made under.
    pub tariff_version: String,
    /// The currency of the amounts.
    pub currency: Currency,
    /// The lines, before any promotion.
    #[serde(flatten)]
    pub lines: FareLines,
    /// The fare that was taken, minor units: the lines without the promotion.
    pub total_minor: i64,
    /// What the driver earns, minor units.
    pub driver_share_minor: i64,
    /// What the platform keeps, minor units.
    pub platform_share_minor: i64,
    /// When it was captured.
    pub captured_at: DateTime<Utc>,
    /// What a promotion took off, minor units.
    #[serde(default)]
    pub promotion_minor: i64,
    /// How much of the fare was paid with credit, minor units.
    #[serde(default)]
    pub credit_minor: i64,
    /// How it was paid.
    #[serde(default)]
    pub payment_method: PaymentMethod,
    /// Earlier fees that were paid with it, on top of the total, minor units.
    #[serde(default)]
    pub dues_minor: i64,
    /// How much the driver took in cash, minor units.
    #[serde(default)]
    pub cash_minor: i64,
    /// How much of the total is to be paid with the next ride, minor units.
    #[serde(default)]
    pub carried_minor: i64,
    /// How much of the fare was given back since, minor units.
    #[serde(default)]
    pub refunded_minor: i64,
    /// That, each time.
    #[serde(default)]
    pub refunds: Vec<Refund>,
    /// The price it was ordered at, minor units; `None` for the fare itself.
    #[serde(default)]
    pub upfront_minor: Option<i64>,
    /// What the rider gave the driver on top, minor units; not part of the total.
    #[serde(default)]
    pub tip_minor: i64,
}

impl Receipt {
    /// What the rider pays altogether, minor units: the fare, earlier fees and tips.
    pub fn to_pay_minor(&self) -> i64 {
        self.total_minor + self.dues_minor + self.tip_minor
    }
}

/// How much of a receipt somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The lines.
    Rider,
    /// The lines and the driver's share.
    Driver,
    /// Everything.
    Staff,
}

impl View {
    /// What `caller` sees of `receipt`; `None` when it is not theirs.
    pub fn of(receipt: &Receipt, caller: &Caller) -> Option<View> {
        match caller.role {
            Role::Rider => (caller.id == receipt.rider_id).then_some(View::Rider),
            Role::Driver => (caller.id == receipt.driver_id).then_some(View::Driver),
            Role::Operator | Role::Service => Some(View::Staff),
            Role::Guest => None,
        }
    }

    /// Whether the driver's share is shown.
    pub fn shows_driver_share(self) -> bool {
        self != View::Rider
    }

    /// Whether the platform's share is shown.
    pub fn shows_platform_share(self) -> bool {
        self == View::Staff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_rode_and_the_staff_see_it() {
        let receipt = Receipt {
            trip_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            rider_id: "anna".to_owned(),
            driver_id: "ben".to_owned(),
            product: "economy".to_owned(),
            tariff_version: "standard-2".to_owned(),
            currency: "EUR".parse().unwrap(),
            lines: FareLines::default(),
            total_minor: 0,
            driver_share_minor: 0,
            platform_share_minor: 0,
            captured_at: DateTime::UNIX_EPOCH,
            promotion_minor: 0,
            credit_minor: 0,
            payment_method: PaymentMethod::Card,
            dues_minor: 0,
            cash_minor: 0,
            carried_minor: 0,
            refunded_minor: 0,
            refunds: Vec::new(),
            upfront_minor: None,
            tip_minor: 0,
        };
        let view = |role, id: &str| {
            View::of(
                &receipt,
                &Caller {
                    role,
                    id: id.to_owned(),
                },
            )
        };
        assert_eq!(view(Role::Rider, "anna"), Some(View::Rider));
        assert_eq!(
            view(Role::Rider, "ben"),
            None,
            "a rider of the driver's name is not the driver"
        );
        assert_eq!(view(Role::Driver, "ben"), Some(View::Driver));
        assert_eq!(view(Role::Driver, "anna"), None);
        assert_eq!(view(Role::Operator, "olga"), Some(View::Staff));
        assert_eq!(view(Role::Service, "trips"), Some(View::Staff));
    }
}
