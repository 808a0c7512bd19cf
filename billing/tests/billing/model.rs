//! Commands at random, one after the other, against a model of a few lines: billing says what the
//! model says, and after every step all money adds up.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use jitney_billing::Config;
use jitney_proto::{Code, billing::v1 as pb};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::support::{Sandbox, authorize, euro, minor};

/// What a rider's open holds may add up to: two or three of the fares below.
const LIMIT: i64 = 2_500;
const RIDERS: [&str; 2] = ["anna", "bob"];
const TRIPS: usize = 7;
pub const KEYS: usize = 9;
const DISTANCES: [i64; 3] = [900, 5_100, 11_000];
const RUNS: usize = 14;
const STEPS: usize = 40;

/// One step, by numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Authorize(Authorize),
    Capture(Capture),
    Void {
        key: usize,
        trip: usize,
    },
    Refund {
        key: usize,
        trip: usize,
        minor: Option<i64>,
    },
    /// The hold's time is over.
    RunOut {
        trip: usize,
    },
    /// The job releases what ran out.
    Lapse,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Authorize {
    pub key: usize,
    pub trip: usize,
    pub rider: usize,
    pub quote: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    pub key: usize,
    pub trip: usize,
    pub driver: usize,
    pub minor: Option<i64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keyed = || (0..KEYS, 0..TRIPS);
    let authorize = (keyed(), 0..RIDERS.len(), 0..DISTANCES.len());
    let authorize = authorize.prop_map(|((key, trip), rider, quote)| {
        Step::Authorize(Authorize {
            key,
            trip,
            rider,
            quote,
        })
    });
    let minor = prop_oneof![3 => Just(None), 2 => (0..1_200_i64).prop_map(Some)];
    let part = prop_oneof![1 => Just(None), 1 => (1..1_200_i64).prop_map(Some)];
    let refund = (keyed(), part);
    let refund = refund.prop_map(|((key, trip), minor)| Step::Refund { key, trip, minor });
    let capture = (keyed(), 0..2_usize, minor).prop_map(|((key, trip), driver, minor)| {
        Step::Capture(Capture {
            key,
            trip,
            driver,
            minor,
        })
    });
    let step = prop_oneof![
        6 => authorize,
        5 => capture,
        3 => keyed().prop_map(|(key, trip)| Step::Void { key, trip }),
        4 => refund,
        2 => (0..TRIPS).prop_map(|trip| Step::RunOut { trip }),
        1 => Just(Step::Lapse),
    ];
    prop::collection::vec(step, STEPS)
}

/// Where a charge stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stand {
    pub state: pb::HoldState,
    pub authorised: i64,
    pub captured: i64,
    pub refunded: i64,
    /// How often its money has moved.
    pub version: i64,
}

/// What is answered: the charge and, of a refund, its number and amount; or why not.
pub type Told = Result<(Stand, Option<(u32, i64)>), Code>;

#[derive(Clone, Debug)]
pub struct Charge {
    rider: usize,
    pub stand: Stand,
    refunds: u32,
    is_over: bool,
}

impl Charge {
    fn is_held(&self) -> bool {
        self.stand.state == pb::HoldState::Held
    }

    fn void(&mut self) {
        self.stand.state = pb::HoldState::Voided;
        self.stand.version += 1;
    }
}

/// Billing, in memory.
#[derive(Clone, Default)]
pub struct Model {
    pub charges: BTreeMap<usize, Charge>,
    /// By command and key: what was asked, and what was answered.
    kept: BTreeMap<(u8, usize), (Step, Told)>,
    pub entries: i64,
}

impl Model {
    pub fn exposure(&self, rider: usize) -> i64 {
        let open = |charge: &&Charge| charge.rider == rider && charge.is_held();
        self.charges
            .values()
            .filter(open)
            .map(|charge| charge.stand.authorised)
            .sum()
    }

    pub fn run_out(&mut self, trip: usize) {
        if let Some(charge) = self.charges.get_mut(&trip) {
            charge.is_over = true;
        }
    }

    /// How many holds are released.
    pub fn lapse(&mut self, rider: Option<usize>) -> i64 {
        let mut released = 0;
        for charge in self.charges.values_mut() {
            let is_meant = rider.is_none_or(|rider| rider == charge.rider);
            if is_meant && charge.is_over && charge.is_held() {
                charge.void();
                released += 1;
            }
        }
        released
    }

