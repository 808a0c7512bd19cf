//! The relay under load: where much happens, where it never ends, and where the outbox is large.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::{Executor, Row};
use uuid::Uuid;

use super::{
    Handler, RelayConfig, Wake, statements,
    tests::{Running, commit, config, event, outbox, relay},
};
use crate::testing::{TestDatabase, eventually};

#[tokio::test]
async fn what_happens_while_some_are_told_is_told_together() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (wake, calls): (_, Arc<Mutex<Vec<usize>>>) = (Wake::new(), Arc::default());
    let handler = Handler::together({
        let calls = calls.clone();
        move |events| {
            calls.lock().unwrap().push(events.len());
            Box::pin(async move { events.iter().map(|_| Ok(())).collect() })
        }
    });
    let gathering = RelayConfig {
        gather: Duration::from_secs(2),
        ..config()
    };
    commit(&pool, event(Uuid::new_v4(), 1)).await;
    let relay = Running::start(&pool, &wake, gathering, handler);
    eventually("the first", async || calls.lock().unwrap().len() == 1).await;
    for thing in 0..4 {
        commit(&pool, event(Uuid::from_u128(thing), 1)).await;
        wake.poke();
    }
    eventually("the rest", async || {
        calls.lock().unwrap().iter().sum::<usize>() == 5
    })
    .await;
    relay.stop().await;
    assert_eq!(*calls.lock().unwrap(), [1, 4]);
}

#[tokio::test]
async fn old_events_are_removed_though_there_is_always_something_to_tell() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let (wake, first) = (Wake::new(), Uuid::new_v4());
    commit(&pool, event(first, 1)).await;
    for _ in 0..50 {
        commit(&pool, event(Uuid::new_v4(), 1)).await;
    }
    // For each that is told another two.
    let endless = Handler::each({
        let pool = pool.clone();
        move |_| {
            let pool = pool.clone();
            Box::pin(async move {
                commit(&pool, event(Uuid::new_v4(), 1)).await;
                commit(&pool, event(Uuid::new_v4(), 1)).await;
                Ok(())
            })
        }
    });
    let mut relay = relay(
        &pool,
        &wake,
        RelayConfig {
            keep: Duration::ZERO,
            batch_max: 1,
            ..config()
        },
    );
    relay.prune_interval = Duration::from_millis(1);
    let running = Running::run(relay, endless);
    eventually("the first event is gone", async || {
        let left = "SELECT count(*) FROM outbox WHERE aggregateid = $1";
        let left = sqlx::query_scalar::<_, i64>(left).bind(first);
        left.fetch_one(&pool).await.unwrap() == 0
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_large_outbox_is_read_where_the_consumer_stands() {
    let database = TestDatabase::new().await;
    let pool = outbox(&database).await;
    let mut connection = pool.acquire().await.unwrap();
    connection
        .execute(
            "INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload)
             SELECT gen_random_uuid(), 'thing', gen_random_uuid(), 'CHANGED', 1, repeat('x', 150)::bytea
               FROM generate_series(1, 50000);
             ANALYZE outbox;
             SET plan_cache_mode = force_generic_plan",
        )
        .await
        .unwrap();
    for (statement, values) in [
        (statements::READ_EVENTS, "('1', 1, 500)"),
        (
            statements::READ_STRAGGLERS,
            "('1', 1, ARRAY[gen_random_uuid()], ARRAY[2::bigint])",
        ),
    ] {
        let types = match statement {
            statements::READ_EVENTS => "(text, bigint, bigint)",
            _ => "(text, bigint, uuid[], bigint[])",
        };
        let prepare = format!("DEALLOCATE ALL; PREPARE asked {types} AS {statement}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(prepare))
            .execute(&mut *connection)
            .await
            .unwrap();
        let explain = format!("EXPLAIN EXECUTE asked {values}");
        let plan = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(
            plan.contains("using outbox_by_position") && !plan.contains("Seq Scan"),
            "{statement}\n{plan}"
        );
    }
}
