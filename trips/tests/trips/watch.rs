//! WatchTrip: every change, the driver's position only from assignment to the end, and no work left
//! behind.

use std::time::Duration;

use jitney_platform::{auth::Role, testing::eventually};
use jitney_proto::{
    Code,
    trips::v1::{
        DriverPosition, PaymentState, TripState, WatchTripRequest, WatchTripResponse,
        watch_trip_response::Update,
    },
};
use tonic::Streaming;

use crate::support::{
    City, Client, DROPOFF, PICKUP, accept, arrive, cancel, code, complete, decline, get, start,
};

async fn watch(client: &mut Client, trip_id: &str, resume: &str) -> Streaming<WatchTripResponse> {
    let request = WatchTripRequest {
        trip_id: trip_id.to_owned(),
        resume_token: resume.to_owned(),
    };
    client
        .watch_trip(request)
        .await
        .expect("a watch")
        .into_inner()
}

/// The next message, unless it takes too long.
async fn next(watch: &mut Streaming<WatchTripResponse>) -> Option<WatchTripResponse> {
    tokio::time::timeout(Duration::from_secs(10), watch.message())
        .await
        .expect("a message in time")
        .expect("no failure")
}

async fn next_state(watch: &mut Streaming<WatchTripResponse>) -> TripState {
    match next(watch).await.expect("not the end").update {
        Some(Update::Trip(trip)) => trip.state(),
        other => panic!("not a trip: {other:?}"),
    }
}

async fn next_position(watch: &mut Streaming<WatchTripResponse>) -> DriverPosition {
    match next(watch).await.expect("not the end").update {
        Some(Update::DriverPosition(position)) => position,
        other => panic!("not a position: {other:?}"),
    }
}

#[tokio::test]
async fn a_rider_sees_every_change_and_the_driver_from_assignment_to_the_end() {
    let city = City::new().await;
    let trip = city.searching("rita").await;
    let trip_id = trip.trip_id.as_str();
    let mut rita = city.rider("rita");
    let mut watched = watch(&mut rita, trip_id, "").await;
    let first = next(&mut watched).await.unwrap();
    assert_eq!(first.update, Some(Update::Trip(trip.clone())));

    let offer_id = city.offer(trip_id, "anna").await;
    assert_eq!(next_state(&mut watched).await, TripState::Offered);
    assert!(
        city.matching.targets("anna").is_empty(),
        "nobody follows her yet"
    );
    let mut anna = city.driver("anna");
    accept(&mut anna, trip_id, &offer_id).await.unwrap();
    assert_eq!(next_state(&mut watched).await, TripState::Assigned);
    eventually("her following", async || {
        city.matching.targets("anna") == [PICKUP]
    })
    .await;
    city.matching.moved("anna", 41.14, 30_000).await;
    let position = next_position(&mut watched).await;
    assert_eq!(position.location.unwrap().latitude, 41.14);
    assert_eq!(position.eta_ms, Some(30_000));

    arrive(&mut anna, trip_id).await.unwrap();
    assert_eq!(next_state(&mut watched).await, TripState::DriverArrived);
    start(&mut anna, trip_id, &trip.pin).await.unwrap();
    assert_eq!(next_state(&mut watched).await, TripState::InProgress);
    eventually("the new target", async || {
        city.matching.targets("anna") == [DROPOFF]
    })
    .await;
    city.matching.moved("anna", 41.15, 600_000).await;
    assert_eq!(next_position(&mut watched).await.eta_ms, Some(600_000));

    complete(&mut anna, trip_id).await.unwrap();
    assert_eq!(next_state(&mut watched).await, TripState::Completed);
    match next(&mut watched).await.expect("the payment").update {
        Some(Update::Trip(trip)) => assert_eq!(trip.payment_state(), PaymentState::Captured),
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut watched).await, None, "over");
    eventually("the end of the following", async || {
        city.matching.targets("anna").is_empty()
    })
    .await;
    // One who comes later is told how it ended.
    let mut late = watch(&mut rita, trip_id, "").await;
    assert_eq!(next_state(&mut late).await, TripState::Completed);
    assert_eq!(next(&mut late).await, None);
}

