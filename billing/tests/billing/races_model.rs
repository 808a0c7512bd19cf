//! Commands at random, all at once, against the model that commands one after the other are compared
//! with: there is an order in which the model gives the very answers that billing gave, and ends where the
//! charge ended.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use jitney_billing::Config;
use jitney_proto::billing::v1 as pb;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use uuid::Uuid;

use crate::{
    model::{Authorize, Capture, KEYS, Model, Run, Stand, Step, Told, limited, name, quotes},
    races::at_once,
    support::{Sandbox, minor, one_by_one},
};

/// Trips that are fought over, in each of two databases.
const RACES: usize = 30;
/// The middle one of `DISTANCES`.
const RACED: usize = 1;

/// Commands about one trip that start at once.
#[derive(Clone, Debug)]
struct Race {
    /// The fare was taken before.
    is_captured: bool,
    /// The hold runs out so many microseconds after it is told to.
    falls_due: Option<i64>,
    steps: Vec<Step>,
}

impl Race {
    /// What is done before, under keys that the race does not use.
    fn before(&self) -> Vec<Step> {
        let mut steps = vec![Step::Authorize(Authorize {
            key: KEYS,
            trip: 0,
            rider: 0,
            quote: RACED,
        })];
        if self.is_captured {
            steps.push(Step::Capture(Capture {
                key: KEYS,
                trip: 0,
                driver: 0,
                minor: None,
            }));
        }
        steps
    }
}

fn races() -> impl Strategy<Value = Race> {
    // Few keys: some commands come again, and some keys are used for something else.
    let key = || 0..3_usize;
    let minor = || {
        prop_oneof![
            3 => Just(None), 2 => Just(Some(400)), 1 => Just(Some(0)), 1 => Just(Some(100_000)),
        ]
    };
    let capture = (key(), 0..2_usize, minor()).prop_map(|(key, driver, minor)| {
        Step::Capture(Capture {
            key,
            trip: 0,
            driver,
            minor,
        })
    });
    let void = key().prop_map(|key| Step::Void { key, trip: 0 });
    let part = prop_oneof![3 => Just(None), 2 => Just(Some(300)), 3 => Just(Some(600))];
    let refund = (key(), part).prop_map(|(key, minor)| Step::Refund {
        key,
        trip: 0,
        minor,
    });
    let (captures, voids, refunds) = (capture.boxed(), void.boxed(), refund.boxed());
    let mix = move |weights: [u32; 4]| {
        let step = prop_oneof![
            weights[0] => captures.clone(),
            weights[1] => voids.clone(),
            weights[2] => refunds.clone(),
            weights[3] => Just(Step::Lapse),
        ];
        // Some come twice.
        let again = prop::option::of(0..2_usize);
        (prop::collection::vec(step, 2..=3), again).prop_map(|(mut steps, again)| {
            steps.extend(again.map(|at| steps[at].clone()));
            steps
        })
    };
    let race = |is_captured, falls_due| {
        move |steps| Race {
            is_captured,
            falls_due,
            steps,
        }
    };
    prop_oneof![
        3 => mix([6, 2, 3, 0]).prop_map(race(false, None)),
        3 => mix([1, 1, 9, 0]).prop_map(race(true, None)),
        3 => (mix([6, 1, 1, 2]), 0..FALLS_DUE_MAX)
            .prop_map(move |(steps, due)| race(false, Some(due))(steps)),
    ]
}

/// About as long as the commands of one race take, microseconds.
const FALLS_DUE_MAX: i64 = 16_000;

/// What happened in a race.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    /// A command was answered so.
    Told(Step, Told),
    /// The hold's time was over.
    RanOut,
    /// The job released the hold.
    Lapsed,
}

impl Model {
    /// Whether this is what would happen now.
    fn agrees(&mut self, event: &Event, totals: &[i64]) -> bool {
        match event {
            Event::Told(step, told) => self.ask(step, totals) == *told,
            Event::RanOut => {
                self.run_out(0);
                true
            }
            Event::Lapsed => self.lapse(None) == 1,
        }
    }

    /// The model after all of that, in the first order that leads there.
    fn explain(&self, events: &[Event], end: Stand, totals: &[i64]) -> Option<Model> {
        if events.is_empty() {
            return (self.charges[&0].stand == end).then(|| self.clone());
        }
        (0..events.len()).find_map(|at| {
            let (mut model, mut rest) = (self.clone(), events.to_vec());
            let first = rest.remove(at);
            let agrees = model.agrees(&first, totals);
            agrees.then(|| model.explain(&rest, end, totals)).flatten()
        })
    }
}

