//! Against a real server.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use sqlx::{
    Connection, Executor, SqlSafeStr,
    migrate::{Migration, MigrationType},
};

use super::*;
use crate::testing::{TestDatabase, eventually, prepare_all};

fn migrator(sql: &'static str) -> Migrator {
    let migration = Migration::new(
        1,
        "first".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
}

fn counters() -> Migrator {
    migrator(
        "CREATE TABLE counter (
            id int CONSTRAINT counter_pkey PRIMARY KEY,
            value int NOT NULL CONSTRAINT counter_positive CHECK (value >= 0)
         );
         INSERT INTO counter VALUES (1, 0), (2, 0)",
    )
}

async fn value(pool: &PgPool, id: i32) -> i32 {
    sqlx::query_scalar("SELECT value FROM counter WHERE id = $1")
        .bind(id)
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn add(connection: &mut sqlx::PgConnection, id: i32) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE counter SET value = value + 1 WHERE id = $1")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
}

#[tokio::test]
async fn services_that_start_at_once_find_one_schema_up_to_date() {
    let test = TestDatabase::new().await;
    let (database, migrator) = (test.database(), Arc::new(counters()));
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let (database, migrator) = (database.clone(), migrator.clone());
            tokio::spawn(async move { database.open("meters", &migrator).await.unwrap() })
        })
        .collect();
    for pool in opening {
        let pool = pool.await.unwrap();
        assert_eq!(value(&pool, 1).await, 0);
        let schema: String = sqlx::query_scalar("SELECT current_schema()")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(schema, "meters");
    }
    // Another service's tables are out of sight.
    let other = database
        .open("others", &migrator_of_nothing())
        .await
        .unwrap();
    assert!(
        sqlx::query("SELECT * FROM counter")
            .execute(&other)
            .await
            .is_err()
    );
    let pool = database.connect("meters").await.unwrap();
    prepare_all(&pool, super::schema::statements::ALL).await;
}

fn migrator_of_nothing() -> Migrator {
    Migrator::with_migrations(Vec::new())
}

