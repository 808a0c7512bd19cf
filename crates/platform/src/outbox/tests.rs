//! Nothing is lost, nothing overtakes, whoever fails.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use sqlx::{
    Connection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    clock::Clock,
    testing::{TestDatabase, eventually, prepare_all},
};

pub(super) async fn outbox(database: &TestDatabase) -> PgPool {
    let migration = |version, text: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, "outbox".into(), kind, text.into_sql_str(), false)
    };
    let migrator = Migrator::with_migrations(vec![migration(1, TABLES), migration(2, TRACEPARENT)]);
    database.database().open("things", &migrator).await.unwrap()
}

pub(super) fn event(aggregate_id: Uuid, version: i64) -> NewEvent<'static> {
    NewEvent {
        event_id: Uuid::new_v4(),
        aggregate_type: "thing",
        aggregate_id,
        kind: "CHANGED",
        payload: vec![1, 2, 3],
        version,
    }
}

pub(super) async fn commit(pool: &PgPool, event: NewEvent<'_>) {
    let mut transaction = pool.begin().await.unwrap();
    append(&mut transaction, event).await.unwrap();
    transaction.commit().await.unwrap();
}

pub(super) fn config() -> RelayConfig {
    RelayConfig {
        poll_interval: Duration::from_millis(50),
        backoff_min: Duration::from_millis(20),
        lease_ttl: Duration::from_millis(400),
        ..RelayConfig::default()
    }
}

/// What a consumer has been told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(Uuid, i64)>>>);

impl Told {
    fn add(&self, event: &OutboxEvent) {
        self.0
            .lock()
            .unwrap()
            .push((event.aggregate_id, event.version));
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn versions(&self, of: Uuid) -> Vec<i64> {
        let told = self.0.lock().unwrap();
        told.iter()
            .filter(|(id, _)| *id == of)
            .map(|(_, version)| *version)
            .collect()
    }
}

/// A consumer that takes what `accepts`.
fn consumer(
    told: &Told,
    accepts: impl Fn(&OutboxEvent) -> Result<(), DeliveryError> + Send + Sync + 'static,
) -> Handler {
    let told = told.clone();
    Handler::each(move |event| {
        let result = accepts(&event);
        if result.is_ok() {
            told.add(&event);
        }
        Box::pin(async move { result })
    })
}

pub(super) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

pub(super) fn relay(pool: &PgPool, wake: &Wake, config: RelayConfig) -> Relay {
    Relay::new(
        pool.clone(),
        "consumer",
        Clock::system(),
        wake.clone(),
        config,
    )
}

impl Running {
    pub(super) fn start(pool: &PgPool, wake: &Wake, config: RelayConfig, handler: Handler) -> Self {
        Self::run(relay(pool, wake, config), handler)
    }

    pub(super) fn run(relay: Relay, handler: Handler) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(relay.run(handler, stop.clone()));
        Self { stop, task }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn the_database_understands_every_statement() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    prepare_all(&pool, statements::ALL).await;
    prepare_all(&pool, crate::lease::statements::ALL).await;
}

#[tokio::test]
async fn what_was_committed_is_told_at_once_and_what_was_not_never() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake, thing) = (Told::default(), Wake::new(), Uuid::new_v4());
    // It would not look by itself for a long time.
    let slow = RelayConfig {
        poll_interval: Duration::from_secs(3600),
        ..config()
    };
    let relay = Running::start(&pool, &wake, slow, consumer(&told, |_| Ok(())));

    let mut transaction = pool.begin().await.unwrap();
    append(&mut transaction, event(thing, 1)).await.unwrap();
    transaction.rollback().await.unwrap();
    for version in 2..=4 {
        commit(&pool, event(thing, version)).await;
        wake.poke();
        let expected = usize::try_from(version - 1).unwrap();
        eventually("the event", async || told.count() == expected).await;
    }
    relay.stop().await;
    assert_eq!(told.versions(thing), [2, 3, 4]);
}

