//! Everything at once: whatever is raced or cut off, a ride is charged exactly once.

use jitney_billing::Config;
use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, get_balance_request::Owner},
};
use prost::Message;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::{Held, Sandbox, authorize, one_by_one};

const DUPLICATES: usize = 50;

/// Connections of the service: so many statements can wait at once.
pub const CONNECTIONS: usize = 8;

/// Captures run alone and together, and how many statements wait at once then.
fn both() -> [(Config, usize); 2] {
    let mut together = Config::default();
    together.batch.stall_max = std::time::Duration::from_secs(3_600);
    // Every worker has one.
    together.batch.beside_min = 1;
    let workers = together.batch.workers;
    [(one_by_one(), CONNECTIONS), (together, workers)]
}

/// Everybody's rows, locked by somebody else: whoever moves money has to wait, with a view of the
/// database from before the others moved theirs.
pub struct Turnstile {
    holder: PgConnection,
    /// Another connection: what the server does is seen but once per transaction.
    watcher: PgConnection,
}

impl Turnstile {
    async fn close(sandbox: &Sandbox) -> Turnstile {
        Turnstile::with(
            sandbox,
            "SELECT 1 FROM trip_charge FOR UPDATE;
             SELECT 1 FROM rider_exposure FOR UPDATE;
             SELECT 1 FROM account_balance FOR UPDATE",
        )
        .await
    }

    /// Closed by what somebody does and has not committed.
    pub async fn with(sandbox: &Sandbox, doing: &str) -> Turnstile {
        let mut holder = sandbox.superuser().await;
        for statement in ["BEGIN", doing] {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
                .execute(&mut holder)
                .await
                .unwrap();
        }
        Turnstile {
            holder,
            watcher: sandbox.superuser().await,
        }
    }

    /// Waits until so many statements wait.
    pub async fn queue(&mut self, waiting: usize) {
        eventually("the queue", async || {
            let queued: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&mut self.watcher)
            .await
            .unwrap();
            queued as usize >= waiting
        })
        .await;
    }

    pub async fn open(mut self) {
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.holder)
            .await
            .unwrap();
    }
}

/// Starts all calls, lets them queue before the same rows, and then go at once.
pub async fn at_once<T: Send + 'static>(
    sandbox: &Sandbox,
    waiting: usize,
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut turnstile = Turnstile::close(sandbox).await;
    let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    turnstile.queue(tasks.len().min(waiting)).await;
    turnstile.open().await;
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Makes the row that holds of a rider are added up in.
async fn known_rider(sandbox: &Sandbox, rider: &str) {
    let held = sandbox.held(rider).await;
    sandbox.trips().void_hold(held.void("known")).await.unwrap();
}

