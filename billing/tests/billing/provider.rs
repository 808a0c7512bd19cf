//! The payment provider is told what the ledger says: once, whatever gets lost on the way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jitney_billing::{
    Config,
    provider::{
        Event, EventError, Found, Kind, Listed, Operation, Outcome, Provider,
        config::{ProviderConfig, SandboxConfig},
        sandbox,
        teller::Teller,
    },
};
use jitney_platform::{auth::Role, testing::eventually};
use jitney_proto::billing::v1 as pb;
use sqlx::Connection as _;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::support::{Held, Sandbox, euro, minor};

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is lost.
    Before,
    /// The answer is lost.
    After,
    /// The request is lost, and the one who waits for the answer is killed.
    KilledBefore,
    /// It is carried out, and the one who waits for the answer is killed.
    KilledAfter,
    /// It is refused.
    Declined,
}

/// The sandbox, with faults where a test wants them.
pub struct Faulty {
    pub inner: sandbox::Sandbox,
    /// For the first call of each kind.
    faults: Mutex<HashMap<Kind, Fault>>,
    /// The keys it was asked under, each time.
    sent: Mutex<Vec<String>>,
    /// Somebody waits for an answer that never comes.
    waits: Notify,
}

impl Faulty {
    async fn call(&self, operation: &Operation) -> Outcome {
        self.sent.lock().unwrap().push(operation.key.clone());
        let fault = self.faults.lock().unwrap().remove(&operation.kind);
        let carried_out = match fault {
            Some(Fault::Before | Fault::KilledBefore) => Outcome::unknown("lost"),
            Some(Fault::Declined) => Outcome::Declined {
                reason: "insufficient funds".to_owned(),
            },
            _ => self.inner.carry_out(operation).await,
        };
        match fault {
            Some(Fault::KilledBefore | Fault::KilledAfter) => {
                self.waits.notify_one();
                std::future::pending().await
            }
            Some(Fault::After) => Outcome::unknown("lost"),
            _ => carried_out,
        }
    }

    /// How often it was asked under a key that ends so.
    fn sent(&self, ending: &str) -> usize {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|key| key.ends_with(ending)).count()
    }
}

#[async_trait]
impl Provider for Faulty {
    fn name(&self) -> &'static str {
        "sandbox"
    }
    async fn carry_out(&self, operation: &Operation) -> Outcome {
        self.call(operation).await
    }
    async fn find(&self, operation: &Operation) -> Found {
        self.inner.find(operation).await
    }
    async fn list(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        at_most: usize,
    ) -> Result<Option<Vec<Listed>>, String> {
        self.inner.list(from, to, at_most).await
    }
    fn event(&self, _: &[u8], _: &str, _: DateTime<Utc>) -> Result<Event, EventError> {
        Err(EventError::NotExpected)
    }
}

/// Billing and somebody who tells the provider when asked to.
pub struct Bank {
    pub sandbox: Sandbox,
    pub provider: Arc<Faulty>,
    pub teller: Teller,
}

fn patience() -> ProviderConfig {
    ProviderConfig {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        ..ProviderConfig::default()
    }
}

impl Bank {
    pub async fn new() -> Bank {
        Bank::with(Config::default(), SandboxConfig::default()).await
    }

    pub async fn with(config: Config, faults: SandboxConfig) -> Bank {
        let sandbox = Sandbox::with(config).await;
        let store = sandbox.billing.store().clone();
        let provider = Arc::new(Faulty {
            inner: sandbox::Sandbox::new(store.clone(), sandbox.platform.clock.clone(), faults),
            faults: Mutex::default(),
            sent: Mutex::default(),
            waits: Notify::new(),
        });
        let teller = Teller::new(store, provider.clone(), patience());
        // From now on.
        teller.round().await.unwrap();
        Bank {
            sandbox,
            provider,
            teller,
        }
    }

    pub fn fault(&self, kind: Kind, fault: Fault) {
        self.provider.faults.lock().unwrap().insert(kind, fault);
    }

    /// Rounds until everything is at an end.
    pub async fn settle(&self) {
        eventually("every operation is at an end", async || {
            self.teller.round().await.unwrap();
            self.unfinished().await == 0
        })
        .await;
        // Consequences of the last ones.
        self.teller.round().await.unwrap();
    }

