//! Quotes and holds run out by the database's clock, and holds that did stand in nobody's way.

use std::time::Duration;

use jitney_billing::Config;
use jitney_platform::testing::eventually;
use jitney_proto::{Code, billing::v1 as pb};
use uuid::Uuid;

use crate::support::{Sandbox, authorize, refusal};

/// Moves the end of every open hold into the past.
async fn run_out(sandbox: &Sandbox) {
    sqlx::query(
        "UPDATE trip_charge SET created_at = now() - interval '2 h', expires_at = now()
         WHERE state = 'HELD'",
    )
    .execute(sandbox.pool())
    .await
    .unwrap();
}

/// Nothing is released behind the test's back.
fn without_the_job() -> Config {
    Config {
        lapse_interval: Duration::from_secs(3_600),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_quote_that_ran_out_cannot_be_held() {
    let config = Config {
        quote_validity: Duration::from_millis(1),
        ..without_the_job()
    };
    let sandbox = Sandbox::with(config).await;
    let quote = sandbox.quote(5_100).await;
    eventually("the quote's end", async || {
        sqlx::query_scalar("SELECT bool_and(expires_at <= clock_timestamp()) FROM fare_quote")
            .fetch_one(sandbox.pool())
            .await
            .unwrap()
    })
    .await;
    let request = authorize(&Uuid::now_v7().to_string(), "anna", &quote.quote_id);
    assert_eq!(
        refusal(sandbox.trips().authorize_hold(request).await),
        Code::QuoteExpired
    );
    assert_eq!(sandbox.count("trip_charge").await, 0);
}

#[tokio::test]
async fn a_hold_that_ran_out_cannot_be_captured_but_released() {
    let sandbox = Sandbox::with(without_the_job()).await;
    let mut trips = sandbox.trips();
    let held = sandbox.held("anna").await;
    run_out(&sandbox).await;
    let status = trips.capture_hold(held.capture("c")).await.unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::HoldNotOpen));
    assert!(status.message().contains("ran out"), "{status:?}");
    assert_eq!(sandbox.count("journal_entry").await, 0);

    let voided = trips
        .void_hold(held.void("v"))
        .await
        .unwrap()
        .into_inner()
        .hold
        .unwrap();
    assert_eq!(voided.state(), pb::HoldState::Voided);
    assert_eq!(sandbox.exposure("anna").await, 0);
}

#[tokio::test]
async fn expiry_is_judged_when_the_lock_is_there_and_not_before() {
    let sandbox = Sandbox::with(without_the_job()).await;
    let mut trips = sandbox.trips();
    let held = sandbox.held("anna").await;
    // Somebody holds the row for longer than the hold lasts; the capture arrives in time, and
    // waits.
    let (mut other, mut watcher) = (sandbox.superuser().await, sandbox.superuser().await);
    sqlx::query("UPDATE trip_charge SET expires_at = clock_timestamp() + interval '2 s'")
        .execute(&mut other)
        .await
        .unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1 FROM trip_charge FOR UPDATE")
        .execute(&mut other)
        .await
        .unwrap();
    let request = held.capture("c");
    let waiting = tokio::spawn(async move { trips.capture_hold(request).await });
    let mut is_in_time = None;
    eventually("the capture to wait", async || {
        is_in_time = sqlx::query_scalar(
            "SELECT xact_start < expires_at FROM pg_stat_activity CROSS JOIN trip_charge
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_optional(&mut watcher)
        .await
        .unwrap();
        is_in_time.is_some()
    })
    .await;
    assert_eq!(is_in_time, Some(true), "it began while the hold lasted");
    eventually("the hold's end", async || {
        sqlx::query_scalar("SELECT expires_at < clock_timestamp() FROM trip_charge")
            .fetch_one(&mut watcher)
            .await
            .unwrap()
    })
    .await;
    assert!(!waiting.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(refusal(waiting.await.unwrap()), Code::HoldNotOpen);
}

#[tokio::test]
async fn holds_that_ran_out_do_not_count_against_the_limit() {
    let config = Config {
        hold_limit_minor: 1_000,
        ..without_the_job()
    };
    let sandbox = Sandbox::with(config).await;
    let first = sandbox.held("anna").await;
    run_out(&sandbox).await;
    let second = sandbox.held("anna").await;
    assert_eq!(sandbox.exposure("anna").await, second.total());
    let again = sandbox.trips().capture_hold(first.capture("c")).await;
    assert_eq!(refusal(again), Code::HoldNotOpen);
}

#[tokio::test]
async fn the_job_releases_what_ran_out_and_ends_when_asked() {
    let config = Config {
        lapse_interval: Duration::from_millis(20),
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    for rider in ["anna", "bob", "anna"] {
        sandbox.held(rider).await;
    }
    let open = sandbox.exposure("anna").await + sandbox.exposure("bob").await;
    assert!(open > 0);
    run_out(&sandbox).await;
    eventually("the release", async || {
        sandbox.exposure("anna").await + sandbox.exposure("bob").await == 0
    })
    .await;
    let states: Vec<String> = sqlx::query_scalar("SELECT DISTINCT state FROM trip_charge")
        .fetch_all(sandbox.pool())
        .await
        .unwrap();
    assert_eq!(states, ["VOIDED"]);
    assert!(
        sandbox.platform.stop(Duration::from_secs(5)).await,
        "the job ends"
    );
}
