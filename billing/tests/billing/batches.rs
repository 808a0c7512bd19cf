//! Captures that are run together: each as if it had come alone, whoever stands beside it.

use std::time::Duration;

use jitney_billing::{
    Config, Error,
    hold::{CaptureOf, Reason, Refusal},
    idempotency::Key,
    ledger::Account,
    store::{Captured, Store, batch::Asked},
};
use jitney_platform::{auth::Role, db::DatabaseConfig, testing::eventually};
use jitney_proto::{Code, billing::v1 as pb, ids::TripId, money::Money, time::timestamp};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use sqlx::PgConnection;
use tokio::task::JoinHandle;
use tonic::{Response, Status};

use crate::support::{Held, Sandbox, authorize, euro, refusal};

/// One worker, who stays with a statement that is stuck.
fn one_worker() -> Config {
    let mut config = Config::default();
    config.batch.workers = 1;
    config.batch.stall_max = Duration::from_secs(3_600);
    config
}

type Answer = Result<Response<pb::CaptureHoldResponse>, Status>;

fn capture(sandbox: &Sandbox, request: pb::CaptureHoldRequest) -> JoinHandle<Answer> {
    let mut trips = sandbox.trips();
    tokio::spawn(async move { trips.capture_hold(request).await })
}

/// Charges that somebody else has locked.
struct Locked {
    holder: PgConnection,
    watcher: PgConnection,
}

impl Locked {
    async fn lock(sandbox: &Sandbox, held: &Held) -> Locked {
        let mut holder = sandbox.superuser().await;
        sqlx::raw_sql("BEGIN").execute(&mut holder).await.unwrap();
        sqlx::query("SELECT 1 FROM trip_charge WHERE trip_id = $1::uuid FOR UPDATE")
            .bind(&held.trip)
            .execute(&mut holder)
            .await
            .unwrap();
        Locked {
            holder,
            watcher: sandbox.superuser().await,
        }
    }

    /// Waits until so many statements wait for locks.
    async fn waited_for(&mut self, statements: i64) {
        eventually("the wait for the lock", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&mut self.watcher)
            .await
            .unwrap();
            waiting >= statements
        })
        .await;
    }

    async fn unlock(mut self) {
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.holder)
            .await
            .unwrap();
    }
}

/// What a test compares: what was answered, without the moments that differ.
fn told(answer: Result<Captured, Error>) -> String {
    match answer {
        Ok((hold, receipt)) => format!(
            "{:?} {} of {}; {} paid {:?}, {} got {}, we {}; {:?}",
            hold.state,
            hold.captured,
            hold.authorised,
            receipt.rider_id,
            receipt.lines,
            receipt.driver_id,
            receipt.driver_share_minor,
            receipt.platform_share_minor,
            (
                receipt.payment_method,
                receipt.promotion_minor,
                receipt.credit_minor,
                receipt.dues_minor,
                receipt.cash_minor,
                receipt.carried_minor,
            ),
        ),
        Err(Error::Refused(Refusal::HoldNotOpen(hold))) => {
            format!("not open: {:?}, {}", hold.state, hold.captured)
        }
        Err(Error::Refused(Refusal::AboveHold(hold))) => format!("above {}", hold.authorised),
        Err(error) => format!("{error:?}"),
    }
}

/// One capture of a drawn list, by numbers.
#[derive(Clone, Debug)]
struct Drawn {
    key: usize,
    trip: usize,
    driver: usize,
    what: usize,
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    // Few of everything, so that keys and trips are met again.
    let one = (0..14_usize, 0..9_usize, 0..2_usize, 0..12_usize);
    let one = one.prop_map(|(key, trip, driver, what)| Drawn {
        key,
        trip,
        driver,
        what,
    });
    prop::collection::vec(one, 1..14)
}

impl Drawn {
    fn asked(&self, run: usize, trips: &[TripId]) -> Asked {
        let euros = |minor| Some(Money::new(minor, "EUR".parse().unwrap()));
        let (amount, reason) = match self.what {
            0..4 => (None, Reason::Fare),
            4 => (None, Reason::CancellationFee),
            5 => (None, Reason::NoShowFee),
            6 => (euros(0), Reason::Fare),
            7 => (euros(333), Reason::Fare),
            8 => (euros(7), Reason::Fare),
            9 => (euros(1_000_000), Reason::Fare),
            10 => (Some(Money::new(1, "JPY".parse().unwrap())), Reason::Fare),
            _ => (euros(1), Reason::Fare),
        };
        Asked {
            key: Key::new(format!("{run}-{}", self.key)).unwrap(),
            capture: CaptureOf {
                trip_id: trips[self.trip],
                driver_id: ["ben", "bea"][self.driver].parse().unwrap(),
                amount,
                reason,
            },
            traceparent: None,
        }
    }
}