#[tokio::test]
async fn numbers_with_more_digits_come_later() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake) = (Told::default(), Wake::new());
    // Transactions on either side of every power of ten that this server has passed.
    let (things, numbers) = ([9, 10, 11, 99, 100], ["9", "10", "11", "99", "100"]);
    for (thing, number) in things.into_iter().zip(numbers) {
        sqlx::query(
            "INSERT INTO outbox (xid, id, aggregatetype, aggregateid, type, version, payload)
             VALUES ($1::text::xid8, $2, 'thing', $3, 'CHANGED', 1, '')",
        )
        .bind(number)
        .bind(Uuid::new_v4())
        .bind(Uuid::from_u128(thing))
        .execute(&pool)
        .await
        .unwrap();
    }
    let narrow = RelayConfig {
        batch_max: 2,
        ..config()
    };
    let relay = Running::start(&pool, &wake, narrow, consumer(&told, |_| Ok(())));
    let last = Uuid::from_u128(100);
    eventually("the last event", async || !told.versions(last).is_empty()).await;
    relay.stop().await;
    let each = things.map(|thing| told.versions(Uuid::from_u128(thing)).len());
    assert_eq!(
        each, [1; 5],
        "nothing is passed over, and nothing told twice"
    );
}

#[tokio::test]
async fn writers_that_commit_out_of_order_lose_nothing() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake) = (Told::default(), Wake::new());
    let relay = Running::start(&pool, &wake, config(), consumer(&told, |_| Ok(())));

    let (early, late) = (Uuid::new_v4(), Uuid::new_v4());
    let mut first = pool.begin().await.unwrap();
    append(&mut first, event(early, 1)).await.unwrap();
    commit(&pool, event(late, 1)).await;
    wake.poke();
    // The later one is committed, but the earlier one could still appear before it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(told.count(), 0);
    first.commit().await.unwrap();
    eventually("both events", async || told.count() == 2).await;

    // And many at once, each holding its transaction open for a while of its own.
    let writers: Vec<_> = (0..6u64)
        .map(|writer| {
            let (pool, wake) = (pool.clone(), wake.clone());
            tokio::spawn(async move {
                let thing = Uuid::from_u128(writer.into());
                for version in 1..=20 {
                    let mut transaction = pool.begin().await.unwrap();
                    append(&mut transaction, event(thing, version))
                        .await
                        .unwrap();
                    let pause = (writer * 7 + u64::try_from(version).unwrap() * 13) % 11;
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    transaction.commit().await.unwrap();
                    wake.poke();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    eventually("all events", async || told.count() >= 122).await;
    relay.stop().await;
    assert_eq!(told.count(), 122, "nothing is told twice without a reason");
    for writer in 0..6 {
        assert!(
            told.versions(Uuid::from_u128(writer))
                .into_iter()
                .eq(1..=20)
        );
    }
}

#[tokio::test]
async fn the_later_version_comes_later_even_from_the_earlier_transaction() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake, thing) = (Told::default(), Wake::new(), Uuid::new_v4());

    // Takes its number first (an idempotency row, say), then waits for the thing's lock.
    let mut waiting = pool.begin().await.unwrap();
    let number = "SELECT pg_current_xact_id()";
    sqlx::query(number).execute(&mut *waiting).await.unwrap();
    // A stranger in between makes the later version readable and the earlier one not yet.
    let mut stranger = pool.begin().await.unwrap();
    sqlx::query(number).execute(&mut *stranger).await.unwrap();
    commit(&pool, event(thing, 1)).await;
    append(&mut waiting, event(thing, 2)).await.unwrap();
    waiting.commit().await.unwrap();

    let relay = Running::start(&pool, &wake, config(), consumer(&told, |_| Ok(())));
    eventually("both versions", async || told.versions(thing).contains(&2)).await;
    assert_eq!(told.versions(thing), [1, 2]);
    stranger.rollback().await.unwrap();
    eventually("the first in its turn", async || told.count() == 3).await;
    relay.stop().await;
    assert_eq!(told.versions(thing), [1, 2, 1]);
}

#[tokio::test]
async fn the_later_version_comes_later_even_when_a_batch_ends_between_them() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake, thing) = (Told::default(), Wake::new(), Uuid::new_v4());
    let mut waiting = pool.begin().await.unwrap();
    append(&mut waiting, event(thing, 2)).await.unwrap();
    commit(&pool, event(thing, 1)).await;
    waiting.commit().await.unwrap();
    let narrow = RelayConfig {
        batch_max: 1,
        ..config()
    };
    let relay = Running::start(&pool, &wake, narrow, consumer(&told, |_| Ok(())));
    eventually("both versions", async || told.versions(thing).contains(&2)).await;
    relay.stop().await;
    assert_eq!(told.versions(thing)[..2], [1, 2]);
}