    pub async fn unfinished(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM provider_operation WHERE state NOT IN ('SUCCEEDED', 'DECLINED')",
        )
        .fetch_one(self.sandbox.pool())
        .await
        .unwrap()
    }

    /// A round of a process that is killed while it waits for an answer.
    pub async fn killed_round(&self) {
        let teller = self.teller.clone();
        let round = tokio::spawn(async move { teller.round().await });
        self.provider.waits.notified().await;
        round.abort();
        assert!(round.await.unwrap_err().is_cancelled());
        let sent: i64 =
            sqlx::query_scalar("SELECT count(*) FROM provider_operation WHERE state = 'SENT'")
                .fetch_one(self.sandbox.pool())
                .await
                .unwrap();
        assert_eq!(sent, 1, "it was written down before it was sent");
        // Nobody takes it up while somebody may still wait for the answer; then that time is over.
        assert_eq!(self.teller.round().await.unwrap(), 0);
        sqlx::query("UPDATE provider_operation SET next_attempt_at = now() WHERE state = 'SENT'")
            .execute(self.sandbox.pool())
            .await
            .unwrap();
    }

    /// What the provider carried out about a trip or payout: kind and amount, in order.
    pub async fn book(&self, subject: &str) -> Vec<(String, i64)> {
        sqlx::query_as(
            "SELECT kind, amount_minor FROM provider_sandbox
             WHERE subject_id = $1 AND declined IS NULL ORDER BY made_at, key",
        )
        .bind(subject.parse::<Uuid>().unwrap())
        .fetch_all(self.sandbox.pool())
        .await
        .unwrap()
    }

    /// Our operations about it: kind, amount and state, in order.
    pub async fn operations(&self, subject: &str) -> Vec<(String, i64, String)> {
        sqlx::query_as(
            "SELECT kind, amount_minor, state FROM provider_operation
             WHERE subject_id = $1 ORDER BY step",
        )
        .bind(subject.parse::<Uuid>().unwrap())
        .fetch_all(self.sandbox.pool())
        .await
        .unwrap()
    }

    pub async fn payout(&self) -> pb::Payout {
        let mut olga = self.sandbox.client(Role::Operator, "olga");
        let request = pb::CreatePayoutRequest {
            driver_id: "ben".to_owned(),
            amount: Some(euro(100)),
            idempotency_key: Uuid::now_v7().to_string(),
        };
        let answer = olga.create_payout(request).await.unwrap().into_inner();
        answer.payout.unwrap()
    }

    pub async fn payout_state(&self, payout: &pb::Payout) -> pb::PayoutState {
        let mut olga = self.sandbox.client(Role::Operator, "olga");
        let request = pb::ListPayoutsRequest::default();
        let list = olga.list_payouts(request).await.unwrap().into_inner();
        let of = list
            .payouts
            .into_iter()
            .find(|one| one.payout_id == payout.payout_id);
        of.unwrap().state()
    }

    pub async fn capture(&self, held: &Held) {
        let capture = held.capture(&format!("{}:capture", held.trip));
        self.sandbox.trips().capture_hold(capture).await.unwrap();
    }

    pub async fn refund(&self, held: &Held, minor_units: i64) {
        let refund = held.refund(&Uuid::now_v7().to_string(), Some(minor_units));
        self.sandbox.trips().refund_trip(refund).await.unwrap();
    }

    pub async fn void(&self, held: &Held) {
        let void = held.void(&format!("{}:void", held.trip));
        self.sandbox.trips().void_hold(void).await.unwrap();
    }
}

async fn states(bank: &Bank, subject: &str) -> Vec<String> {
    let operations = bank.operations(subject).await;
    operations.into_iter().map(|(_, _, state)| state).collect()
}

pub fn rows(of: &[(&str, i64)]) -> Vec<(String, i64)> {
    of.iter()
        .map(|(kind, minor)| ((*kind).to_owned(), *minor))
        .collect()
}

