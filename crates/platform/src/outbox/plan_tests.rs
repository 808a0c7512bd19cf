//! What the relay asks again and again is answered from an index, however much the outbox holds.

use sqlx::{Executor, Row};

use super::{statements, tests};
use crate::testing::TestDatabase;

#[tokio::test]
async fn a_large_outbox_is_read_where_the_consumer_stands() {
    let database = TestDatabase::new().await;
    let pool = tests::outbox(&database).await;
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