/// Asks for them together, and for those that have to be asked for alone afterwards.
async fn together(store: &Store, asked: &[Asked]) -> (Vec<Result<Captured, Error>>, usize) {
    let (mut answers, mut alone) = (Vec::new(), 0);
    for (asked, answer) in asked.iter().zip(store.capture_all(asked).await.unwrap()) {
        answers.push(match answer {
            Some(answer) => answer,
            None => {
                alone += 1;
                store.capture(&asked.key, &asked.capture).await
            }
        });
    }
    (answers, alone)
}

/// Carl has some credit left, and one of Anna's rides is half the price.
async fn more_than_a_fare(sandbox: &Sandbox, run: usize, trip: &TripId) {
    let mut olga = sandbox.client(Role::Operator, "olga");
    let credit = pb::GrantCreditRequest {
        rider_id: "carl".to_owned(),
        amount: Some(euro(150)),
        reason: "we are sorry".to_owned(),
        idempotency_key: format!("credit-{run}"),
    };
    olga.grant_credit(credit).await.unwrap();
    let promotion = pb::PutPromotionRequest {
        code: "HALF".to_owned(),
        promotion: Some(pb::Promotion {
            off: Some(pb::promotion::Off::Percent(50)),
            cap: None,
            rides_per_rider: 1_000,
            valid_from: Some(timestamp("2020-01-01T00:00:00Z".parse().unwrap())),
            valid_to: Some(timestamp("2999-01-01T00:00:00Z".parse().unwrap())),
        }),
    };
    olga.put_promotion(promotion).await.unwrap();
    let apply = pb::ApplyPromotionRequest {
        trip_id: trip.to_string(),
        code: "HALF".to_owned(),
    };
    let mut anna = sandbox.client(Role::Rider, "anna");
    anna.apply_promotion(apply).await.unwrap();
}

#[tokio::test]
async fn together_is_as_alone() {
    // Nothing is released behind the test's back, however long it takes.
    let config = Config {
        lapse_interval: Duration::from_secs(3_600),
        ..Config::default()
    };
    let alone = Sandbox::with(config.clone()).await;
    let batched = Sandbox::with(config).await;
    let mut runner = TestRunner::deterministic();
    let (mut asked_in_all, mut alone_in_all) = (0, 0);
    for run in 0..40 {
        // The same trips in both: six that are held, one released, one that ran out, one unknown.
        let trips: Vec<TripId> = (0..9).map(|_| TripId(uuid::Uuid::now_v7())).collect();
        for sandbox in [&alone, &batched] {
            for (number, trip) in trips[..8].iter().enumerate() {
                let quote = sandbox.quote(900 * number as i64).await;
                // Dora pays in cash, and has her fees carried forward.
                let is_cash = number == 4;
                let rider = if is_cash {
                    "dora"
                } else {
                    ["anna", "bob", "carl"][number % 3]
                };
                let mut hold = authorize(&trip.to_string(), rider, &quote.quote_id);
                if is_cash {
                    hold.payment_method = pb::PaymentMethod::Cash.into();
                }
                sandbox.trips().authorize_hold(hold).await.unwrap();
            }
            more_than_a_fare(sandbox, run, &trips[3]).await;
            let key = Key::new(format!("{run}-void")).unwrap();
            sandbox.billing.store().void(&key, trips[6]).await.unwrap();
            sqlx::query(
                "UPDATE trip_charge SET created_at = now() - interval '2 h', expires_at = now()
                 WHERE trip_id = $1",
            )
            .bind(trips[7].0)
            .execute(sandbox.pool())
            .await
            .unwrap();
        }
        let list = drawn().new_tree(&mut runner).unwrap().current();
        let asked: Vec<_> = list.iter().map(|drawn| drawn.asked(run, &trips)).collect();
        // Twice: the second time everything is a repetition.
        for _ in 0..2 {
            let mut expected = Vec::new();
            for Asked { key, capture, .. } in &asked {
                expected.push(told(alone.billing.store().capture(key, capture).await));
            }
            let (answers, left) = together(batched.billing.store(), &asked).await;
            let answers: Vec<_> = answers.into_iter().map(told).collect();
            for (number, answer) in answers.iter().enumerate() {
                assert_eq!(answer, &expected[number], "{number} of {list:?}");
            }
            asked_in_all += asked.len();
            alone_in_all += left;
        }
        for sandbox in [&alone, &batched] {
            sandbox.billing.store().lapse(None).await.unwrap();
        }
        for rider in ["anna", "bob", "carl", "dora"] {
            assert_eq!(batched.exposure(rider).await, alone.exposure(rider).await);
        }
    }
    assert!(
        alone_in_all * 3 < asked_in_all * 2,
        "most were judged together: {alone_in_all} of {asked_in_all} were not"
    );
    let checks = [alone.check().await, batched.check().await];
    assert!(checks[0].balanced && checks[0].entries > 50, "{checks:?}");
    assert_eq!(checks[0], checks[1]);
    let balances = async |sandbox: &Sandbox| {
        let mut balances = Vec::new();
        for (account, owner) in [
            (Account::DriverPayable, "ben"),
            (Account::DriverPayable, "bea"),
            (Account::RiderReceivable, "anna"),
        ] {
            balances.push(
                sandbox
                    .billing
                    .store()
                    .balances(account, owner)
                    .await
                    .unwrap(),
            );
        }
        balances
    };
    assert_eq!(balances(&alone).await, balances(&batched).await);
    let kept = "idempotency WHERE outcome <> 'DONE'";
    assert_eq!(alone.count(kept).await, batched.count(kept).await);
}