impl Run<'_> {
    /// Sets the end of the hold.
    async fn falls_due(&self, microseconds: i64) {
        sqlx::query(
            "UPDATE trip_charge SET created_at = now() - interval '2 h',
                 expires_at = clock_timestamp() + $2 * interval '1 microsecond'
             WHERE trip_id = $1",
        )
        .bind(self.trips[0])
        .bind(microseconds)
        .execute(self.sandbox.pool())
        .await
        .unwrap();
    }

    /// Where the charge stands, and whether its time is over.
    async fn stand(&self) -> (Stand, bool) {
        let (state, authorised, captured, refunded, version, is_over): (String, _, _, _, _, _) =
            sqlx::query_as(
                "SELECT state, authorised, captured, refunded, version,
                     expires_at <= clock_timestamp()
                 FROM trip_charge WHERE trip_id = $1",
            )
            .bind(self.trips[0])
            .fetch_one(self.sandbox.pool())
            .await
            .unwrap();
        let state = pb::HoldState::from_str_name(&format!("HOLD_STATE_{state}")).unwrap();
        let stand = Stand {
            state,
            authorised,
            captured,
            refunded,
            version,
        };
        (stand, is_over)
    }

    /// What a command of a race, or the job, comes to; nothing when the job finds nothing to do: what
    /// others have locked is left for the next time.
    fn raced(&self, step: &Step) -> BoxFuture<'static, Option<Event>> {
        let step = step.clone();
        if step == Step::Lapse {
            let (store, rider) = (self.sandbox.billing.store().clone(), self.rider(0));
            return Box::pin(async move {
                let released = store.lapse(Some(&rider.parse().unwrap())).await.unwrap();
                (released == 1).then_some(Event::Lapsed)
            });
        }
        let asked = self.ask(&step);
        Box::pin(async move { Some(Event::Told(step, asked.await)) })
    }

    /// Runs a race, and says what happened, in no order.
    async fn race(&self, race: &Race, waiting_max: usize) -> Vec<Event> {
        let calls: Vec<_> = race.steps.iter().map(|step| self.raced(step)).collect();
        let happened = if let Some(microseconds) = race.falls_due {
            self.falls_due(microseconds).await;
            let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
            let mut happened = Vec::new();
            for task in tasks {
                happened.push(task.await.unwrap());
            }
            happened
        } else {
            // A refund does not wait for a fare that is not there.
            let waits = |step: &&Step| race.is_captured || !matches!(step, Step::Refund { .. });
            let waiting = race.steps.iter().filter(waits).count();
            at_once(self.sandbox, waiting.min(waiting_max), calls).await
        };
        happened.into_iter().flatten().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_commands_at_once_are_answered_as_by_the_model_in_some_order() {
    let (mut runner, mut seen) = (TestRunner::deterministic(), BTreeMap::new());
    // Captures that run alone, and captures that run together: those of one trip may be one statement.
    for (config, waiting_max) in [(one_by_one(), 4), (Config::default(), 1)] {
        let sandbox = Sandbox::with(limited(config)).await;
        let (quotes, totals) = quotes(&sandbox).await;
        let mut entries = 0;
        for number in 0..RACES {
            let run = Run {
                sandbox: &sandbox,
                number,
                trips: vec![Uuid::now_v7()],
                quotes: &quotes,
            };
            let race = races().new_tree(&mut runner).unwrap().current();
            let mut model = Model::default();
            for step in race.before() {
                let expected = model.ask(&step, &totals);
                assert_eq!(run.ask(&step).await, expected, "{race:#?}");
            }
            let mut happened = run.race(&race, waiting_max).await;
            let (end, is_over) = run.stand().await;
            if is_over {
                happened.push(Event::RanOut);
            }
            for event in &happened {
                let name = match event {
                    Event::Told(_, told) => name(told),
                    event => format!("{event:?}"),
                };
                *seen.entry(name).or_insert(0) += 1;
            }
            let Some(mut model) = model.explain(&happened, end, &totals) else {
                panic!("{number}: no order of {happened:#?} leads to {end:#?}");
            };
            if is_over {
                // What is still held is released the next time.
                let rider = run.rider(0).parse().unwrap();
                let released = sandbox.billing.store().lapse(Some(&rider)).await.unwrap();
                assert_eq!(released, model.lapse(None), "{number}: {happened:#?}");
            }
            let exposure = sandbox.exposure(&run.rider(0)).await;
            assert_eq!(exposure, model.exposure(0), "{number}: {happened:#?}");
            entries += model.entries;
        }
        sandbox.assert_sound().await;
        let check = sandbox.check().await;
        assert_eq!((check.entries, check.unbalanced_entries), (entries, 0));
        let totals = check.totals.iter().map(|total| minor(&total.total));
        assert_eq!(totals.sum::<i64>(), 0, "{check:?}");
        let unbalanced: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (
                 SELECT FROM posting GROUP BY trip_id, kind, seq, currency HAVING sum(amount_minor) <> 0
             ) AS unbalanced",
        )
        .fetch_one(sandbox.pool())
        .await
        .unwrap();
        assert_eq!(unbalanced, 0);
    }
    for name in [
        "Captured",
        "Voided",
        "Refund",
        "RanOut",
        "HoldNotOpen",
        "RefundAboveCapture",
        "IdempotencyKeyReused",
    ] {
        assert!(seen.contains_key(name), "{name} is among {seen:?}");
    }
}