#[tokio::test]
async fn a_failing_event_holds_back_its_own_aggregate_only() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake) = (Told::default(), Wake::new());
    let (ill, well) = (Uuid::new_v4(), Uuid::new_v4());
    for version in 1..=3 {
        commit(&pool, event(ill, version)).await;
        commit(&pool, event(well, version)).await;
    }
    let cured = Arc::new(AtomicBool::new(false));
    let tries = Arc::new(AtomicUsize::new(0));
    let handler = consumer(&told, {
        let (cured, tries) = (cured.clone(), tries.clone());
        move |event| {
            if event.aggregate_id == ill && event.version == 1 && !cured.load(Ordering::SeqCst) {
                tries.fetch_add(1, Ordering::SeqCst);
                return Err(DeliveryError::failed("not today"));
            }
            Ok(())
        }
    });
    let relay = Running::start(&pool, &wake, config(), handler);
    eventually("the well one's events", async || {
        told.versions(well) == [1, 2, 3]
    })
    .await;
    eventually("another try", async || tries.load(Ordering::SeqCst) >= 3).await;
    // What comes meanwhile waits, too; others go on.
    commit(&pool, event(ill, 4)).await;
    commit(&pool, event(well, 4)).await;
    eventually("the well one's next event", async || {
        told.versions(well).len() == 4
    })
    .await;
    assert!(told.versions(ill).is_empty());
    let (attempts, error): (i32, String) = sqlx::query_as(
        "SELECT attempts, last_error FROM outbox_parked ORDER BY attempts DESC LIMIT 1",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!(attempts >= 1);
    assert_eq!(error, "not today");

    cured.store(true, Ordering::SeqCst);
    eventually("the ill one's events", async || {
        told.versions(ill).len() == 4
    })
    .await;
    relay.stop().await;
    assert_eq!(told.versions(ill), [1, 2, 3, 4]);
    let parked: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox_parked")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(parked, 0);
}

#[tokio::test]
async fn told_together_each_event_fails_or_passes_by_itself() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake) = (Told::default(), Wake::new());
    let (ill, well) = (Uuid::new_v4(), Uuid::new_v4());
    // In one transaction, so that all of them can be read as soon as any can.
    let mut transaction = pool.begin().await.unwrap();
    for version in 1..=3 {
        for thing in [ill, well] {
            append(&mut transaction, event(thing, version))
                .await
                .unwrap();
        }
    }
    transaction.commit().await.unwrap();
    let cured = Arc::new(AtomicBool::new(false));
    let calls: Arc<Mutex<Vec<usize>>> = Arc::default();
    let handler = Handler::together({
        let (told, cured, calls) = (told.clone(), cured.clone(), calls.clone());
        move |events| {
            calls.lock().unwrap().push(events.len());
            let mut outcomes = Vec::new();
            let mut refused = HashSet::new();
            for event in &events {
                let is_ill = event.aggregate_id == ill && event.version == 2;
                if is_ill && !cured.load(Ordering::SeqCst) {
                    refused.insert(event.aggregate_id);
                }
                outcomes.push(if refused.contains(&event.aggregate_id) {
                    Err(DeliveryError::failed("not today"))
                } else {
                    told.add(event);
                    Ok(())
                });
            }
            Box::pin(async move { outcomes })
        }
    });
    let relay = Running::start(&pool, &wake, config(), handler);
    eventually("all but two", async || told.count() == 4).await;
    assert_eq!(calls.lock().unwrap()[0], 6, "all in one call");
    commit(&pool, event(ill, 4)).await;
    commit(&pool, event(well, 4)).await;
    eventually("the well one's next event", async || {
        told.versions(well) == [1, 2, 3, 4]
    })
    .await;
    assert_eq!(told.versions(ill), [1]);
    cured.store(true, Ordering::SeqCst);
    eventually("the ill one's events", async || {
        told.versions(ill) == [1, 2, 3, 4]
    })
    .await;
    relay.stop().await;
    assert_eq!(told.count(), 8, "nothing is told twice");
}