#[tokio::test]
async fn a_key_and_a_trip_may_come_twice_in_one_batch() {
    let sandbox = Sandbox::with(one_worker()).await;
    let (first, one, two) = (
        sandbox.held("anna").await,
        sandbox.held("anna").await,
        sandbox.held("anna").await,
    );
    let mut locked = Locked::lock(&sandbox, &first).await;
    let ahead = capture(&sandbox, first.capture("ahead"));
    locked.waited_for(1).await;
    // They stand in line, in this order, while the only worker waits.
    let calls = [
        one.capture("a"),
        one.capture("a"),
        two.capture("a"),
        one.capture("b"),
        two.capture("c"),
    ];
    let calls: Vec<_> = calls.map(|call| capture(&sandbox, call)).into();
    locked.unlock().await;
    ahead.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    let last = answers.pop().unwrap();
    last.unwrap();
    assert_eq!(refusal(answers.pop().unwrap()), Code::HoldNotOpen);
    assert_eq!(refusal(answers.pop().unwrap()), Code::IdempotencyKeyReused);
    let same: Vec<_> = answers
        .into_iter()
        .map(|a| a.unwrap().into_inner())
        .collect();
    assert_eq!(same[0], same[1]);
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 3);
}

#[tokio::test]
async fn one_that_cannot_be_written_fails_alone() {
    let sandbox = Sandbox::with(one_worker()).await;
    sqlx::raw_sql("ALTER TABLE receipt ADD CONSTRAINT nobody CHECK (driver_id <> 'nobody')")
        .execute(&mut sandbox.superuser().await)
        .await
        .unwrap();
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(sandbox.held("anna").await);
    }
    let mut locked = Locked::lock(&sandbox, &all[0]).await;
    let ahead = capture(&sandbox, all[0].capture(&all[0].trip));
    locked.waited_for(1).await;
    let calls: Vec<_> = all[1..]
        .iter()
        .enumerate()
        .map(|(number, held)| {
            let mut request = held.capture(&held.trip);
            if number == 1 {
                request.driver_id = "nobody".to_owned();
            }
            capture(&sandbox, request)
        })
        .collect();
    locked.unlock().await;
    ahead.await.unwrap().unwrap();
    for (number, call) in calls.into_iter().enumerate() {
        let answer = call.await.unwrap();
        if number == 1 {
            assert_eq!(refusal(answer), Code::Internal);
        } else {
            answer.unwrap();
        }
    }
    assert_eq!(sandbox.exposure("anna").await, all[2].total());
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 4);
}