async fn assert_charged_once(sandbox: &Sandbox, held: &Held) {
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 1);
    assert_eq!(sandbox.count("posting").await, 4);
    assert_eq!(
        sandbox.balance(Owner::RiderId("anna".to_owned())).await,
        held.total()
    );
    assert_eq!(sandbox.exposure("anna").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_capture_many_times_at_once() {
    for (config, waiting) in both() {
        let sandbox = Sandbox::with(config).await;
        let held = sandbox.held("anna").await;
        let answers = at_once(
            &sandbox,
            waiting,
            (0..DUPLICATES).map(|_| {
                let (mut trips, request) = (sandbox.trips(), held.capture("c"));
                async move { trips.capture_hold(request).await }
            }),
        )
        .await;
        let bytes: Vec<_> = answers
            .into_iter()
            .map(|a| a.unwrap().into_inner().encode_to_vec())
            .collect();
        assert!(
            bytes.windows(2).all(|pair| pair[0] == pair[1]),
            "one answer for all"
        );
        assert_charged_once(&sandbox, &held).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_captures_of_one_trip_at_once() {
    for (config, waiting) in both() {
        let sandbox = Sandbox::with(config).await;
        let held = sandbox.held("anna").await;
        let answers = at_once(
            &sandbox,
            waiting,
            (0..DUPLICATES).map(|n| {
                let (mut trips, request) = (sandbox.trips(), held.capture(&format!("c{n}")));
                async move { trips.capture_hold(request).await }
            }),
        )
        .await;
        let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1);
        for answer in refused {
            assert_eq!(Code::of(&answer.unwrap_err()), Some(Code::HoldNotOpen));
        }
        assert_charged_once(&sandbox, &held).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_and_release_at_once() {
    let sandbox = Sandbox::new().await;
    for capture_first in [true, false] {
        let held = sandbox.held("anna").await;
        let capture = || {
            let (mut trips, request) = (sandbox.trips(), held.capture(&held.trip));
            tokio::spawn(async move { trips.capture_hold(request).await })
        };
        let void = || {
            let (mut trips, request) = (sandbox.trips(), held.void(&held.trip));
            tokio::spawn(async move { trips.void_hold(request).await })
        };
        let mut turnstile = Turnstile::close(&sandbox).await;
        let (captured, voided) = if capture_first {
            let first = capture();
            turnstile.queue(1).await;
            let second = void();
            turnstile.queue(2).await;
            turnstile.open().await;
            (first.await.unwrap(), second.await.unwrap())
        } else {
            let first = void();
            turnstile.queue(1).await;
            let second = capture();
            turnstile.queue(2).await;
            turnstile.open().await;
            let voided = first.await.unwrap();
            (second.await.unwrap(), voided)
        };
        assert_ne!(captured.is_ok(), voided.is_ok(), "exactly one of them");
        assert_eq!(captured.is_ok(), capture_first, "the first in the queue");
        let refused = captured.err().or(voided.err()).unwrap();
        assert_eq!(Code::of(&refused), Some(Code::HoldNotOpen));
    }
    assert_eq!(sandbox.exposure("anna").await, 0);
    let check = sandbox.check().await;
    assert!(check.balanced, "{check:?}");
    assert_eq!(check.entries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_hold_many_times_at_once() {
    let sandbox = Sandbox::new().await;
    known_rider(&sandbox, "anna").await;
    let quote = sandbox.quote(5_100).await;
    let request = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
    let answers = at_once(
        &sandbox,
        CONNECTIONS,
        (0..DUPLICATES).map(|_| {
            let (mut trips, request) = (sandbox.trips(), request.clone());
            async move { trips.authorize_hold(request).await }
        }),
    )
    .await;
    let bytes: Vec<_> = answers
        .into_iter()
        .map(|a| a.unwrap().into_inner().encode_to_vec())
        .collect();
    assert!(
        bytes.windows(2).all(|pair| pair[0] == pair[1]),
        "one answer for all"
    );
    assert_eq!(
        sandbox.exposure("anna").await,
        quote.total.unwrap().minor_units
    );
    assert_eq!(sandbox.count("trip_charge WHERE state = 'HELD'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_holds_of_one_rider_at_once_stay_below_the_limit() {
    let config = Config {
        hold_limit_minor: 5_000,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    known_rider(&sandbox, "anna").await;
    let quote = sandbox.quote(5_100).await;
    let total = quote.total.unwrap().minor_units;
    let room = 5_000 / total;
    assert!(
        (2..8).contains(&room),
        "some of those in the queue fit, and some do not"
    );
    let answers = at_once(
        &sandbox,
        CONNECTIONS,
        (0..DUPLICATES).map(|_| {
            let mut trips = sandbox.trips();
            let request = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
            async move { trips.authorize_hold(request).await }
        }),
    )
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len() as i64, room);
    for answer in refused {
        assert_eq!(Code::of(&answer.unwrap_err()), Some(Code::PaymentDeclined));
    }
    assert_eq!(sandbox.exposure("anna").await, room * total);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_for_many_trips_at_once_moves_one() {
    for (config, waiting) in both() {
        let sandbox = Sandbox::with(config).await;
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(sandbox.held("anna").await);
        }
        let answers = at_once(
            &sandbox,
            waiting,
            all.iter().map(|held| {
                let (mut trips, request) = (sandbox.trips(), held.capture("the one key"));
                async move { trips.capture_hold(request).await }
            }),
        )
        .await;
        let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1);
        for answer in refused {
            assert_eq!(
                Code::of(&answer.unwrap_err()),
                Some(Code::IdempotencyKeyReused)
            );
        }
        assert_eq!(sandbox.count("journal_entry").await, 1);
        sandbox.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rides_of_the_same_two_at_once_add_up() {
    for (config, waiting) in both() {
        let sandbox = Sandbox::with(config).await;
        let mut all = Vec::new();
        for _ in 0..30 {
            all.push(sandbox.held("anna").await);
        }
        let answers = at_once(
            &sandbox,
            waiting,
            all.iter().map(|held| {
                let (mut trips, request) = (sandbox.trips(), held.capture(&held.trip));
                async move { trips.capture_hold(request).await }
            }),
        )
        .await;
        let earned: i64 = answers
            .into_iter()
            .map(|answer| answer.unwrap().into_inner().receipt.unwrap())
            .map(|receipt: pb::Receipt| receipt.driver_share.unwrap().minor_units)
            .sum();
        let owed: i64 = all.iter().map(Held::total).sum();
        assert_eq!(
            sandbox.balance(Owner::RiderId("anna".to_owned())).await,
            owed
        );
        assert_eq!(
            sandbox.balance(Owner::DriverId("ben".to_owned())).await,
            earned
        );
        assert_eq!(sandbox.exposure("anna").await, 0);
        let check = sandbox.check().await;
        assert!(check.balanced, "{check:?}");
        assert_eq!(check.entries, 30);
    }
}
