//! What a ride costs that is not driven: calling off late, and not coming.

use std::time::Duration;

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    billing::v1::{CaptureReason, HoldState},
    common::v1::Money,
    trips::v1::{CancelTripRequest, PaymentState, TripEventKind, TripFee, TripState},
};
use jitney_trips::{Config, config::Cancellation};

use crate::support::{City, arrive, cancel, code, get, no_show, preview, quick, start};

/// A city in which nothing is free and nobody waits.
async fn strict() -> City {
    City::with(Config {
        no_show_after: Duration::ZERO,
        cancellation: Cancellation {
            free_for: Duration::ZERO,
            ..Cancellation::default()
        },
        ..quick()
    })
    .await
}

fn euros(minor_units: i64) -> Option<Money> {
    Some(Money {
        currency_code: "EUR".to_owned(),
        minor_units,
    })
}

#[tokio::test]
async fn calling_off_late_costs_what_the_preview_said() {
    let city = strict().await;
    let (searching, offer_id) = city.offered("rita", "anna").await;
    let mut rita = city.rider("rita");
    let trip_id = searching.trip_id.clone();
    let free = preview(&mut rita, &trip_id).await.unwrap();
    assert_eq!(
        (free.fee, free.reason.as_str()),
        (None, "no driver has it yet")
    );
    crate::support::accept(&mut city.driver("anna"), &trip_id, &offer_id)
        .await
        .unwrap();
    let asked = preview(&mut rita, &trip_id).await.unwrap();
    assert_eq!(asked.fee, euros(500));
    // Nobody else costs the rider anything.
    assert_eq!(
        preview(&mut city.driver("anna"), &trip_id)
            .await
            .unwrap()
            .fee,
        None
    );
    assert_eq!(
        preview(&mut city.operator(), &trip_id).await.unwrap().fee,
        None
    );
    assert_eq!(
        code(preview(&mut city.rider("rolf"), &trip_id).await),
        Code::NotFound
    );

    let mut request = CancelTripRequest {
        trip_id: trip_id.clone(),
        max_fee: euros(499),
        ..CancelTripRequest::default()
    };
    assert_eq!(
        code(rita.cancel_trip(request.clone()).await),
        Code::FeeAboveLimit
    );
    request.max_fee = asked.fee;
    let answer = rita.cancel_trip(request.clone()).await.unwrap();
    let cancelled = answer.into_inner().trip.unwrap();
    assert_eq!(
        (cancelled.state(), cancelled.fee),
        (TripState::Cancelled, euros(500))
    );
    // Said again, with less to spend: it is done.
    request.max_fee = euros(0);
    rita.cancel_trip(request).await.unwrap();

    eventually("the fee is taken", async || {
        get(&mut rita, &trip_id).await.unwrap().payment_state() == PaymentState::Captured
    })
    .await;
    let taken = city.billing.taken_for(&trip_id);
    assert_eq!(taken, Some(CaptureReason::CancellationFee));
    let refused = preview(&mut rita, &trip_id).await;
    assert_eq!(code(refused), Code::IllegalTransition);
    city.check().await;
}

#[tokio::test]
async fn who_does_not_come_pays_and_frees_the_driver() {
    let city = strict().await;
    let trip = city.assigned("rita", "anna").await;
    let mut anna = city.driver("anna");
    let early = no_show(&mut anna, &trip.trip_id).await;
    assert_eq!(code(early), Code::IllegalTransition);
    arrive(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!(
        code(no_show(&mut city.driver("ben"), &trip.trip_id).await),
        Code::NotFound
    );
    let ended = no_show(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!((ended.state(), ended.fee), (TripState::NoShow, euros(600)));
    let again = no_show(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!(again.version, ended.version);
    eventually("the fee is taken", async || {
        city.billing.taken_for(&trip.trip_id) == Some(CaptureReason::NoShowFee)
    })
    .await;
    eventually("matching heard", async || {
        let events = city.matching.events(&trip.trip_id);
        events.last().is_some_and(|event| {
            (event.kind(), event.fee()) == (TripEventKind::NoShow, TripFee::NoShow)
        })
    })
    .await;
    city.check().await;
    city.assigned("rita", "anna").await;
}

#[tokio::test]
async fn a_rider_is_waited_for() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    let mut anna = city.driver("anna");
    arrive(&mut anna, &trip.trip_id).await.unwrap();
    let early = no_show(&mut anna, &trip.trip_id).await;
    assert_eq!(code(early), Code::TooEarly);
    // And may call off for nothing right after a driver took it.
    let asked = preview(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap();
    assert!(asked.fee.is_none() && asked.free_until.is_some());
    cancel(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap();
    eventually("the hold is released", async || {
        city.billing.hold(&trip.trip_id) == Some(HoldState::Voided)
    })
    .await;
    assert_eq!(city.billing.captures(), 0);
}

#[tokio::test]
async fn a_no_show_or_a_start_and_never_both() {
    let city = strict().await;
    let (mut started, mut gone) = (0, 0);
    for round in 0..20 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let trip = city.assigned(&rider, &driver).await;
        let pin = get(&mut city.rider(&rider), &trip.trip_id)
            .await
            .unwrap()
            .pin;
        let mut anna = city.driver(&driver);
        arrive(&mut anna, &trip.trip_id).await.unwrap();
        let (id, other_id) = (trip.trip_id.clone(), trip.trip_id.clone());
        let mut other = city.driver(&driver);
        let barrier = city.barrier("SELECT 1 FROM trip FOR UPDATE").await;
        let starting = async move { start(&mut anna, &id, &pin).await.is_ok() };
        let leaving = async move { no_show(&mut other, &other_id).await.is_ok() };
        let (starting, leaving) = if round % 2 == 0 {
            let starting = tokio::spawn(starting);
            barrier.queue("lock_trip", 1).await;
            (starting, tokio::spawn(leaving))
        } else {
            let leaving = tokio::spawn(leaving);
            barrier.queue("lock_trip", 1).await;
            (tokio::spawn(starting), leaving)
        };
        barrier.queue("lock_trip", 2).await;
        barrier.open().await;
        let (is_started, is_gone) = (starting.await.unwrap(), leaving.await.unwrap());
        assert!(is_started ^ is_gone, "round {round}");
        started += u32::from(is_started);
        gone += u32::from(is_gone);
        city.check().await;
    }
    assert!(started > 0 && gone > 0, "{started} started, {gone} gone");
}