#[tokio::test]
async fn a_consumer_is_told_of_the_kinds_it_wants_and_the_rest_is_passed_over() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake, thing) = (Told::default(), Wake::new(), Uuid::new_v4());
    for (version, kind) in [
        (1, "MADE"),
        (2, "CHANGED"),
        (3, "LOST"),
        (4, "CHANGED"),
        (5, "MADE"),
    ] {
        let event = NewEvent {
            kind,
            ..event(thing, version)
        };
        commit(&pool, event).await;
    }
    let handler = consumer(&told, |_| Ok(())).only(["MADE", "LOST"]);
    // A batch without anything that is wanted does not stop it.
    let narrow = RelayConfig {
        batch_max: 1,
        ..config()
    };
    let relay = Running::start(&pool, &wake, narrow, handler);
    eventually("what is wanted", async || told.count() == 3).await;
    assert_eq!(told.versions(thing), [1, 3, 5]);
    eventually("the cursor at the end", async || {
        let left = "SELECT count(*) FROM outbox, outbox_cursor AS cursor
                     WHERE (outbox.xid, outbox.seq) > (cursor.xid, cursor.seq)";
        sqlx::query_scalar::<_, i64>(left)
            .fetch_one(&pool)
            .await
            .unwrap()
            == 0
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn told_together_what_is_not_answered_for_has_failed() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake) = (Told::default(), Wake::new());
    for thing in 0..4 {
        commit(&pool, event(Uuid::from_u128(thing), 1)).await;
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = Handler::together({
        let (told, calls) = (told.clone(), calls.clone());
        move |events| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let told = told.clone();
            Box::pin(async move {
                match call {
                    0 => panic!("as the test wants it"),
                    1 => std::future::pending().await,
                    2 => Vec::new(),
                    _ => {
                        events.iter().for_each(|event| told.add(event));
                        events.iter().map(|_| Ok(())).collect()
                    }
                }
            })
        }
    });
    let impatient = RelayConfig {
        delivery_timeout: Duration::from_millis(50),
        ..config()
    };
    let relay = Running::start(&pool, &wake, impatient, handler);
    eventually("all events", async || told.count() == 4).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_panic_or_a_hang_is_a_failure_like_any_other() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake) = (Told::default(), Wake::new());
    let (panics, hangs) = (Uuid::new_v4(), Uuid::new_v4());
    commit(&pool, event(panics, 1)).await;
    commit(&pool, event(hangs, 1)).await;
    let seen: Arc<Mutex<HashSet<Uuid>>> = Arc::default();
    let handler = Handler::each({
        let told = told.clone();
        move |event| {
            let first = seen.lock().unwrap().insert(event.aggregate_id);
            let told = told.clone();
            Box::pin(async move {
                if first && event.aggregate_id == panics {
                    panic!("as the test wants it");
                }
                if first && event.aggregate_id == hangs {
                    std::future::pending::<()>().await;
                }
                told.add(&event);
                Ok(())
            })
        }
    });
    let impatient = RelayConfig {
        delivery_timeout: Duration::from_millis(50),
        ..config()
    };
    let relay = Running::start(&pool, &wake, impatient, handler);
    eventually("both events", async || told.count() == 2).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_crash_after_the_delivery_tells_again() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake, thing) = (Told::default(), Wake::new(), Uuid::new_v4());
    commit(&pool, event(thing, 1)).await;
    commit(&pool, event(thing, 2)).await;

    // Told the first, and killed while it tells the second: the cursor has not moved.
    let handler = Handler::each({
        let told = told.clone();
        move |event| {
            told.add(&event);
            Box::pin(async move {
                if event.version == 2 {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
        }
    });
    let crashing = Running::start(&pool, &wake, config(), handler);
    eventually("the second event", async || told.count() == 2).await;
    crashing.task.abort();

    // Another takes over when the lease has ended.
    let relay = Running::start(&pool, &wake, config(), consumer(&told, |_| Ok(())));
    eventually("the redelivery", async || told.count() == 4).await;
    relay.stop().await;
    assert_eq!(told.versions(thing), [1, 2, 1, 2]);
}

#[tokio::test]
async fn an_absent_consumer_finds_everything_when_it_is_back() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake) = (Told::default(), Wake::new());
    let things: Vec<_> = (0..20).map(|_| Uuid::new_v4()).collect();
    for thing in &things {
        commit(&pool, event(*thing, 1)).await;
    }
    let (back, tries) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let handler = consumer(&told, {
        let (back, tries) = (back.clone(), tries.clone());
        move |_| {
            tries.fetch_add(1, Ordering::SeqCst);
            if back.load(Ordering::SeqCst) {
                Ok(())
            } else {
                Err(tonic::Status::unavailable("not there").into())
            }
        }
    });
    let relay = Running::start(&pool, &wake, config(), handler);
    eventually("a second look", async || tries.load(Ordering::SeqCst) > 20).await;
    let parked: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox_parked")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(parked, 0, "nothing is parked for a consumer that is away");
    back.store(true, Ordering::SeqCst);
    eventually("everything", async || told.count() == 20).await;
    relay.stop().await;
}