#[tokio::test]
async fn nobody_waits_for_a_neighbours_lock() {
    // The database does not end the wait: it would let the neighbour go as well.
    let patient = DatabaseConfig {
        statement_timeout: Duration::from_secs(600),
        lock_timeout: Duration::from_secs(600),
        ..DatabaseConfig::default()
    };
    let sandbox = Sandbox::bounded(one_worker(), patient).await;
    let (first, slow, quick) = (
        sandbox.held("anna").await,
        sandbox.held("anna").await,
        sandbox.held("bob").await,
    );
    let mut worker = Locked::lock(&sandbox, &first).await;
    let mut locked = Locked::lock(&sandbox, &slow).await;
    let ahead = capture(&sandbox, first.capture("ahead"));
    worker.waited_for(1).await;
    let waits = capture(&sandbox, slow.capture("slow"));
    let passes = capture(&sandbox, quick.capture("quick"));
    worker.unlock().await;
    ahead.await.unwrap().unwrap();
    let patience = Duration::from_secs(10);
    let passed = tokio::time::timeout(patience, passes).await;
    passed.expect("it does not wait").unwrap().unwrap();
    locked.waited_for(1).await;
    assert!(!waits.is_finished());
    locked.unlock().await;
    waits.await.unwrap().unwrap();
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn captures_that_are_stuck_leave_the_way_free() {
    let mut config = one_worker();
    config.batch.stall_max = Duration::from_millis(5);
    let patient = DatabaseConfig {
        statement_timeout: Duration::from_secs(600),
        lock_timeout: Duration::from_secs(600),
        ..DatabaseConfig::default()
    };
    let sandbox = Sandbox::bounded(config, patient).await;
    let (slow, slower, quick) = (
        sandbox.held("anna").await,
        sandbox.held("anna").await,
        sandbox.held("bob").await,
    );
    let mut locked = Locked::lock(&sandbox, &slow).await;
    let also_locked = Locked::lock(&sandbox, &slower).await;
    // One after the other: the two of them together would be set apart at once.
    let mut stuck = Vec::new();
    for held in [&slow, &slower] {
        stuck.push(capture(&sandbox, held.capture(&held.trip)));
        locked.waited_for(stuck.len() as i64).await;
    }
    let passes = capture(&sandbox, quick.capture("quick"));
    let patience = Duration::from_secs(10);
    let passed = tokio::time::timeout(patience, passes).await;
    passed.expect("it does not wait").unwrap().unwrap();
    locked.unlock().await;
    also_locked.unlock().await;
    for call in stuck {
        call.await.unwrap().unwrap();
    }
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_full_line_says_so_at_once() {
    let mut config = one_worker();
    config.batch.queue_max = 3;
    let sandbox = Sandbox::with(config).await;
    let mut all = Vec::new();
    for _ in 0..9 {
        all.push(sandbox.held("anna").await);
    }
    let mut locked = Locked::lock(&sandbox, &all[0]).await;
    let ahead = capture(&sandbox, all[0].capture(&all[0].trip));
    locked.waited_for(1).await;
    let mut calls: Vec<_> = all[1..]
        .iter()
        .map(|held| capture(&sandbox, held.capture(&held.trip)))
        .collect();
    // Six of the eight, while one is stuck and two wait.
    eventually("the refusals", async || {
        calls.iter().filter(|call| call.is_finished()).count() == 6
    })
    .await;
    for call in calls.extract_if(.., |call| call.is_finished()) {
        let refused = call.await.unwrap().unwrap_err();
        assert_eq!(Code::of(&refused), Some(Code::Overloaded));
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let details = tonic_types::StatusExt::get_details_retry_info(&refused);
        assert!(details.unwrap().retry_delay.is_some(), "{refused:?}");
    }
    locked.unlock().await;
    ahead.await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    for held in &all {
        let again = held.capture(&held.trip);
        sandbox.trips().capture_hold(again).await.unwrap();
    }
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 9);
}

#[tokio::test]
async fn who_has_gone_away_is_left_out_and_breaks_nothing() {
    let sandbox = Sandbox::with(one_worker()).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(sandbox.held("anna").await);
    }
    let mut locked = Locked::lock(&sandbox, &all[0]).await;
    let ahead = capture(&sandbox, all[0].capture(&all[0].trip));
    locked.waited_for(1).await;
    let mut calls: Vec<_> = all[1..]
        .iter()
        .map(|held| capture(&sandbox, held.capture(&held.trip)))
        .collect();
    // One turn each: they stand in line.
    tokio::task::yield_now().await;
    let gone = calls.remove(1);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    locked.unlock().await;
    ahead.await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(sandbox.count("journal_entry").await, 4);
    assert_eq!(sandbox.exposure("anna").await, all[2].total());
    let again = all[2].capture(&all[2].trip);
    sandbox.trips().capture_hold(again).await.unwrap();
    sandbox.assert_sound().await;
}
