//! Two at once, in either order: each time one of them happens, and the other is told so.

use std::future::Future;

use jitney_proto::{
    Code,
    common::v1::Point,
    trips::v1::{EditDestinationRequest, Trip, TripState},
};
use tonic::Status;

use crate::support::{City, accept, arrive, cancel, code, complete, get, start};

type Answer = Result<Trip, Status>;

/// Has both queue for the trip's row, `one` before `other` or the other way round, and lets them go.
async fn both(
    city: &City,
    one_first: bool,
    one: impl Future<Output = Answer> + Send + 'static,
    other: impl Future<Output = Answer> + Send + 'static,
) -> (Answer, Answer) {
    let barrier = city.barrier("SELECT 1 FROM trip FOR UPDATE").await;
    let (one, other) = if one_first {
        let one = tokio::spawn(one);
        barrier.queue("lock_trip", 1).await;
        (one, tokio::spawn(other))
    } else {
        let other = tokio::spawn(other);
        barrier.queue("lock_trip", 1).await;
        (tokio::spawn(one), other)
    };
    barrier.queue("lock_trip", 2).await;
    barrier.open().await;
    (one.await.expect("no panic"), other.await.expect("no panic"))
}

#[tokio::test]
async fn start_called_twice_starts_once() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    let pin = get(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap()
        .pin;
    arrive(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    let starting = || {
        let (mut anna, id, pin) = (city.driver("anna"), trip.trip_id.clone(), pin.clone());
        async move { start(&mut anna, &id, &pin).await }
    };
    let (one, other) = both(&city, true, starting(), starting()).await;
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(
        (one.version, one.started_at),
        (other.version, other.started_at)
    );
    assert_eq!(one.state(), TripState::InProgress);
    city.check().await;
}

#[tokio::test]
async fn a_ride_is_completed_or_called_off_and_never_both() {
    let city = City::new().await;
    for round in 0..6 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let trip = city.in_progress(&rider, &driver).await;
        let (mut anna, mut olga) = (city.driver(&driver), city.operator());
        let (id, other_id) = (trip.trip_id.clone(), trip.trip_id.clone());
        let completing = async move { complete(&mut anna, &id).await };
        let cancelling = async move { cancel(&mut olga, &other_id).await };
        let completes = round % 2 == 0;
        let (completed, cancelled) = both(&city, completes, completing, cancelling).await;
        let (done, late) = if completes {
            (completed, cancelled)
        } else {
            (cancelled, completed)
        };
        let end = done.unwrap();
        assert_eq!(code(late), Code::IllegalTransition);
        let expected = if completes {
            TripState::Completed
        } else {
            TripState::Cancelled
        };
        assert_eq!(end.state(), expected);
        let now = get(&mut city.operator(), &trip.trip_id).await.unwrap();
        assert_eq!((now.state(), now.version), (end.state(), end.version));
        city.check().await;
    }
}

#[tokio::test]
async fn a_late_accept_of_a_ride_that_was_given_back_gets_nobody_on_it() {
    let city = City::new().await;
    for round in 0..6 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let (trip, offer_id) = city.offered(&rider, &driver).await;
        accept(&mut city.driver(&driver), &trip.trip_id, &offer_id)
            .await
            .unwrap();
        // The app repeats its accept while the driver gives the ride back.
        let (mut anna, mut again) = (city.driver(&driver), city.driver(&driver));
        let (id, other_id) = (trip.trip_id.clone(), trip.trip_id.clone());
        let giving_back = async move { cancel(&mut anna, &id).await };
        let accepting = async move { accept(&mut again, &other_id, &offer_id).await };
        let accepts_first = round % 2 == 1;
        let (accepted, given_back) = both(&city, accepts_first, accepting, giving_back).await;
        assert_eq!(given_back.unwrap().state(), TripState::Searching);
        if accepts_first {
            accepted.unwrap();
        } else {
            assert_eq!(code(accepted), Code::OfferNotOpen);
        }
        let now = city.in_state(&trip.trip_id, TripState::Searching).await;
        assert!(now.driver.is_none());
        assert_eq!(city.count("SELECT count(*) FROM driver_claims").await, 0);
        // The next driver gets it.
        let next = format!("ben-{round}");
        let offer_id = city.offer(&trip.trip_id, &next).await;
        accept(&mut city.driver(&next), &trip.trip_id, &offer_id)
            .await
            .unwrap();
        complete_from_assigned(&city, &rider, &next, &trip.trip_id).await;
        city.check().await;
    }
}

#[tokio::test]
async fn a_driver_takes_the_ride_as_it_was_offered_or_not_at_all() {
    let elsewhere = Point {
        latitude: 41.17,
        longitude: -8.59,
    };
    let city = City::new().await;
    for round in 0..6 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let (trip, offer_id) = city.offered(&rider, &driver).await;
        let (mut rita, mut anna) = (city.rider(&rider), city.driver(&driver));
        let request = EditDestinationRequest {
            trip_id: trip.trip_id.clone(),
            dropoff: Some(elsewhere),
            ..EditDestinationRequest::default()
        };
        let id = trip.trip_id.clone();
        let accepting = async move { accept(&mut anna, &id, &offer_id).await };
        let editing = async move {
            let edited = rita.edit_destination(request).await?.into_inner();
            Ok(edited.trip.expect("a trip"))
        };
        let accepts_first = round % 2 == 0;
        let (accepted, edited) = both(&city, accepts_first, accepting, editing).await;
        // The rider goes elsewhere either way; once a driver has the ride, with that driver.
        let edited = edited.unwrap();
        assert_eq!(edited.dropoff, Some(elsewhere));
        if accepts_first {
            assert_eq!(accepted.unwrap().dropoff, trip.dropoff);
            assert_eq!(edited.state(), TripState::Assigned);
            complete_from_assigned(&city, &rider, &driver, &trip.trip_id).await;
        } else {
            assert_eq!(code(accepted), Code::OfferNotOpen);
            assert_eq!(edited.state(), TripState::Searching);
            assert_eq!(city.count("SELECT count(*) FROM driver_claims").await, 0);
            cancel(&mut city.rider(&rider), &trip.trip_id)
                .await
                .unwrap();
        }
        city.check().await;
    }
}

async fn complete_from_assigned(city: &City, rider: &str, driver: &str, trip_id: &str) {
    let pin = get(&mut city.rider(rider), trip_id)
        .await
        .expect("a trip")
        .pin;
    let mut driver = city.driver(driver);
    arrive(&mut driver, trip_id).await.expect("arrived");
    start(&mut driver, trip_id, &pin).await.expect("started");
    complete(&mut driver, trip_id).await.expect("completed");
}