    /// What a keyed command is answered.
    pub fn ask(&mut self, step: &Step, totals: &[i64]) -> Told {
        let (scope, key) = match step {
            Step::Authorize(asked) => (0, asked.key),
            Step::Capture(asked) => (1, asked.key),
            Step::Void { key, .. } => (2, *key),
            Step::Refund { key, .. } => (3, *key),
            Step::RunOut { .. } | Step::Lapse => unreachable!("not asked"),
        };
        if let Some((asked, told)) = self.kept.get(&(scope, key)) {
            return if asked == step {
                *told
            } else {
                Err(Code::IdempotencyKeyReused)
            };
        }
        let told = match step {
            Step::Authorize(asked) => self.authorize(asked, totals),
            Step::Capture(asked) => self.capture(asked),
            Step::Void { trip, .. } => self.void(*trip),
            Step::Refund { trip, minor, .. } => self.refund(*trip, *minor),
            Step::RunOut { .. } | Step::Lapse => unreachable!("not asked"),
        };
        // There may be such a trip later, or its fare.
        if told != Err(Code::NotFound) {
            self.kept.insert((scope, key), (step.clone(), told));
        }
        told
    }

    fn authorize(&mut self, asked: &Authorize, totals: &[i64]) -> Told {
        if self.charges.contains_key(&asked.trip) {
            return Err(Code::AlreadyExists);
        }
        let total = totals[asked.quote];
        if self.exposure(asked.rider) + total > LIMIT {
            // What ran out stands in nobody's way.
            self.lapse(Some(asked.rider));
        }
        if self.exposure(asked.rider) + total > LIMIT {
            return Err(Code::PaymentDeclined);
        }
        let stand = Stand {
            state: pb::HoldState::Held,
            authorised: total,
            captured: 0,
            refunded: 0,
            version: 1,
        };
        let charge = Charge {
            rider: asked.rider,
            stand,
            refunds: 0,
            is_over: false,
        };
        self.charges.insert(asked.trip, charge);
        Ok((stand, None))
    }

    fn capture(&mut self, asked: &Capture) -> Told {
        let charge = self.charges.get_mut(&asked.trip).ok_or(Code::NotFound)?;
        if !charge.is_held() || charge.is_over {
            return Err(Code::HoldNotOpen);
        }
        let minor = asked.minor.unwrap_or(charge.stand.authorised);
        if minor > charge.stand.authorised {
            return Err(Code::CaptureAboveHold);
        }
        charge.stand.state = pb::HoldState::Captured;
        charge.stand.captured = minor;
        charge.stand.version += 1;
        self.entries += 1;
        Ok((charge.stand, None))
    }

    fn void(&mut self, trip: usize) -> Told {
        let charge = self.charges.get_mut(&trip).ok_or(Code::NotFound)?;
        match charge.stand.state {
            pb::HoldState::Captured => return Err(Code::HoldNotOpen),
            pb::HoldState::Held => charge.void(),
            _ => {}
        }
        Ok((charge.stand, None))
    }

    fn refund(&mut self, trip: usize, minor: Option<i64>) -> Told {
        let charge = self.charges.get_mut(&trip).ok_or(Code::NotFound)?;
        if charge.stand.state != pb::HoldState::Captured {
            return Err(Code::NotFound);
        }
        let left = charge.stand.captured - charge.stand.refunded;
        let minor = minor.unwrap_or(left);
        if left == 0 || minor > left {
            return Err(Code::RefundAboveCapture);
        }
        charge.stand.refunded += minor;
        charge.stand.version += 1;
        charge.refunds += 1;
        self.entries += 1;
        Ok((charge.stand, Some((charge.refunds, minor))))
    }
}

/// The city of one run.
pub struct Run<'a> {
    pub sandbox: &'a Sandbox,
    pub number: usize,
    pub trips: Vec<Uuid>,
    pub quotes: &'a [pb::FareQuote],
}

impl Run<'_> {
    pub fn rider(&self, rider: usize) -> String {
        format!("{}-{}", RIDERS[rider], self.number)
    }

    pub fn ask(&self, step: &Step) -> BoxFuture<'static, Told> {
        let mut trips = self.sandbox.trips();
        let key = |key: usize| format!("{}-{key}", self.number);
        match step {
            Step::Authorize(asked) => {
                let quote = &self.quotes[asked.quote].quote_id;
                let trip = self.trips[asked.trip].to_string();
                let request = pb::AuthorizeHoldRequest {
                    idempotency_key: key(asked.key),
                    ..authorize(&trip, &self.rider(asked.rider), quote)
                };
                Box::pin(async move {
                    let answer = trips.authorize_hold(request).await;
                    told(answer, |answer| (answer.hold, None))
                })
            }
            Step::Capture(asked) => {
                let request = pb::CaptureHoldRequest {
                    trip_id: self.trips[asked.trip].to_string(),
                    driver_id: ["ben", "bea"][asked.driver].to_owned(),
                    amount: asked.minor.map(euro),
                    idempotency_key: key(asked.key),
                    reason: pb::CaptureReason::Fare.into(),
                };
                Box::pin(async move {
                    let answer = trips.capture_hold(request).await;
                    told(answer, |answer| (answer.hold, None))
                })
            }
            Step::Void { key: number, trip } => {
                let request = pb::VoidHoldRequest {
                    trip_id: self.trips[*trip].to_string(),
                    idempotency_key: key(*number),
                };
                Box::pin(async move {
                    let answer = trips.void_hold(request).await;
                    told(answer, |answer| (answer.hold, None))
                })
            }
            Step::Refund {
                key: number,
                trip,
                minor,
            } => {
                let request = pb::RefundTripRequest {
                    trip_id: self.trips[*trip].to_string(),
                    amount: minor.map(euro),
                    reason: "the car was dirty".to_owned(),
                    idempotency_key: key(*number),
                };
                Box::pin(async move {
                    let answer = trips.refund_trip(request).await;
                    told(answer, |answer| (answer.hold, answer.refund))
                })
            }
            Step::RunOut { .. } | Step::Lapse => unreachable!("not asked"),
        }
    }

    async fn run_out(&self, trip: usize) {
        sqlx::query(
            "UPDATE trip_charge SET created_at = now() - interval '2 h', expires_at = now()
             WHERE trip_id = $1",
        )
        .bind(self.trips[trip])
        .execute(self.sandbox.pool())
        .await
        .unwrap();
    }
}

