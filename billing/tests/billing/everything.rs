//! Everything that moves money, in sequences of chance from a seed: after every step the ledger holds, and
//! in the end everybody has what the receipts, refunds, tips and payouts say.
//!
//! What counts as a failure: a ledger that does not hold, a balance that is not what the answers add up to,
//! a refusal with a code that the step cannot have. A refusal as such is none.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{
        self as pb, CaptureReason, PaymentMethod, PaymentState, get_balance_request::Owner,
        promotion::Off,
    },
    time::timestamp,
};

use crate::support::{Client, Held, Sandbox, euro, minor};

const STEPS: usize = 100;
const RIDERS: [&str; 3] = ["anna", "bea", "cleo"];

/// Numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as i64
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len() as i64) as usize)
    }
}

/// What was done.
#[derive(Default)]
struct Done {
    held: Vec<(Held, &'static str)>,
    captured: Vec<(Held, &'static str)>,
    open: Option<pb::Payout>,
    /// What left for ben and did not come back.
    paid_out: i64,
    /// What riders were given in credit.
    credit: [i64; 3],
}

struct Run {
    sandbox: Sandbox,
    olga: Client,
    chance: Chance,
    done: Done,
    refusals: Vec<Code>,
}

impl Run {
    /// Notes a refusal.
    fn refused(&mut self, status: &tonic::Status, may: &[Code]) {
        let code = Code::of(status).unwrap_or_else(|| panic!("{status:?}"));
        assert!(may.contains(&code), "{status:?}");
        self.refusals.push(code);
    }

    async fn hold(&mut self) {
        let rider = RIDERS[self.chance.below(3) as usize];
        let method = [PaymentMethod::Card, PaymentMethod::Cash][self.chance.below(2) as usize];
        let held = self.sandbox.held_by(rider, method).await;
        if self.chance.below(3) == 0 {
            let code = ["HALF", "FIVER", "FREE"][self.chance.below(3) as usize];
            let request = pb::ApplyPromotionRequest {
                trip_id: held.trip.clone(),
                code: code.to_owned(),
            };
            if let Err(status) = self.olga.apply_promotion(request).await {
                self.refused(&status, &[Code::PromotionRefused]);
            }
        }
        self.done.held.push((held, rider));
    }

    async fn end(&mut self) {
        if self.done.held.is_empty() {
            return;
        }
        let which = self.chance.below(self.done.held.len() as i64) as usize;
        let (held, rider) = self.done.held.swap_remove(which);
        let mut trips = self.sandbox.trips();
        if self.chance.below(6) == 0 {
            trips.void_hold(held.void(&held.trip)).await.unwrap();
            return;
        }
        let reasons = [
            CaptureReason::Fare,
            CaptureReason::Fare,
            CaptureReason::CancellationFee,
            CaptureReason::NoShowFee,
        ];
        let reason = reasons[self.chance.below(4) as usize];
        let part = self.chance.below(4) == 0 && reason == CaptureReason::Fare;
        let request = pb::CaptureHoldRequest {
            reason: reason.into(),
            amount: part.then(|| euro(self.chance.below(held.total() + 1))),
            ..held.capture(&held.trip)
        };
        trips.capture_hold(request).await.unwrap();
        self.done.captured.push((held, rider));
    }

    async fn tip(&mut self, step: usize) {
        let amount = 1 + self.chance.below(300);
        let Some((held, _)) = self.chance.of(&self.done.captured) else {
            return;
        };
        let request = pb::AddTipRequest {
            trip_id: held.trip.clone(),
            amount: Some(euro(amount)),
            idempotency_key: format!("tip-{step}"),
        };
        // Nobody collects a tip for a ride in cash.
        if let Err(status) = self.olga.add_tip(request).await {
            self.refused(&status, &[Code::TipRefused]);
        }
    }

    async fn refund(&mut self, step: usize) {
        let amount = 1 + self.chance.below(400);
        let amount = (self.chance.below(4) > 0).then_some(amount);
        let Some((held, _)) = self.chance.of(&self.done.captured) else {
            return;
        };
        let request = held.refund(&format!("refund-{step}"), amount);
        if let Err(status) = self.olga.refund_trip(request).await {
            self.refused(&status, &[Code::RefundAboveCapture]);
        }
    }

    async fn credit(&mut self, step: usize) {
        let (rider, amount) = (self.chance.below(3) as usize, 1 + self.chance.below(1_500));
        let request = pb::GrantCreditRequest {
            rider_id: RIDERS[rider].to_owned(),
            amount: Some(euro(amount)),
            reason: "by chance".to_owned(),
            idempotency_key: format!("credit-{step}"),
        };
        self.olga.grant_credit(request).await.unwrap();
        self.done.credit[rider] += amount;
    }

    async fn payout(&mut self, step: usize) {
        let Some(open) = self.done.open.take() else {
            let amount = (self.chance.below(2) == 0).then(|| euro(1 + self.chance.below(1_000)));
            let request = pb::CreatePayoutRequest {
                driver_id: "ben".to_owned(),
                amount,
                idempotency_key: format!("payout-{step}"),
            };
            match self.olga.create_payout(request).await {
                Ok(made) => {
                    let made = made.into_inner().payout.unwrap();
                    self.done.paid_out += minor(&made.amount);
                    self.done.open = Some(made);
                }
                Err(status) => self.refused(&status, &[Code::PayoutAboveOwed]),
            }
            return;
        };
        let (driver_id, payout_id) = (open.driver_id, open.payout_id);
        if self.chance.below(3) == 0 {
            let request = pb::FailPayoutRequest {
                driver_id,
                payout_id,
                reason: "by chance".to_owned(),
            };
            self.olga.fail_payout(request).await.unwrap();
            self.done.paid_out -= minor(&open.amount);
        } else {
            let request = pb::FinishPayoutRequest {
                driver_id,
                payout_id,
            };
            self.olga.finish_payout(request).await.unwrap();
        }
    }

    /// Compares everybody's balance with what the receipts say.
    async fn reckon(&self) {
        let mut bens = -self.done.paid_out;
        let (mut owe, mut credit) = ([0; 3], self.done.credit);
        for (held, rider) in &self.done.captured {
            let receipt = self.sandbox.receipt(&held.trip).await;
            let sum: i64 = receipt.lines.iter().map(|line| minor(&line.amount)).sum();
            assert_eq!(sum, minor(&receipt.total), "{receipt:?}");
            let dues_and_tips: i64 = receipt
                .lines
                .iter()
                .filter(|line| {
                    matches!(line.kind(), pb::FareLineKind::Dues | pb::FareLineKind::Tip)
                })
                .map(|line| minor(&line.amount))
                .sum();
            assert_eq!(minor(&receipt.fare) + dues_and_tips, sum, "{receipt:?}");
            let tips: i64 = receipt
                .lines
                .iter()
                .filter(|line| line.kind() == pb::FareLineKind::Tip)
                .map(|line| minor(&line.amount))
                .sum();
            let who = RIDERS.iter().position(|known| known == rider).unwrap();
            bens += minor(&receipt.driver_share) - minor(&receipt.cash) + tips;
            owe[who] += minor(&receipt.fare) - minor(&receipt.credit) - minor(&receipt.cash) + tips;
            credit[who] -= minor(&receipt.credit);
            let mut refunded = 0;
            for refund in &receipt.refunds {
                bens -= minor(&refund.driver_share);
                owe[who] -= minor(&refund.amount) - minor(&refund.credit);
                credit[who] += minor(&refund.credit);
                refunded += minor(&refund.amount);
            }
            assert_eq!(refunded, minor(&receipt.refunded));
            assert!(refunded <= minor(&receipt.fare));
            let is_whole = refunded == minor(&receipt.fare) && refunded > 0;
            assert_eq!(receipt.payment_state() == PaymentState::Refunded, is_whole);
        }
        let owner = Owner::DriverId("ben".to_owned());
        assert_eq!(self.sandbox.balance(owner).await, bens);
        for (who, rider) in RIDERS.into_iter().enumerate() {
            let request = pb::GetBalanceRequest {
                owner: Some(Owner::RiderId(rider.to_owned())),
            };
            let balance = self.sandbox.trips().get_balance(request).await.unwrap();
            let balance = balance.into_inner();
            let first = |all: &[jitney_proto::common::v1::Money]| {
                all.first().map_or(0, |money| money.minor_units)
            };
            assert_eq!(first(&balance.balances), owe[who], "{rider}");
            assert_eq!(first(&balance.credits), credit[who], "{rider}");
        }
    }
}

async fn run(seed: u64) -> Vec<Code> {
    let config = jitney_billing::Config {
        hold_limit_minor: 1_000_000,
        tip_max_minor: 1_000_000,
        ..Default::default()
    };
    let sandbox = Sandbox::with(config).await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    for (code, off) in [
        ("HALF", Off::Percent(50)),
        ("FIVER", Off::Amount(euro(500))),
        ("FREE", Off::Percent(100)),
    ] {
        let terms = pb::Promotion {
            off: Some(off),
            cap: None,
            rides_per_rider: 1,
            valid_from: Some(timestamp("2020-01-01T00:00:00Z".parse().unwrap())),
            valid_to: Some(timestamp("2999-01-01T00:00:00Z".parse().unwrap())),
        };
        let request = pb::PutPromotionRequest {
            code: code.to_owned(),
            promotion: Some(terms),
        };
        olga.put_promotion(request).await.unwrap();
    }
    let mut run = Run {
        sandbox,
        olga,
        chance: Chance(seed),
        done: Done::default(),
        refusals: Vec::new(),
    };
    for step in 0..STEPS {
        match run.chance.below(12) {
            0..=2 => run.hold().await,
            3..=5 => run.end().await,
            6 => run.tip(step).await,
            7..=8 => run.refund(step).await,
            9 => run.credit(step).await,
            _ => run.payout(step).await,
        }
        let check = run.sandbox.check().await;
        assert!(check.balanced, "seed {seed:#x}, step {step}: {check:?}");
    }
    run.reckon().await;
    run.refusals
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_the_ledger_holds_and_everybody_has_their_own() {
    let mut refusals = Vec::new();
    for seed in [
        0x9e37_79b9_7f4a_7c15,
        0xdead_beef_0bad_cafe,
        0x0123_4567_89ab_cdef,
    ] {
        refusals.extend(run(seed).await);
    }
    for code in [
        Code::RefundAboveCapture,
        Code::PayoutAboveOwed,
        Code::PromotionRefused,
    ] {
        assert!(
            refusals.contains(&code),
            "{code:?} never came: {refusals:?}"
        );
    }
}
