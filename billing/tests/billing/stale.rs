//! Statements that wait while what they began to look at changes. A statement sees the rows as they were when
//! it began, and the one it waited for as it is now: what it adds or takes away has to be added to that.

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, ChargebackState, PaymentMethod, promotion::Off},
};
use sqlx::AssertSqlSafe;
use tokio::task::JoinHandle;
use tonic::{Response, Status};

use crate::{
    changed::change,
    chargebacks::dispute,
    overlaps::{called_off, deadlocks},
    promotions::{apply, put, terms},
    races::Turnstile,
    support::{Held, Sandbox, one_by_one, refusal},
};

/// Has one call wait at the closed turnstile, behind those that wait there already.
async fn behind<T: Send + 'static>(
    turnstile: &mut Turnstile,
    waiting: usize,
    call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> JoinHandle<Result<Response<T>, Status>> {
    let call = tokio::spawn(call);
    turnstile.queue(waiting).await;
    call
}

/// A turnstile before one charge.
async fn before(sandbox: &Sandbox, held: &Held) -> Turnstile {
    let trip = &held.trip;
    let doing = format!("SELECT 1 FROM trip_charge WHERE trip_id = '{trip}' FOR UPDATE");
    Turnstile::with(sandbox, &doing).await
}

async fn as_superuser(sandbox: &Sandbox, statement: &'static str) {
    let mut superuser = sandbox.superuser().await;
    let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut superuser);
    assert_eq!(done.await.unwrap().rows_affected(), 1, "{statement}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_who_owes_nothing_yet_carries_a_fee_while_they_pay_another() {
    let sandbox = Sandbox::with(one_by_one()).await;
    let mut trips = sandbox.trips();
    let late = sandbox.held_by("dora", PaymentMethod::Cash).await;
    let first = sandbox.held_by("dora", PaymentMethod::Cash).await;
    let pays = sandbox.held_by("dora", PaymentMethod::Cash).await;
    // Begins before anything is owed.
    let mut charge = before(&sandbox, &late).await;
    let (mut client, request) = (sandbox.trips(), called_off(&late));
    let late = behind(
        &mut charge,
        1,
        async move { client.capture_hold(request).await },
    )
    .await;
    trips.capture_hold(called_off(&first)).await.unwrap();
    // Both want the dues and her balance, and the first has come further when the other begins.
    let doing = "SELECT 1 FROM account_balance WHERE owner_id = 'dora' FOR UPDATE";
    let mut balance = Turnstile::with(&sandbox, doing).await;
    charge.open().await;
    balance.queue(1).await;
    let (mut client, request) = (sandbox.trips(), pays.capture(&pays.trip));
    let pays = behind(&mut balance, 2, async move {
        client.capture_hold(request).await
    })
    .await;
    balance.open().await;
    late.await.unwrap().unwrap();
    pays.await.unwrap().unwrap();
    sandbox.assert_sound().await;
    assert_eq!(deadlocks(&sandbox, &[&sandbox.billing]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dues_that_were_paid_and_came_again_are_paid() {
    let sandbox = Sandbox::with(one_by_one()).await;
    let owed = sandbox.held_by("dora", PaymentMethod::Cash).await;
    let mut trips = sandbox.trips();
    trips.capture_hold(called_off(&owed)).await.unwrap();
    let dues: i64 = sqlx::query_scalar("SELECT due_minor FROM rider_dues")
        .fetch_one(sandbox.pool())
        .await
        .unwrap();
    assert_eq!(dues, 239);
    // It is planned while they are owed, begins once they are paid, and is judged when as much is owed anew.
    let pays = sandbox.held_by("dora", PaymentMethod::Cash).await;
    let mut charge = before(&sandbox, &pays).await;
    let doing = "LOCK TABLE idempotency IN ACCESS EXCLUSIVE MODE;
                 UPDATE rider_dues SET due_minor = 0";
    let mut begins = Turnstile::with(&sandbox, doing).await;
    let (mut client, request) = (sandbox.trips(), pays.capture(&pays.trip));
    let call = behind(
        &mut begins,
        1,
        async move { client.capture_hold(request).await },
    )
    .await;
    begins.open().await;
    charge.queue(1).await;
    as_superuser(&sandbox, "UPDATE rider_dues SET due_minor = 239").await;
    charge.open().await;
    call.await.unwrap().unwrap();
    sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_was_applied_just_before_the_ride_was_called_off_is_not_used_up() {
    // The rider's first ride with it, or not.
    for used_before in [0, 1] {
        let sandbox = Sandbox::new().await;
        let promotion = pb::Promotion {
            rides_per_rider: used_before + 1,
            ..terms(Off::Percent(50))
        };
        put(&sandbox, "HALF", promotion).await;
        let mut anna = sandbox.client(Role::Rider, "anna");
        for _ in 0..used_before {
            let held = sandbox.held("anna").await;
            anna.apply_promotion(apply(&held, "HALF")).await.unwrap();
        }
        let held = sandbox.held("anna").await;
        let mut charge = before(&sandbox, &held).await;
        let (mut client, request) = (anna.clone(), apply(&held, "HALF"));
        let applied = behind(&mut charge, 1, async move {
            client.apply_promotion(request).await
        })
        .await;
        let (mut client, request) = (sandbox.trips(), held.void("v"));
        let voided = behind(
            &mut charge,
            2,
            async move { client.void_hold(request).await },
        )
        .await;
        charge.open().await;
        applied.await.unwrap().unwrap();
        voided.await.unwrap().unwrap();
        let next = sandbox.held("anna").await;
        anna.apply_promotion(apply(&next, "HALF")).await.unwrap();
        sandbox.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_was_just_raised_is_lowered_or_released() {
    for is_released in [false, true] {
        let sandbox = Sandbox::new().await;
        let held = sandbox.held("anna").await;
        let (longer, shorter) = (sandbox.quote(25_000).await, sandbox.quote(1_000).await);
        let mut charge = before(&sandbox, &held).await;
        let (mut client, request) = (sandbox.trips(), change(&held, &longer, "longer"));
        let raised = behind(
            &mut charge,
            1,
            async move { client.change_hold(request).await },
        )
        .await;
        let left = if is_released {
            let (mut client, request) = (sandbox.trips(), held.void("v"));
            let voided = behind(
                &mut charge,
                2,
                async move { client.void_hold(request).await },
            )
            .await;
            charge.open().await;
            voided.await.unwrap().unwrap();
            0
        } else {
            let (mut client, request) = (sandbox.trips(), change(&held, &shorter, "shorter"));
            let lowered = behind(
                &mut charge,
                2,
                async move { client.change_hold(request).await },
            )
            .await;
            charge.open().await;
            lowered.await.unwrap().unwrap();
            shorter.total.unwrap().minor_units
        };
        raised.await.unwrap().unwrap();
        assert_eq!(sandbox.exposure("anna").await, left);
        sandbox.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_won_is_given_back() {
    // Of which nothing or something is left meanwhile.
    for disputed in [1_000, 400] {
        let sandbox = Sandbox::new().await;
        let ride = sandbox.captured("anna").await;
        let disputed = disputed.min(ride.total());
        let mut olga = sandbox.client(Role::Operator, "olga");
        let is = |state| dispute(&ride, "dp_1", disputed, state);
        olga.record_chargeback(is(ChargebackState::Open))
            .await
            .unwrap();
        let too_much = olga.refund_trip(ride.refund("early", Some(ride.total())));
        assert_eq!(refusal(too_much.await), Code::RefundAboveCapture);
        let mut charge = before(&sandbox, &ride).await;
        let (mut client, request) = (olga.clone(), is(ChargebackState::Won));
        let won = behind(&mut charge, 1, async move {
            client.record_chargeback(request).await
        })
        .await;
        let (mut client, request) = (olga.clone(), ride.refund("all", Some(ride.total())));
        let refunded = behind(
            &mut charge,
            2,
            async move { client.refund_trip(request).await },
        )
        .await;
        charge.open().await;
        won.await.unwrap().unwrap();
        let refund = refunded
            .await
            .unwrap()
            .unwrap()
            .into_inner()
            .refund
            .unwrap();
        assert_eq!(refund.amount.unwrap().minor_units, ride.total());
        sandbox.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_dispute_of_what_was_just_won_is_written_down() {
    let sandbox = Sandbox::new().await;
    let ride = sandbox.captured("anna").await;
    let mut olga = sandbox.client(Role::Operator, "olga");
    let is = |id, state| dispute(&ride, id, ride.total(), state);
    olga.record_chargeback(is("dp_1", ChargebackState::Open))
        .await
        .unwrap();
    let mut charge = before(&sandbox, &ride).await;
    let (mut client, request) = (olga.clone(), is("dp_1", ChargebackState::Won));
    let won = behind(&mut charge, 1, async move {
        client.record_chargeback(request).await
    })
    .await;
    let (mut client, request) = (olga.clone(), is("dp_2", ChargebackState::Open));
    let opened = behind(&mut charge, 2, async move {
        client.record_chargeback(request).await
    })
    .await;
    charge.open().await;
    won.await.unwrap().unwrap();
    opened.await.unwrap().unwrap();
    sandbox.assert_sound().await;
}
