//! The schema: every statement fits it, and its lists are the program's and the proto's.

use std::collections::BTreeSet;

use jitney_platform::testing::{TestDatabase, prepare_all};
use jitney_trips::{
    MIGRATOR, SCHEMA,
    state::State,
    statements,
    trip::{Actor, OfferState, PaymentState},
};
use sqlx::PgPool;

async fn schema() -> (TestDatabase, PgPool) {
    let database = TestDatabase::new().await;
    let pool = database
        .database()
        .open(SCHEMA, &MIGRATOR)
        .await
        .expect("a schema");
    (database, pool)
}

/// The texts in quotes in a constraint's or an index's definition.
async fn listed(pool: &PgPool, name: &str) -> BTreeSet<String> {
    let definition: String = sqlx::query_scalar(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1
         UNION ALL SELECT indexdef FROM pg_indexes WHERE indexname = $1",
    )
    .bind(name)
    .fetch_one(pool)
    .await
    .unwrap_or_else(|error| panic!("{name}: {error}"));
    definition
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let (_database, pool) = schema().await;
    prepare_all(&pool, statements::ALL).await;
}

#[tokio::test]
async fn the_lists_are_the_programs() {
    let (_database, pool) = schema().await;
    let states = names(State::ALL.iter().map(|state| state.name()));
    for constraint in [
        "trip_state_known",
        "trip_transition_from_state_known",
        "trip_transition_to_state_known",
    ] {
        assert_eq!(listed(&pool, constraint).await, states, "{constraint}");
    }
    let ends = names(
        State::ALL
            .iter()
            .filter(|state| state.is_end())
            .map(|state| state.name()),
    );
    for constraint in ["trip_ended_at_when_ended", "trip_transition_ends_stay"] {
        assert_eq!(listed(&pool, constraint).await, ends, "{constraint}");
    }
    let live = State::ALL
        .iter()
        .filter(|state| !state.is_end() && **state != State::Scheduled);
    assert_eq!(
        listed(&pool, "trip_one_live_per_rider").await,
        names(live.map(|state| state.name()))
    );
    let payments = names(PaymentState::ALL.iter().map(|payment| payment.name()));
    assert_eq!(listed(&pool, "trip_payment_state_known").await, payments);
    let actors = names(Actor::ALL.iter().map(|actor| actor.name()));
    for constraint in ["trip_cancelled_by_known", "trip_transition_actor_known"] {
        assert_eq!(listed(&pool, constraint).await, actors, "{constraint}");
    }
    let offers = names(OfferState::ALL.iter().map(|state| state.name()));
    assert_eq!(listed(&pool, "offer_state_known").await, offers);
}

/// What the version before second rides writes, on this schema.
#[tokio::test]
async fn the_version_before_claims_and_frees_drivers() {
    let (_database, pool) = schema().await;
    let claim = || async {
        sqlx::query(
            "INSERT INTO driver_claims (driver_id, trip_id, epoch)
             VALUES ('anna', gen_random_uuid(), 1)",
        )
        .execute(&pool)
        .await
    };
    claim().await.expect("a free driver is claimed");
    let error = claim().await.expect_err("and nobody else claims them");
    assert_eq!(
        jitney_platform::db::violated_constraint(&error),
        Some("driver_claims_pkey")
    );
    let freed = sqlx::query("DELETE FROM driver_claims WHERE driver_id = 'anna'")
        .execute(&pool)
        .await
        .expect("freed");
    assert_eq!(freed.rows_affected(), 1);
    claim().await.expect("claimed again");
}

#[test]
fn the_outbox_is_the_platforms() {
    let migration = include_str!("../../migrations/0002_outbox.sql");
    assert_eq!(migration, jitney_platform::outbox::TABLES);
    let later = include_str!("../../migrations/0013_traceparent.sql");
    assert!(later.contains(jitney_platform::outbox::TRACEPARENT));
}
