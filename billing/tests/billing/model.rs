//! Commands at random, one after the other, against a model of a few lines: billing says what the
//! model says, and after every step all money adds up.

use std::collections::BTreeMap;

use jitney_billing::Config;
use jitney_proto::{Code, billing::v1 as pb};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::support::{Sandbox, authorize, euro};

/// What a rider's open holds may add up to: two or three of the fares below.
const LIMIT: i64 = 2_500;
const RIDERS: [&str; 2] = ["anna", "bob"];
const TRIPS: usize = 7;
const KEYS: usize = 9;
const DISTANCES: [i64; 3] = [900, 5_100, 11_000];
const RUNS: usize = 14;
const STEPS: usize = 40;

/// One step, by numbers.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Authorize(Authorize),
    Capture(Capture),
    Void {
        key: usize,
        trip: usize,
    },
    /// The hold's time is over.
    RunOut {
        trip: usize,
    },
    /// The job releases what ran out.
    Lapse,
}

#[derive(Clone, Debug, PartialEq)]
struct Authorize {
    key: usize,
    trip: usize,
    rider: usize,
    quote: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Capture {
    key: usize,
    trip: usize,
    driver: usize,
    minor: Option<i64>,
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
        2 => (0..TRIPS).prop_map(|trip| Step::RunOut { trip }),
        1 => Just(Step::Lapse),
    ];
    prop::collection::vec(step, STEPS)
}

/// What is answered: the state and what was captured, or why not.
type Told = Result<(pb::HoldState, i64), Code>;

#[derive(Clone, Debug)]
struct Charge {
    rider: usize,
    authorised: i64,
    captured: i64,
    state: pb::HoldState,
    is_over: bool,
}

/// Billing, in memory.
#[derive(Default)]
struct Model {
    charges: BTreeMap<usize, Charge>,
    /// By command and key: what was asked, and what was answered.
    kept: BTreeMap<(u8, usize), (Step, Told)>,
    entries: i64,
}

impl Model {
    fn exposure(&self, rider: usize) -> i64 {
        let open = |charge: &&Charge| charge.rider == rider && charge.state == pb::HoldState::Held;
        self.charges
            .values()
            .filter(open)
            .map(|c| c.authorised)
            .sum()
    }

    fn lapse(&mut self, rider: Option<usize>) {
        for charge in self.charges.values_mut() {
            let is_meant = rider.is_none_or(|rider| rider == charge.rider);
            if is_meant && charge.is_over && charge.state == pb::HoldState::Held {
                charge.state = pb::HoldState::Voided;
            }
        }
    }

    /// What a keyed command is answered.
    fn ask(&mut self, step: &Step, totals: &[i64]) -> Told {
        let (scope, key) = match step {
            Step::Authorize(asked) => (0, asked.key),
            Step::Capture(asked) => (1, asked.key),
            Step::Void { key, .. } => (2, *key),
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
            Step::RunOut { .. } | Step::Lapse => unreachable!("not asked"),
        };
        // There may be such a trip later.
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
        let charge = Charge {
            rider: asked.rider,
            authorised: total,
            captured: 0,
            state: pb::HoldState::Held,
            is_over: false,
        };
        self.charges.insert(asked.trip, charge);
        Ok((pb::HoldState::Held, 0))
    }

    fn capture(&mut self, asked: &Capture) -> Told {
        let charge = self.charges.get_mut(&asked.trip).ok_or(Code::NotFound)?;
        if charge.state != pb::HoldState::Held || charge.is_over {
            return Err(Code::HoldNotOpen);
        }
        let minor = asked.minor.unwrap_or(charge.authorised);
        if minor > charge.authorised {
            return Err(Code::CaptureAboveHold);
        }
        charge.state = pb::HoldState::Captured;
        charge.captured = minor;
        self.entries += 1;
        Ok((charge.state, minor))
    }

    fn void(&mut self, trip: usize) -> Told {
        let charge = self.charges.get_mut(&trip).ok_or(Code::NotFound)?;
        if charge.state == pb::HoldState::Captured {
            return Err(Code::HoldNotOpen);
        }
        charge.state = pb::HoldState::Voided;
        Ok((charge.state, 0))
    }
}

/// The city of one run.
struct Run<'a> {
    sandbox: &'a Sandbox,
    number: usize,
    trips: Vec<Uuid>,
    quotes: &'a [pb::FareQuote],
}

impl Run<'_> {
    fn rider(&self, rider: usize) -> String {
        format!("{}-{}", RIDERS[rider], self.number)
    }

    async fn ask(&self, step: &Step) -> Told {
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
                told(trips.authorize_hold(request).await, |answer| answer.hold)
            }
            Step::Capture(asked) => {
                let request = pb::CaptureHoldRequest {
                    trip_id: self.trips[asked.trip].to_string(),
                    driver_id: ["ben", "bea"][asked.driver].to_owned(),
                    amount: asked.minor.map(euro),
                    idempotency_key: key(asked.key),
                    reason: pb::CaptureReason::Fare.into(),
                };
                told(trips.capture_hold(request).await, |answer| answer.hold)
            }
            Step::Void { key: number, trip } => {
                let request = pb::VoidHoldRequest {
                    trip_id: self.trips[*trip].to_string(),
                    idempotency_key: key(*number),
                };
                told(trips.void_hold(request).await, |answer| answer.hold)
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
    hold: fn(T) -> Option<pb::Hold>,
) -> Told {
    match answer {
        Ok(answer) => {
            let hold = hold(answer.into_inner()).unwrap();
            let captured = hold.captured.as_ref().unwrap().minor_units;
            Ok((hold.state(), captured))
        }
        Err(status) => Err(Code::of(&status).unwrap_or_else(|| panic!("{status:?}"))),
    }
}

#[tokio::test]
async fn random_commands_are_answered_as_by_the_model() {
    let config = Config {
        hold_limit_minor: LIMIT,
        lapse_interval: std::time::Duration::from_secs(3_600),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let mut quotes = Vec::new();
    for distance in DISTANCES {
        quotes.push(sandbox.quote(distance).await);
    }
    let totals: Vec<i64> = quotes
        .iter()
        .map(|quote| quote.total.as_ref().unwrap().minor_units)
        .collect();
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
                    if let Some(charge) = model.charges.get_mut(trip) {
                        charge.is_over = true;
                    }
                }
                Step::Lapse => {
                    sandbox.billing.store().lapse(None).await.unwrap();
                    model.lapse(None);
                }
                step => {
                    let expected = model.ask(step, &totals);
                    assert_eq!(run.ask(step).await, expected, "{}", so_far());
                    let name = match expected {
                        Ok((state, _)) => format!("{state:?}"),
                        Err(code) => format!("{code:?}"),
                    };
                    *seen.entry(name).or_insert(0) += 1;
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
            let sum: i64 = check
                .totals
                .iter()
                .map(|total| total.total.as_ref().unwrap().minor_units)
                .sum();
            assert_eq!(sum, 0, "{}", so_far());
        }
        entries += model.entries;
    }
    for name in [
        "Held",
        "Captured",
        "Voided",
        "AlreadyExists",
        "PaymentDeclined",
        "HoldNotOpen",
        "CaptureAboveHold",
        "NotFound",
        "IdempotencyKeyReused",
    ] {
        assert!(seen.contains_key(name), "{name} is among {seen:?}");
    }
}