#[tokio::test]
async fn two_processes_tell_everything_once_and_one_takes_over() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake, thing) = (Told::default(), Wake::new(), Uuid::new_v4());
    let one = Running::start(&pool, &wake, config(), consumer(&told, |_| Ok(())));
    let other = Running::start(&pool, &wake, config(), consumer(&told, |_| Ok(())));
    for version in 1..=10 {
        commit(&pool, event(thing, version)).await;
        wake.poke();
    }
    eventually("ten events", async || told.count() >= 10).await;
    // One is killed, one is stopped: whichever had the lease, a third goes on.
    one.task.abort();
    other.stop().await;
    commit(&pool, event(thing, 11)).await;
    let third = Running::start(&pool, &wake, config(), consumer(&told, |_| Ok(())));
    eventually("the eleventh", async || told.versions(thing).contains(&11)).await;
    third.stop().await;
    let mut counts: HashMap<i64, usize> = HashMap::new();
    for version in told.versions(thing) {
        *counts.entry(version).or_default() += 1;
    }
    assert_eq!(counts.len(), 11);
    let order = told.versions(thing);
    assert!(order[..10].iter().copied().eq(1..=10), "{order:?}");
}

#[tokio::test]
async fn old_events_go_once_everybody_knows_them() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (told, wake, thing) = (Told::default(), Wake::new(), Uuid::new_v4());
    commit(&pool, event(thing, 1)).await;
    sqlx::query("INSERT INTO outbox_cursor VALUES ('slow', '0', 0)")
        .execute(&pool)
        .await
        .unwrap();
    let relay = Running::start(&pool, &wake, config(), consumer(&told, |_| Ok(())));
    eventually("the event", async || told.count() == 1).await;
    relay.stop().await;
    assert_eq!(
        prune(&pool, Duration::ZERO).await.unwrap(),
        0,
        "one consumer has not heard it"
    );
    sqlx::query("DELETE FROM outbox_cursor WHERE consumer = 'slow'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        prune(&pool, Duration::from_secs(3600)).await.unwrap(),
        0,
        "it is young"
    );
    assert_eq!(prune(&pool, Duration::ZERO).await.unwrap(), 1);
}

#[tokio::test]
async fn a_lease_has_one_holder() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let lease = || crate::lease::Lease::new(pool.clone(), "job", Duration::from_millis(200));
    let (ours, theirs) = (lease(), lease());
    assert!(ours.hold().await.unwrap());
    assert!(ours.hold().await.unwrap());
    assert!(!theirs.hold().await.unwrap());
    eventually("its end", async || theirs.hold().await.unwrap()).await;
    assert!(!ours.hold().await.unwrap());
    theirs.release().await.unwrap();
    assert!(ours.hold().await.unwrap());

    // While a transaction confirms it, nobody takes it over, though its time has come.
    let mut connection = pool.acquire().await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    assert!(ours.confirm(&mut transaction).await.unwrap());
    tokio::time::sleep(Duration::from_millis(250)).await;
    let taking = tokio::spawn(async move { theirs.hold().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!taking.is_finished());
    transaction.commit().await.unwrap();
    assert!(taking.await.unwrap().unwrap());
}