#[tokio::test]
async fn what_is_wrong_with_a_schema_is_said() {
    let test = TestDatabase::new().await;
    let database = test.database();
    for bad in ["", "Trips", "a b", "x;drop", "1x", "ä"] {
        let error = database.open(bad, &counters()).await.unwrap_err();
        assert!(matches!(error, DbError::SchemaName(_)), "{bad:?}: {error}");
    }
    database.open("meters", &counters()).await.unwrap();
    let error = database
        .open("meters", &migrator("SELECT 1"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("schema meters cannot be brought up to date"),
        "{error}"
    );
    let error = database
        .open("faulty", &migrator("SELEKT 1"))
        .await
        .unwrap_err();
    assert!(matches!(error, DbError::Migrate { .. }), "{error}");

    let nowhere = test.options().socket("/nonexistent");
    let error = Database::new(nowhere, DatabaseConfig::default())
        .open("meters", &counters())
        .await
        .unwrap_err();
    let DbError::Connect(error) = error else {
        panic!("{error}")
    };
    assert!(is_unavailable(&error));
}

#[tokio::test]
async fn a_transaction_is_whole_or_nothing() {
    let test = TestDatabase::new().await;
    let pool = test.database().open("meters", &counters()).await.unwrap();
    let done: Result<i32, sqlx::Error> = transaction(&pool, "add", |connection| {
        Box::pin(async move {
            add(connection, 1).await?;
            Ok(7)
        })
    })
    .await;
    assert_eq!(done.unwrap(), 7);
    assert_eq!(value(&pool, 1).await, 1);

    let failed: Result<(), sqlx::Error> = transaction(&pool, "add", |connection| {
        Box::pin(async move {
            add(connection, 1).await?;
            sqlx::query("UPDATE counter SET value = -1 WHERE id = 2")
                .execute(connection)
                .await?;
            Ok(())
        })
    })
    .await;
    assert_eq!(
        violated_constraint(&failed.unwrap_err()),
        Some("counter_positive")
    );
    assert_eq!(value(&pool, 1).await, 1);
}

#[tokio::test]
async fn a_transaction_outlives_the_request() {
    let test = TestDatabase::new().await;
    let pool = test.database().open("meters", &counters()).await.unwrap();
    let request = tokio::spawn({
        let pool = pool.clone();
        async move {
            transaction(&pool, "add", |connection| {
                Box::pin(async move {
                    add(connection, 1).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    add(connection, 2).await
                })
            })
            .await
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    request.abort();
    eventually("the commit", async || value(&pool, 2).await == 1).await;
    assert_eq!(value(&pool, 1).await, 1);
}

#[tokio::test]
async fn what_the_database_wants_started_over_is() {
    let test = TestDatabase::new().await;
    let pool = test.database().open("meters", &counters()).await.unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let adding: Vec<_> = (0..5)
        .map(|_| {
            let (pool, attempts) = (pool.clone(), attempts.clone());
            tokio::spawn(async move {
                transaction(&pool, "add", move |connection| {
                    let attempts = attempts.clone();
                    Box::pin(async move {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        connection
                            .execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                            .await?;
                        let seen: i32 =
                            sqlx::query_scalar("SELECT value FROM counter WHERE id = 1")
                                .fetch_one(&mut *connection)
                                .await?;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        sqlx::query("UPDATE counter SET value = $1 WHERE id = 1")
                            .bind(seen + 1)
                            .execute(connection)
                            .await
                            .map(drop)
                    })
                })
                .await
            })
        })
        .collect();
    let mut done = 0;
    for result in adding {
        let result: Result<(), sqlx::Error> = result.await.unwrap();
        done += i32::from(result.is_ok());
    }
    assert_eq!(value(&pool, 1).await, done, "no update is lost");
    assert!(done >= 3, "{done}");
    assert!(
        attempts.load(Ordering::SeqCst) > 5,
        "nothing was started over"
    );
}

#[tokio::test]
async fn a_panic_in_a_transaction_is_its_callers() {
    let test = TestDatabase::new().await;
    let pool = test.database().open("meters", &counters()).await.unwrap();
    let panicking = tokio::spawn({
        let pool = pool.clone();
        async move {
            let _: Result<(), sqlx::Error> = transaction(&pool, "add", |connection| {
                Box::pin(async move {
                    add(connection, 1).await?;
                    panic!("as the test wants it")
                })
            })
            .await;
        }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(value(&pool, 1).await, 0);
}

/// How many sessions of this database are inside a transaction but do nothing.
async fn idle_in_transaction(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_begin_leaves_no_transaction_open() {
    let test = TestDatabase::new().await;
    let pool = test.database().open("meters", &counters()).await.unwrap();
    for round in 0..300u64 {
        let begin = pool.begin();
        let _ = tokio::time::timeout(Duration::from_micros(round), async {
            let transaction = begin.await;
            std::future::pending::<()>().await;
            drop(transaction);
        })
        .await;
    }
    eventually("the end of every transaction", async || {
        idle_in_transaction(&pool).await == 0
    })
    .await;

    // An aborted one, too: what an error has ended takes no BEGIN.
    let mut connection = pool.acquire().await.unwrap();
    connection.execute("BEGIN").await.unwrap();
    assert!(connection.execute("SELECT 1 / 0").await.is_err());
    drop(connection);
    eventually("the end of the aborted one", async || {
        idle_in_transaction(&pool).await == 0
    })
    .await;
    assert_eq!(value(&pool, 1).await, 0);
}

#[tokio::test]
async fn statements_are_planned_once_unless_that_is_turned_off() {
    let test = TestDatabase::new().await;
    for (plan_once, mode) in [(true, "force_generic_plan"), (false, "auto")] {
        let config = DatabaseConfig {
            plan_once,
            ..DatabaseConfig::default()
        };
        let database = Database::new(test.options(), config);
        let pool = database.open("meters", &counters()).await.unwrap();
        let shown: String = sqlx::query_scalar("SHOW plan_cache_mode")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(shown, mode);
    }
}

#[tokio::test]
async fn nothing_takes_for_ever() {
    let test = TestDatabase::new().await;
    let short = Duration::from_millis(100);
    let config = DatabaseConfig {
        connections_max: 1,
        acquire_timeout: short,
        statement_timeout: short,
        lock_timeout: short / 2,
        idle_in_transaction_timeout: short,
        ..DatabaseConfig::default()
    };
    let database = Database::new(test.options(), config);
    let pool = database.open("meters", &counters()).await.unwrap();
    let slow = sqlx::query("SELECT pg_sleep(10)")
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(is_unavailable(&slow), "{slow}");

    let mut held = pool.acquire().await.unwrap();
    let full = pool.acquire().await.unwrap_err();
    assert!(matches!(full, sqlx::Error::PoolTimedOut) && is_unavailable(&full));
    let mut transaction = held.begin().await.unwrap();
    add(&mut transaction, 1).await.unwrap();
    let other = Database::new(test.options(), database.config.clone());
    let other = other.connect("meters").await.unwrap();
    let mut blocked = other.acquire().await.unwrap();
    let waited = add(&mut blocked, 1).await.unwrap_err();
    assert!(is_unavailable(&waited), "{waited}");
    tokio::time::sleep(short * 2).await;
    assert!(
        add(&mut transaction, 1).await.is_err(),
        "an idle transaction was left alone"
    );
}

#[tokio::test]
async fn closing_waits_for_what_is_under_way_and_ends_every_connection() {
    let test = TestDatabase::new().await;
    let database = test.database();
    let pool = database.open("closing", &counters()).await.unwrap();
    let mut busy = pool.acquire().await.unwrap();
    let closing = tokio::spawn({
        let database = database.clone();
        async move { database.close().await }
    });
    eventually("the pool takes nobody in", async || pool.is_closed()).await;
    assert!(!closing.is_finished(), "a connection is in use");
    add(&mut busy, 1).await.unwrap();
    drop(busy);
    closing.await.unwrap();
    let watcher = test.database().connect("closing").await.unwrap();
    // The server takes a moment to see off its side; the one left is the one that asks.
    eventually("no connection is left", async || {
        sqlx::query_scalar(
            "SELECT count(*) = 1 FROM pg_stat_activity
             WHERE application_name = 'jitney-closing' AND datname = current_database()",
        )
        .fetch_one(&watcher)
        .await
        .unwrap()
    })
    .await;
}