fn told<T: std::fmt::Debug>(
    answer: Result<Response<T>, Status>,
    parts: fn(T) -> (Option<pb::Hold>, Option<pb::Refund>),
) -> Told {
    match answer {
        Ok(answer) => {
            let (hold, refund) = parts(answer.into_inner());
            let hold = hold.unwrap();
            let stand = Stand {
                state: hold.state(),
                authorised: minor(&hold.authorized),
                captured: minor(&hold.captured),
                refunded: minor(&hold.refunded),
                version: hold.version,
            };
            Ok((
                stand,
                refund.map(|refund| (refund.number, minor(&refund.amount))),
            ))
        }
        Err(status) => Err(Code::of(&status).unwrap_or_else(|| panic!("{status:?}"))),
    }
}

/// In few words.
pub fn name(told: &Told) -> String {
    match told {
        Ok((_, Some(_))) => "Refund".to_owned(),
        Ok((stand, None)) => format!("{:?}", stand.state),
        Err(code) => format!("{code:?}"),
    }
}

/// With the model's limit, and nothing is released behind the test's back.
pub fn limited(config: Config) -> Config {
    Config {
        hold_limit_minor: LIMIT,
        lapse_interval: std::time::Duration::from_secs(3_600),
        ..config
    }
}

/// A quote for each distance, and what they come to.
pub async fn quotes(sandbox: &Sandbox) -> (Vec<pb::FareQuote>, Vec<i64>) {
    let mut quotes = Vec::new();
    for distance in DISTANCES {
        quotes.push(sandbox.quote(distance).await);
    }
    let totals = quotes.iter().map(|quote| minor(&quote.total)).collect();
    (quotes, totals)
}

#[tokio::test]
async fn random_commands_are_answered_as_by_the_model() {
    let sandbox = Sandbox::with(limited(Config::default())).await;
    let (quotes, totals) = quotes(&sandbox).await;
    let mut runner = TestRunner::deterministic();
    let (mut entries, mut seen) = (0, BTreeMap::new());
    for number in 0..RUNS {
        let run = Run {
            sandbox: &sandbox,
            number,
            trips: (0..TRIPS).map(|_| Uuid::now_v7()).collect(),
            quotes: &quotes,
        };
        let mut model = Model::default();
        let steps = steps().new_tree(&mut runner).unwrap().current();
        for (at, step) in steps.iter().enumerate() {
            let so_far = || format!("run {number}: {:#?}", &steps[..=at]);
            match step {
                Step::RunOut { trip } => {
                    run.run_out(*trip).await;
                    model.run_out(*trip);
                }
                Step::Lapse => {
                    sandbox.billing.store().lapse(None).await.unwrap();
                    model.lapse(None);
                }
                step => {
                    let expected = model.ask(step, &totals);
                    assert_eq!(run.ask(step).await, expected, "{}", so_far());
                    *seen.entry(name(&expected)).or_insert(0) += 1;
                }
            }
            for rider in 0..RIDERS.len() {
                let exposure = sandbox.exposure(&run.rider(rider)).await;
                assert_eq!(exposure, model.exposure(rider), "{}", so_far());
            }
            let check = sandbox.check().await;
            assert!(check.balanced, "{check:?} {}", so_far());
            assert_eq!(check.entries, entries + model.entries, "{}", so_far());
            assert_eq!(sandbox.untold().await, [], "{}", so_far());
            let sum: i64 = check.totals.iter().map(|total| minor(&total.total)).sum();
            assert_eq!(sum, 0, "{}", so_far());
        }
        entries += model.entries;
    }
    for name in [
        "Held",
        "Captured",
        "Voided",
        "Refund",
        "AlreadyExists",
        "PaymentDeclined",
        "HoldNotOpen",
        "CaptureAboveHold",
        "RefundAboveCapture",
        "NotFound",
        "IdempotencyKeyReused",
    ] {
        assert!(seen.contains_key(name), "{name} is among {seen:?}");
    }
}