#[tokio::test]
async fn a_token_resumes_after_what_was_seen() {
    let city = City::new().await;
    let (trip, offer_id) = city.offered("rita", "anna").await;
    let trip_id = trip.trip_id.as_str();
    let mut rita = city.rider("rita");
    let mut first = watch(&mut rita, trip_id, "").await;
    let token = next(&mut first).await.unwrap().resume_token;
    drop(first);
    // Nothing has changed: nothing is sent until something does.
    let mut second = watch(&mut rita, trip_id, &token).await;
    accept(&mut city.driver("anna"), trip_id, &offer_id)
        .await
        .unwrap();
    assert_eq!(next_state(&mut second).await, TripState::Assigned);
    drop(second);
    // Something has: it is sent at once.
    let mut third = watch(&mut rita, trip_id, &token).await;
    assert_eq!(next_state(&mut third).await, TripState::Assigned);
    let request = WatchTripRequest {
        trip_id: trip_id.to_owned(),
        resume_token: "yesterday".to_owned(),
    };
    assert_eq!(code(rita.watch_trip(request).await), Code::InvalidRequest);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_work_behind() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    let mut watches = Vec::new();
    for _ in 0..5 {
        let mut watched = watch(&mut city.rider("rita"), &trip.trip_id, "").await;
        next(&mut watched).await;
        watches.push(watched);
    }
    eventually("five followings", async || {
        city.matching.targets("anna").len() == 5
    })
    .await;
    drop(watches);
    eventually("none", async || city.matching.targets("anna").is_empty()).await;
}

#[tokio::test]
async fn only_those_who_see_a_trip_watch_it() {
    let city = City::new().await;
    let (trip, offer_id) = city.offered("rita", "anna").await;
    let request = WatchTripRequest {
        trip_id: trip.trip_id.clone(),
        ..Default::default()
    };
    for mut stranger in [city.rider("rolf"), city.driver("ben")] {
        assert_eq!(
            code(stranger.watch_trip(request.clone()).await),
            Code::NotFound
        );
    }
    let mut anna = city.driver("anna");
    let mut watched = watch(&mut anna, &trip.trip_id, "").await;
    match next(&mut watched).await.unwrap().update {
        Some(Update::Trip(trip)) => {
            assert_eq!(trip.pin, "");
            assert_eq!(trip.open_offer.unwrap().offer_id, offer_id);
        }
        other => panic!("{other:?}"),
    }
    decline(&mut anna, &trip.trip_id, &offer_id).await.unwrap();
    let end = watched.message().await;
    assert_eq!(code(end), Code::NotFound, "she lost sight of it");
}

#[tokio::test]
async fn another_processes_changes_are_seen() {
    let mut city = City::new().await;
    let (trip, offer_id) = city.offered("rita", "anna").await;
    city.add_process().await;
    let mut watched = watch(
        &mut city.client_of(1, Role::Rider, "rita"),
        &trip.trip_id,
        "",
    )
    .await;
    assert_eq!(next_state(&mut watched).await, TripState::Offered);
    accept(
        &mut city.client_of(0, Role::Driver, "anna"),
        &trip.trip_id,
        &offer_id,
    )
    .await
    .unwrap();
    assert_eq!(next_state(&mut watched).await, TripState::Assigned);
    cancel(&mut city.client_of(0, Role::Rider, "rita"), &trip.trip_id)
        .await
        .unwrap();
    assert_eq!(next_state(&mut watched).await, TripState::Cancelled);
}

#[tokio::test]
async fn stopping_ends_the_watches() {
    let mut city = City::new().await;
    let trip = city.searching("rita").await;
    let mut watched = watch(&mut city.rider("rita"), &trip.trip_id, "").await;
    next(&mut watched).await;
    city.restart().await;
    assert_eq!(code(watched.message().await), Code::Unavailable);
    assert_eq!(
        get(&mut city.rider("rita"), &trip.trip_id)
            .await
            .unwrap()
            .state(),
        TripState::Searching
    );
}