#[tokio::test]
async fn what_the_ledger_says_is_carried_out() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.held("anna").await;
    bank.settle().await;
    assert_eq!(
        bank.book(&ride.trip).await,
        rows(&[("AUTHORIZE", ride.total())])
    );
    let part = ride.capture_part("part", ride.total() - 5);
    bank.sandbox.trips().capture_hold(part).await.unwrap();
    bank.settle().await;
    bank.refund(&ride, 7).await;
    bank.refund(&ride, 9).await;
    let payout = bank.payout().await;
    bank.settle().await;
    bank.settle().await;
    let expected = rows(&[
        ("AUTHORIZE", ride.total()),
        ("CAPTURE", ride.total() - 5),
        ("REFUND", 7),
        ("REFUND", 9),
    ]);
    assert_eq!(bank.book(&ride.trip).await, expected);
    assert_eq!(
        bank.book(&payout.payout_id).await,
        rows(&[("TRANSFER", 100)])
    );
    assert_eq!(bank.payout_state(&payout).await, pb::PayoutState::Settled);

    // Called off, and called off before anybody looked.
    let off = bank.sandbox.held("anna").await;
    bank.settle().await;
    bank.void(&off).await;
    let quick = bank.sandbox.held("anna").await;
    bank.void(&quick).await;
    bank.settle().await;
    let expected = rows(&[("AUTHORIZE", off.total()), ("VOID", 0)]);
    assert_eq!(bank.book(&off.trip).await, expected);
    assert_eq!(bank.book(&quick.trip).await, []);

    // Held and taken before anybody looked.
    let short = bank.sandbox.captured("anna").await;
    bank.settle().await;
    let expected = rows(&[("AUTHORIZE", short.total()), ("CAPTURE", short.total())]);
    assert_eq!(bank.book(&short.trip).await, expected);

    // Cash is none of the provider's business.
    let cash = bank.sandbox.held_by("carl", pb::PaymentMethod::Cash).await;
    bank.capture(&cash).await;
    bank.refund(&cash, 3).await;
    bank.settle().await;
    assert_eq!(bank.operations(&cash.trip).await, []);
    bank.sandbox.assert_sound().await;
}

#[tokio::test]
async fn credit_and_earlier_fees_are_reckoned_in() {
    let bank = Bank::new().await;
    let give = pb::GrantCreditRequest {
        rider_id: "anna".to_owned(),
        amount: Some(euro(150)),
        reason: "sorry".to_owned(),
        idempotency_key: "credit".to_owned(),
    };
    bank.sandbox.trips().grant_credit(give).await.unwrap();
    let ride = bank.sandbox.captured("anna").await;
    // Cash that was refunded comes back as credit, what was charged as money.
    bank.refund(&ride, ride.total()).await;
    bank.settle().await;
    let charged = ride.total() - 150;
    let expected = rows(&[
        ("AUTHORIZE", ride.total()),
        ("CAPTURE", charged),
        ("REFUND", charged),
    ]);
    assert_eq!(bank.book(&ride.trip).await, expected);

    // A fee that was carried comes on top of the whole fare: more than was authorised.
    sqlx::query("INSERT INTO rider_dues (rider_id, currency, due_minor) VALUES ('dan', 'EUR', 40)")
        .execute(bank.sandbox.pool())
        .await
        .unwrap();
    let ride = bank.sandbox.captured("dan").await;
    bank.settle().await;
    let expected = rows(&[
        ("AUTHORIZE", ride.total()),
        ("CAPTURE", ride.total()),
        ("AUTHORIZE", 40),
        ("CAPTURE", 40),
    ]);
    assert_eq!(bank.book(&ride.trip).await, expected);
}

