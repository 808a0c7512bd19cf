//! A ride to its end: who is told what, in which order, and what becomes of the money.

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    billing::v1::HoldState,
    matching::v1::MatchEndReason,
    trips::v1::{Actor, CancelTripRequest, PaymentState, TripEventKind, TripState},
};

use crate::support::{City, arrive, cancel, code, complete, get, start};

#[tokio::test]
async fn a_whole_ride() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    let mut anna = city.driver("anna");
    assert_eq!(
        code(cancel(&mut city.rider("rita"), &trip.trip_id).await),
        Code::IllegalTransition
    );
    assert_eq!(
        code(cancel(&mut anna, &trip.trip_id).await),
        Code::IllegalTransition
    );
    let done = complete(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!(done.state(), TripState::Completed);
    let again = complete(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!((again.version, again.state()), (done.version, done.state()));
    let mut rita = city.rider("rita");
    eventually("the capture", async || {
        get(&mut rita, &trip.trip_id).await.unwrap().payment_state() == PaymentState::Captured
    })
    .await;
    assert_eq!(city.billing.captures(), 1);

    use TripEventKind::{Assigned, Completed, Created, DriverArrived, Offered, Started};
    let expected = [
        Created,
        Offered,
        Assigned,
        DriverArrived,
        Started,
        Completed,
    ];
    eventually("every event", async || {
        city.matching.events(&trip.trip_id).len() >= expected.len()
    })
    .await;
    let events = city.matching.events(&trip.trip_id);
    let kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
    assert_eq!(kinds, expected);
    let versions: Vec<_> = events.iter().map(|event| event.trip_version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    assert!(events[1..].iter().all(|event| event.driver_id == "anna"));
    assert_eq!(events[5].state(), TripState::Completed);

    let end = get(&mut rita, &trip.trip_id).await.unwrap();
    assert_eq!(end.end_reason, "driven to the destination");
    assert!(end.ended_at.is_some() && end.started_at.is_some());
    for refused in [
        arrive(&mut anna, &trip.trip_id).await,
        start(&mut anna, &trip.trip_id, "0000").await,
        cancel(&mut rita, &trip.trip_id).await,
        cancel(&mut city.operator(), &trip.trip_id).await,
    ] {
        let status = refused.expect_err("ends never change");
        assert_eq!(Code::of(&status), Some(Code::IllegalTransition));
        assert!(
            status.message().contains("COMPLETED"),
            "{}",
            status.message()
        );
    }
    city.check().await;
    // Both are free again.
    city.assigned("rita", "anna").await;
}

#[tokio::test]
async fn calling_off_releases_the_hold() {
    let city = City::new().await;
    let mut rita = city.rider("rita");
    let trip = city.assigned("rita", "anna").await;
    assert_eq!(
        code(cancel(&mut city.rider("rolf"), &trip.trip_id).await),
        Code::NotFound
    );
    let request = CancelTripRequest {
        trip_id: trip.trip_id.clone(),
        reason: "changed plans".to_owned(),
        max_fee: None,
    };
    let ended = rita
        .cancel_trip(request)
        .await
        .unwrap()
        .into_inner()
        .trip
        .unwrap();
    assert_eq!(ended.state(), TripState::Cancelled);
    assert_eq!(
        (ended.cancelled_by(), ended.end_reason.as_str()),
        (Actor::Rider, "changed plans")
    );
    let again = cancel(&mut rita, &trip.trip_id).await.unwrap();
    assert_eq!(
        (again.version, again.end_reason.as_str()),
        (ended.version, "changed plans")
    );
    // The driver's own cancellation comes too late to matter, and does no harm.
    let late = cancel(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    assert_eq!(late.state(), TripState::Cancelled);
    eventually("the release", async || {
        get(&mut rita, &trip.trip_id).await.unwrap().payment_state() == PaymentState::Voided
    })
    .await;
    assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Voided));
    city.check().await;

    let trip = city.in_progress("rita", "anna").await;
    let ended = cancel(&mut city.operator(), &trip.trip_id).await.unwrap();
    assert_eq!(ended.cancelled_by(), Actor::Operator);
    city.check().await;
    for reason in ["x".repeat(201), "a\0b".to_owned()] {
        let request = CancelTripRequest {
            trip_id: trip.trip_id.clone(),
            reason,
            max_fee: None,
        };
        assert_eq!(code(rita.cancel_trip(request).await), Code::InvalidRequest);
    }
}

#[tokio::test]
async fn a_search_without_a_driver_ends_the_ride() {
    let city = City::new().await;
    let trip = city.searching("rita").await;
    city.matching
        .search(&trip.trip_id)
        .await
        .end(MatchEndReason::NoDriver)
        .await;
    let ended = city.in_state(&trip.trip_id, TripState::Expired).await;
    assert!(
        ended.end_reason.contains("2 drivers offered"),
        "{}",
        ended.end_reason
    );
    eventually("the release", async || {
        city.billing.hold(&trip.trip_id) == Some(HoldState::Voided)
    })
    .await;
    city.check().await;
}

#[tokio::test]
async fn billing_is_asked_until_it_answers() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    city.billing.set_away(true);
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    eventually("billing asked in vain, and again", async || {
        city.billing.turned_away() >= 2
    })
    .await;
    let mut rita = city.rider("rita");
    assert_eq!(
        get(&mut rita, &trip.trip_id).await.unwrap().payment_state(),
        PaymentState::Held
    );
    city.billing.set_away(false);
    eventually("the capture", async || {
        get(&mut rita, &trip.trip_id).await.unwrap().payment_state() == PaymentState::Captured
    })
    .await;
    assert_eq!(city.billing.captures(), 1);
}

#[tokio::test]
async fn a_hold_that_is_gone_is_a_failed_payment() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    city.billing.lapse(&trip.trip_id);
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    let mut rita = city.rider("rita");
    eventually("the failure", async || {
        get(&mut rita, &trip.trip_id).await.unwrap().payment_state() == PaymentState::Failed
    })
    .await;
}
