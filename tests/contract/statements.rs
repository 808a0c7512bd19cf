//! Every SQL statement of every service is prepared against the schema its migrations make.

use sqlx::{Executor, SqlSafeStr};

use jitney_platform::testing::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_fits_the_schema() {
    let database = TestDatabase::new().await;
    for (schema, migrator, statements) in [
        (
            jitney_matching::SCHEMA,
            &jitney_matching::MIGRATOR,
            jitney_matching::statements::ALL,
        ),
        (
            jitney_trips::SCHEMA,
            &jitney_trips::MIGRATOR,
            jitney_trips::statements::ALL,
        ),
        (
            jitney_billing::SCHEMA,
            &jitney_billing::MIGRATOR,
            jitney_billing::statements::ALL,
        ),
    ] {
        let pool = database.database().open(schema, migrator).await.unwrap();
        assert!(!statements.is_empty(), "{schema} lists its statements");
        for (name, statement) in statements {
            assert!(
                statement.starts_with("-- "),
                "{schema}.{name} does not say what it does"
            );
            if let Err(error) = (&pool).prepare((*statement).into_sql_str()).await {
                panic!("{schema}.{name}: {error}");
            }
        }
    }
}