#[tokio::test]
async fn a_lost_answer_changes_nothing_wherever_it_is_lost() {
    let bank = Bank::new().await;
    for fault in [
        Fault::Before,
        Fault::After,
        Fault::KilledBefore,
        Fault::KilledAfter,
    ] {
        let is_killed = matches!(fault, Fault::KilledBefore | Fault::KilledAfter);
        let is_before = matches!(fault, Fault::Before | Fault::KilledBefore);
        // One that was never carried out is sent again, under the same key.
        let times = if is_before { 2 } else { 1 };
        let step = async |kind: Kind, key: String| {
            bank.fault(kind, fault);
            if is_killed {
                bank.killed_round().await;
            }
            bank.settle().await;
            assert_eq!(bank.provider.sent(&key), times, "{fault:?} {key}");
        };
        let ride = bank.sandbox.held("anna").await;
        step(Kind::Authorize, format!("{}:authorize", ride.trip)).await;
        bank.capture(&ride).await;
        step(Kind::Capture, format!("{}:capture", ride.trip)).await;
        bank.refund(&ride, 5).await;
        step(Kind::Refund, format!("{}:refund:1", ride.trip)).await;
        let expected = rows(&[
            ("AUTHORIZE", ride.total()),
            ("CAPTURE", ride.total()),
            ("REFUND", 5),
        ]);
        assert_eq!(bank.book(&ride.trip).await, expected, "{fault:?}");

        let off = bank.sandbox.held("anna").await;
        bank.settle().await;
        bank.void(&off).await;
        step(Kind::Void, format!("{}:void", off.trip)).await;
        let expected = rows(&[("AUTHORIZE", off.total()), ("VOID", 0)]);
        assert_eq!(bank.book(&off.trip).await, expected, "{fault:?}");

        let payout = bank.payout().await;
        step(Kind::Transfer, format!("{}:transfer", payout.payout_id)).await;
        assert_eq!(
            bank.book(&payout.payout_id).await,
            rows(&[("TRANSFER", 100)])
        );
        assert_eq!(bank.payout_state(&payout).await, pb::PayoutState::Settled);
    }
    bank.sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_declined_authorisation_releases_the_hold() {
    let bank = Bank::new().await;
    let ride = bank.sandbox.held("anna").await;
    bank.fault(Kind::Authorize, Fault::Declined);
    bank.settle().await;
    assert_eq!(bank.sandbox.exposure("anna").await, 0);
    let answer = bank
        .sandbox
        .trips()
        .capture_hold(ride.capture("late"))
        .await;
    assert_eq!(
        crate::support::refusal(answer),
        jitney_proto::Code::HoldNotOpen
    );
    bank.settle().await;
    assert_eq!(states(&bank, &ride.trip).await, ["DECLINED"]);

    // Called off before anybody heard of it: there is nothing to release.
    let off = bank.sandbox.held("anna").await;
    let store = bank.sandbox.billing.store();
    store.plan_operations("sandbox").await.unwrap();
    bank.void(&off).await;
    bank.fault(Kind::Authorize, Fault::Declined);
    bank.settle().await;
    assert_eq!(states(&bank, &off.trip).await, ["DECLINED"; 2]);
    assert_eq!(bank.provider.sent(":void"), 0);

    // Too late: the fare was taken before anybody heard of it.
    let ride = bank.sandbox.captured("anna").await;
    bank.refund(&ride, 5).await;
    bank.fault(Kind::Authorize, Fault::Declined);
    bank.settle().await;
    assert_eq!(states(&bank, &ride.trip).await, ["DECLINED"; 3]);
    assert_eq!(
        bank.provider.sent(":capture") + bank.provider.sent(":refund:1"),
        0
    );
    bank.sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_payout_comes_back_when_its_transfer_is_declined() {
    let bank = Bank::new().await;
    bank.sandbox.captured("anna").await;
    bank.settle().await;
    let payout = bank.payout().await;
    bank.fault(Kind::Transfer, Fault::Declined);
    bank.settle().await;
    assert_eq!(bank.payout_state(&payout).await, pb::PayoutState::Failed);
    // One that an operator closes before it is sent is not sent.
    let payout = bank.payout().await;
    let failed = pb::FailPayoutRequest {
        driver_id: "ben".to_owned(),
        payout_id: payout.payout_id.clone(),
        reason: "by hand".to_owned(),
    };
    let store = bank.sandbox.billing.store();
    store.plan_operations("sandbox").await.unwrap();
    let mut olga = bank.sandbox.client(Role::Operator, "olga");
    olga.fail_payout(failed).await.unwrap();
    bank.settle().await;
    assert_eq!(bank.book(&payout.payout_id).await, []);
    assert_eq!(bank.operations(&payout.payout_id).await[0].2, "DECLINED");
    bank.sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_side_by_side_send_everything_once() {
    let bank = Bank::new().await;
    let mut rides = Vec::new();
    for n in 0..20 {
        rides.push(bank.sandbox.captured(&format!("rider{n}")).await);
    }
    // Without the lease, as if it had passed from one to the next at every moment.
    let rounds: Vec<_> = (0..4)
        .map(|_| {
            let teller = bank.teller.clone();
            tokio::spawn(async move {
                for _ in 0..6 {
                    teller.round().await.unwrap();
                }
            })
        })
        .collect();
    for round in rounds {
        round.await.unwrap();
    }
    bank.settle().await;
    for ride in &rides {
        let expected = rows(&[("AUTHORIZE", ride.total()), ("CAPTURE", ride.total())]);
        assert_eq!(bank.book(&ride.trip).await, expected);
        for kind in ["authorize", "capture"] {
            assert_eq!(bank.provider.sent(&format!("{}:{kind}", ride.trip)), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_does_it_by_itself_in_any_number_of_processes() {
    let bank = Bank::new().await;
    for _ in 0..2 {
        let config = ProviderConfig {
            poll_interval: Duration::from_millis(10),
            ..patience()
        };
        let store = bank.sandbox.billing.store().clone();
        let teller = Teller::new(store, bank.provider.clone(), config);
        let platform = &bank.sandbox.platform;
        let run = teller.run(platform.clock.clone(), platform.shutdown.clone());
        platform.tasks.spawn(run);
    }
    let ride = bank.sandbox.captured("anna").await;
    eventually("the fare is taken", async || {
        bank.book(&ride.trip).await.len() == 2 && bank.unfinished().await == 0
    })
    .await;
    assert_eq!(bank.sandbox.count("lease").await, 1);
    assert!(bank.sandbox.platform.stop(Duration::from_secs(10)).await);
    assert_eq!(bank.sandbox.count("lease").await, 0, "given back");
}

/// Whoever is asked to stop while the database gives out the lease has it first, and gives it back then.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_being_taken_is_given_back_all_the_same() {
    let bank = Bank::new().await;
    let sandbox = &bank.sandbox;
    // Another holder whose claim is not decided yet: whoever wants the lease waits for that.
    let mut other = sandbox.superuser().await;
    let mut undecided = other.begin().await.unwrap();
    sqlx::query("INSERT INTO lease (name, holder, expires_at) VALUES ('provider', $1, now())")
        .bind(Uuid::now_v7())
        .execute(&mut *undecided)
        .await
        .unwrap();
    let store = sandbox.billing.store().clone();
    let teller = Teller::new(store, bank.provider.clone(), patience());
    let platform = &sandbox.platform;
    let run = tokio::spawn(teller.run(platform.clock.clone(), platform.shutdown.clone()));
    let mut looking = sandbox.superuser().await;
    let mut waiting = async || -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut looking)
        .await
        .unwrap()
    };
    eventually("it asks for the lease", async || waiting().await > 0).await;
    platform.shutdown.cancel();
    // Time enough to go away without it.
    for _ in 0..50 {
        assert_eq!(waiting().await, 1);
    }
    assert!(!run.is_finished());
    undecided.rollback().await.unwrap();
    run.await.unwrap();
    assert_eq!(sandbox.count("lease").await, 0);
}

#[tokio::test]
async fn what_was_over_before_is_left_alone() {
    let sandbox = Sandbox::new().await;
    let over = sandbox.captured("anna").await;
    let open = sandbox.held("anna").await;
    let store = sandbox.billing.store().clone();
    for _ in 0..2 {
        store.plan_operations("sandbox").await.unwrap();
    }
    sandbox
        .trips()
        .refund_trip(over.refund("r", None))
        .await
        .unwrap();
    sandbox
        .trips()
        .capture_hold(open.capture("c"))
        .await
        .unwrap();
    store.plan_operations("sandbox").await.unwrap();
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM provider_operation ORDER BY step")
        .fetch_all(sandbox.pool())
        .await
        .unwrap();
    let trip = &open.trip;
    assert_eq!(
        keys,
        [format!("{trip}:authorize"), format!("{trip}:capture")]
    );
    // Another provider knows nothing of what this one authorised.
    store.plan_operations("another").await.unwrap();
    assert_eq!(sandbox.count("provider_operation").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_full_of_faults_comes_to_the_same() {
    let faults = SandboxConfig {
        seed: 7,
        decline_percent: 20,
        lose_answer_percent: 60,
        ..SandboxConfig::default()
    };
    let bank = Bank::with(Config::default(), faults).await;
    let mut rides = Vec::new();
    // Who is declined goes by the ids, which are new each time: of so many some are, and some are not.
    for n in 0..60 {
        rides.push(bank.sandbox.held(&format!("rider{n}")).await);
    }
    bank.settle().await;
    let (mut taken, mut declined) = (0, 0);
    for ride in &rides {
        let capture = bank
            .sandbox
            .trips()
            .capture_hold(ride.capture(&ride.trip))
            .await;
        taken += usize::from(capture.is_ok());
    }
    bank.settle().await;
    for ride in &rides {
        let book = bank.book(&ride.trip).await;
        let expected = rows(&[("AUTHORIZE", ride.total()), ("CAPTURE", ride.total())]);
        if book.is_empty() {
            declined += 1;
        } else {
            assert_eq!(book, expected);
        }
    }
    assert_eq!(taken + declined, rides.len());
    assert!(taken > 0 && declined > 0, "{taken} {declined}");
    assert!(
        bank.provider.sent(":authorize") > rides.len(),
        "requests were lost"
    );
    bank.sandbox.assert_sound().await;
}

#[tokio::test]
async fn amounts_are_the_minor_units_of_their_currency() {
    for code in ["JPY", "KWD"] {
        let config = Config {
            currency: code.parse().unwrap(),
            ..Config::default()
        };
        let bank = Bank::with(config, SandboxConfig::default()).await;
        let ride = bank.sandbox.captured("anna").await;
        bank.settle().await;
        let of: Vec<(i64, String)> =
            sqlx::query_as("SELECT amount_minor, currency FROM provider_sandbox")
                .fetch_all(bank.sandbox.pool())
                .await
                .unwrap();
        let total = minor(&ride.quote.total);
        assert_eq!(of, vec![(total, code.to_owned()); 2]);
    }
}
