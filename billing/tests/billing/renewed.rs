//! Holds of rides that go on for long.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jitney_billing::Config;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, HoldState},
};
use uuid::Uuid;

use crate::support::{Held, Sandbox, refusal};

/// Nothing is released behind the test's back.
fn config() -> Config {
    Config {
        lapse_interval: Duration::from_secs(3_600),
        ..Config::default()
    }
}

fn renew(held: &Held) -> pb::RenewHoldRequest {
    pb::RenewHoldRequest {
        trip_id: held.trip.clone(),
    }
}

/// The hold was made so long ago, and ends in so long, minutes.
async fn made(sandbox: &Sandbox, held: &Held, ago: i32, left: i32) {
    sqlx::query(
        "UPDATE trip_charge SET created_at = now() - $2 * interval '1 min',
             expires_at = now() + $3 * interval '1 min' WHERE trip_id = $1",
    )
    .bind(held.trip.parse::<Uuid>().unwrap())
    .bind(ago)
    .bind(left)
    .execute(sandbox.pool())
    .await
    .unwrap();
}

/// How long the hold lasts from now, whole minutes.
async fn left(sandbox: &Sandbox, held: &Held) -> i64 {
    let ends: DateTime<Utc> =
        sqlx::query_scalar("SELECT expires_at FROM trip_charge WHERE trip_id = $1")
            .bind(held.trip.parse::<Uuid>().unwrap())
            .fetch_one(sandbox.pool())
            .await
            .unwrap();
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT now()")
        .fetch_one(sandbox.pool())
        .await
        .unwrap();
    // To the nearest: some seconds have gone by.
    (ends - now + TimeDelta::seconds(30)).num_minutes()
}

#[tokio::test]
async fn a_hold_that_is_renewed_lasts_as_long_again() {
    let sandbox = Sandbox::with(config()).await;
    let held = sandbox.held("rita").await;
    let mut trips = sandbox.trips();
    made(&sandbox, &held, 23 * 60, 60).await;
    let renewed = trips.renew_hold(renew(&held)).await.unwrap().into_inner();
    let hold = renewed.hold.unwrap();
    assert_eq!(hold.state(), HoldState::Held);
    assert_eq!(left(&sandbox, &held).await, 24 * 60);
    // Again, and it is the same; never is it shorter than it was.
    trips.renew_hold(renew(&held)).await.unwrap();
    assert_eq!(left(&sandbox, &held).await, 24 * 60);
    made(&sandbox, &held, 0, 48 * 60).await;
    trips.renew_hold(renew(&held)).await.unwrap();
    assert_eq!(left(&sandbox, &held).await, 48 * 60);
    // It is captured as ever, and what is known of it has moved on by that alone.
    let captured = trips.capture_hold(held.capture("c")).await.unwrap();
    let captured = captured.into_inner().hold.unwrap();
    assert_eq!(captured.version, hold.version + 1);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn no_hold_is_renewed_beyond_the_age_at_which_banks_let_go() {
    let sandbox = Sandbox::with(config()).await;
    let held = sandbox.held("rita").await;
    made(&sandbox, &held, 6 * 24 * 60 - 90, 60).await;
    sandbox.trips().renew_hold(renew(&held)).await.unwrap();
    assert_eq!(left(&sandbox, &held).await, 90);
    // Older still: it keeps what it has.
    made(&sandbox, &held, 7 * 24 * 60, 60).await;
    sandbox.trips().renew_hold(renew(&held)).await.unwrap();
    assert_eq!(left(&sandbox, &held).await, 60);
}

#[tokio::test]
async fn a_hold_that_is_not_open_is_not_renewed() {
    let sandbox = Sandbox::with(config()).await;
    let mut trips = sandbox.trips();
    let ran_out = sandbox.held("rita").await;
    made(&sandbox, &ran_out, 24 * 60, 0).await;
    let refused = trips.renew_hold(renew(&ran_out)).await;
    assert_eq!(refusal(refused), Code::HoldNotOpen);
    assert!(left(&sandbox, &ran_out).await <= 0);
    assert_eq!(sandbox.billing.store().lapse(None).await.unwrap(), 1);
    let (taken, released) = (sandbox.held("rolf").await, sandbox.held("rosa").await);
    trips.capture_hold(taken.capture("c")).await.unwrap();
    trips.void_hold(released.void("v")).await.unwrap();
    for held in [&ran_out, &taken, &released] {
        let refused = trips.renew_hold(renew(held)).await;
        assert_eq!(refusal(refused), Code::HoldNotOpen);
    }
    let nobody = pb::RenewHoldRequest {
        trip_id: Uuid::now_v7().to_string(),
    };
    assert_eq!(refusal(trips.renew_hold(nobody).await), Code::NotFound);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn a_hold_is_renewed_or_lapses_and_never_both() {
    let sandbox = Sandbox::with(config()).await;
    for round in 0..24 {
        let rider = format!("rita-{round}");
        let held = sandbox.held(&rider).await;
        // It ends about now.
        sqlx::query(
            "UPDATE trip_charge SET expires_at = clock_timestamp() + interval '3 ms'
             WHERE trip_id = $1",
        )
        .bind(held.trip.parse::<Uuid>().unwrap())
        .execute(sandbox.pool())
        .await
        .unwrap();
        let (mut one, store) = (sandbox.trips(), sandbox.billing.store().clone());
        let renewing = renew(&held);
        let renewing = tokio::spawn(async move { one.renew_hold(renewing).await });
        let lapsing = tokio::spawn(async move { store.lapse(None).await });
        let (renewed, lapsed) = (renewing.await.unwrap(), lapsing.await.unwrap().unwrap());
        let lapsed = lapsed + sandbox.billing.store().lapse(None).await.unwrap();
        let is_kept = renewed.is_ok();
        assert_eq!(lapsed, i64::from(!is_kept), "round {round}");
        let held_minor = if is_kept { held.total() } else { 0 };
        assert_eq!(sandbox.exposure(&rider).await, held_minor);
        if !is_kept {
            let late = sandbox.trips().capture_hold(held.capture(&held.trip)).await;
            assert_eq!(refusal(late), Code::HoldNotOpen);
        }
    }
    sandbox.assert_sound().await;
}
