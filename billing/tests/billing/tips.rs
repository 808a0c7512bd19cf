//! A rider thanks the driver: on top of the fare, all of it the driver's, within bounds.

use jitney_billing::Config;
use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    billing::v1::{self as pb, FareLineKind, get_balance_request::Owner},
};
use prost::Message;

use crate::{
    races::{CONNECTIONS, at_once},
    support::{Held, Sandbox, euro, minor, refusal},
};

fn tip(held: &Held, key: &str, minor_units: i64) -> pb::AddTipRequest {
    pb::AddTipRequest {
        trip_id: held.trip.clone(),
        amount: Some(euro(minor_units)),
        idempotency_key: key.to_owned(),
    }
}

#[tokio::test]
async fn a_tip_is_the_drivers_and_comes_after_the_fare() {
    let sandbox = Sandbox::new().await;
    let held = sandbox.captured("anna").await;
    let before = sandbox.receipt(&held.trip).await;
    let bens = Owner::DriverId("ben".to_owned());
    let owed = sandbox.balance(bens.clone()).await;
    let mut anna = sandbox.client(Role::Rider, "anna");
    let first = anna
        .add_tip(tip(&held, "t", 150))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((minor(&first.amount), minor(&first.tips)), (150, 150));
    let second = anna
        .add_tip(tip(&held, "u", 50))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((minor(&second.amount), minor(&second.tips)), (50, 200));
    let again = anna
        .add_tip(tip(&held, "t", 150))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.encode_to_vec(), first.encode_to_vec());
    assert_eq!(
        refusal(anna.add_tip(tip(&held, "t", 151)).await),
        Code::IdempotencyKeyReused
    );

    let after = sandbox.receipt(&held.trip).await;
    let (last, fare) = after.lines.split_last().unwrap();
    assert_eq!((last.kind(), minor(&last.amount)), (FareLineKind::Tip, 200));
    assert_eq!(fare, before.lines);
    assert_eq!(minor(&after.total), held.total() + 200);
    assert_eq!(minor(&after.fare), held.total());
    assert_eq!(after.driver_share, before.driver_share);
    assert_eq!(sandbox.balance(bens.clone()).await, owed + 200);
    let annas = Owner::RiderId("anna".to_owned());
    assert_eq!(sandbox.balance(annas.clone()).await, held.total() + 200);
    sandbox.assert_sound().await;

    // Refunds leave it alone.
    let all = sandbox.trips().refund_trip(held.refund("r", None)).await;
    let all = all.unwrap().into_inner().refund.unwrap();
    assert_eq!(minor(&all.amount), held.total());
    assert_eq!(sandbox.balance(bens).await, 200);
    assert_eq!(sandbox.balance(annas).await, 200);
    let receipt = sandbox.receipt(&held.trip).await;
    assert_eq!(receipt.payment_state(), pb::PaymentState::Refunded);
    sandbox.assert_sound().await;
}

#[tokio::test]
async fn tips_have_bounds_and_an_owner() {
    let config = Config {
        tip_max_minor: 500,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let held = sandbox.held("anna").await;
    let mut anna = sandbox.client(Role::Rider, "anna");
    assert_eq!(
        refusal(anna.add_tip(tip(&held, "t", 100)).await),
        Code::NotFound,
        "not before it is captured"
    );
    let capture = held.capture("c");
    sandbox.trips().capture_hold(capture).await.unwrap();
    for bad in [
        tip(&held, "t", 0),
        tip(&held, "t", -5),
        tip(&held, "", 5),
        pb::AddTipRequest {
            amount: None,
            ..tip(&held, "t", 5)
        },
        pb::AddTipRequest {
            amount: Some(jitney_proto::common::v1::Money {
                currency_code: "CHF".to_owned(),
                minor_units: 5,
            }),
            ..tip(&held, "t", 5)
        },
    ] {
        assert_eq!(refusal(anna.add_tip(bad).await), Code::InvalidRequest);
    }
    for (role, id, code) in [
        (Role::Rider, "mallory", Code::NotFound),
        (Role::Rider, "ben", Code::NotFound),
        (Role::Driver, "ben", Code::PermissionDenied),
    ] {
        let answer = sandbox.client(role, id).add_tip(tip(&held, "t", 5)).await;
        assert_eq!(refusal(answer), code);
    }
    let answer = anna.add_tip(tip(&held, "t", 501)).await;
    assert_eq!(refusal(answer), Code::TipRefused);
    anna.add_tip(tip(&held, "all", 500)).await.unwrap();
    let answer = anna.add_tip(tip(&held, "u", 1)).await;
    assert_eq!(refusal(answer), Code::TipRefused);

    // The same key of another rider, or of the staff, is another key.
    let beas = sandbox.captured("bea").await;
    let mut bea = sandbox.client(Role::Rider, "bea");
    bea.add_tip(tip(&beas, "t", 10)).await.unwrap();
    let mut olga = sandbox.client(Role::Operator, "olga");
    olga.add_tip(tip(&beas, "t", 20)).await.unwrap();
    assert_eq!(
        minor(&sandbox.receipt(&beas.trip).await.total),
        beas.total() + 30
    );

    // The database's clock says what is too late.
    let mut intruder = sandbox.superuser().await;
    sqlx::raw_sql("UPDATE trip_charge SET closed_at = closed_at - interval '30 days'")
        .execute(&mut intruder)
        .await
        .unwrap();
    let status = bea.add_tip(tip(&beas, "late", 10)).await.unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::TipRefused));
    assert!(status.message().contains("too late"), "{status:?}");
    sandbox.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tips_at_once_stay_within_the_bound() {
    let config = Config {
        tip_max_minor: 500,
        ..Config::default()
    };
    let sandbox = Sandbox::with(config).await;
    let held = sandbox.captured("anna").await;
    let answers = at_once(
        &sandbox,
        CONNECTIONS,
        (0..32).map(|n| {
            // Half of them come twice.
            let (mut anna, request) = (
                sandbox.client(Role::Rider, "anna"),
                tip(&held, &format!("t{}", n / 2), 100),
            );
            async move { anna.add_tip(request).await }
        }),
    )
    .await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(done, 10, "five, each answered twice");
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(Code::of(&refused), Some(Code::TipRefused));
    }
    assert_eq!(sandbox.count("tip").await, 5);
    sandbox.assert_sound().await;
}
