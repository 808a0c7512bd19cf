//! Rides that go somewhere else than they were ordered for.

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    common::v1::{Money, Point},
    trips::v1::{EditDestinationRequest, PaymentState, Trip, TripEventKind, TripState},
};
use jitney_trips::{Config, config::FinalFare};
use tonic::Status;

use crate::support::{City, Client, accept, cancel, complete, get, quick};

const ELSEWHERE: Point = Point {
    latitude: 41.17,
    longitude: -8.59,
};

fn elsewhere(trip: &Trip) -> EditDestinationRequest {
    EditDestinationRequest {
        trip_id: trip.trip_id.clone(),
        dropoff: Some(ELSEWHERE),
        ..EditDestinationRequest::default()
    }
}

async fn edit(client: &mut Client, request: EditDestinationRequest) -> Result<Trip, Status> {
    Ok(client
        .edit_destination(request)
        .await?
        .into_inner()
        .trip
        .expect("a trip"))
}

fn cents(money: Option<&Money>) -> i64 {
    money.expect("an amount").minor_units
}

/// Bounds so wide that every ride is about what was quoted.
async fn city() -> City {
    City::with(Config {
        final_fare: FinalFare {
            duration_spare: std::time::Duration::from_secs(36_000),
            distance_spare_meters: 100_000,
            ..FinalFare::default()
        },
        ..quick()
    })
    .await
}

#[tokio::test]
async fn a_rider_goes_elsewhere_for_what_that_costs() {
    let city = city().await;
    let trip = city.in_progress("rita", "anna").await;
    let mut rita = city.rider("rita");
    let before = city.billing.held_under(&trip.trip_id);
    let too_dear = EditDestinationRequest {
        max_fare: Some(Money {
            currency_code: "EUR".to_owned(),
            minor_units: 1_189,
        }),
        ..elsewhere(&trip)
    };
    let status = edit(&mut rita, too_dear.clone()).await.unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::FeeAboveLimit));
    assert!(status.message().contains("1190"), "{}", status.message());
    assert_eq!(
        get(&mut rita, &trip.trip_id).await.unwrap().version,
        trip.version
    );

    // Asked about only: the price, and nothing has changed.
    let asked = EditDestinationRequest {
        validate_only: true,
        ..elsewhere(&trip)
    };
    let foreseen = edit(&mut rita, asked.clone()).await.unwrap();
    assert_eq!(
        (foreseen.dropoff, cents(foreseen.fare.as_ref())),
        (Some(ELSEWHERE), 1_190)
    );
    let stands = get(&mut rita, &trip.trip_id).await.unwrap();
    assert_eq!(
        (stands.version, stands.dropoff, stands.fare),
        (trip.version, trip.dropoff, trip.fare.clone())
    );
    assert_eq!(city.billing.held_under(&trip.trip_id), before);
    let too_dear = EditDestinationRequest {
        max_fare: too_dear.max_fare,
        ..asked
    };
    let status = edit(&mut rita, too_dear).await.unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::FeeAboveLimit));

    let edited = edit(&mut rita, elsewhere(&trip)).await.unwrap();
    assert_eq!(edited.state(), TripState::InProgress);
    assert_eq!(
        (edited.dropoff, cents(edited.fare.as_ref())),
        (Some(ELSEWHERE), 1_190)
    );
    assert_eq!(edited.distance_meters, 7_200);
    eventually("the hold follows", async || {
        city.billing.held_under(&trip.trip_id) != before
    })
    .await;
    let asked = city.billing.asked().unwrap();
    assert_eq!(
        (asked.tariff_version.as_str(), asked.surge_percent),
        ("1", 125)
    );
    assert_eq!(asked.way.last(), Some(&ELSEWHERE), "for the tolls on it");
    eventually("matching hears", async || {
        let events = city.matching.events(&trip.trip_id);
        let last = events.last().expect("events");
        last.kind() == TripEventKind::DestinationChanged && last.dropoff == Some(ELSEWHERE)
    })
    .await;

    // As when the hold was made after billing had heard of the change.
    let under = city.billing.held_under(&trip.trip_id);
    city.billing.put_under(&trip.trip_id, "the quote of before");
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    eventually("it is paid", async || {
        get(&mut rita, &trip.trip_id).await.unwrap().payment_state() == PaymentState::Captured
    })
    .await;
    let paid = get(&mut rita, &trip.trip_id).await.unwrap();
    assert_eq!(cents(paid.final_fare.as_ref()), 1_190);
    assert_eq!(city.billing.held_under(&trip.trip_id), under);
    assert_eq!(
        Code::of(&edit(&mut rita, elsewhere(&trip)).await.unwrap_err()),
        Some(Code::IllegalTransition)
    );
    city.check().await;
}

/// The search has been asked for anew, for the new way and what it costs.
async fn search_elsewhere(city: &City, trip: &Trip) {
    eventually("a search for the new way", async || {
        let searches = city.matching.open_searches(&trip.trip_id);
        searches.last().is_some_and(|search| {
            search.request.dropoff == Some(ELSEWHERE)
                && cents(search.request.fare.as_ref()) == 1_190
        })
    })
    .await;
}

#[tokio::test]
async fn a_ride_that_a_driver_is_looked_for_goes_elsewhere() {
    let city = city().await;
    let trip = city.searching("rita").await;
    let first = city.matching.search(&trip.trip_id).await;
    let before = city.billing.held_under(&trip.trip_id);
    let edited = edit(&mut city.rider("rita"), elsewhere(&trip))
        .await
        .unwrap();
    assert_eq!(
        (edited.state(), edited.dropoff, cents(edited.fare.as_ref())),
        (TripState::Searching, Some(ELSEWHERE), 1_190)
    );
    search_elsewhere(&city, &trip).await;
    assert!(!first.is_heard(), "the search for the old way is left");
    eventually("the hold follows", async || {
        city.billing.held_under(&trip.trip_id) != before
    })
    .await;
    let offer_id = city.offer(&trip.trip_id, "anna").await;
    let taken = accept(&mut city.driver("anna"), &trip.trip_id, &offer_id)
        .await
        .unwrap();
    assert_eq!(taken.dropoff, Some(ELSEWHERE));
    city.check().await;
}

#[tokio::test]
async fn whoever_is_asked_about_another_way_is_asked_no_more() {
    let city = city().await;
    let (trip, offer_id) = city.offered("rita", "anna").await;
    let edited = edit(&mut city.rider("rita"), elsewhere(&trip))
        .await
        .unwrap();
    assert_eq!(edited.state(), TripState::Searching);
    let late = accept(&mut city.driver("anna"), &trip.trip_id, &offer_id).await;
    let late = late.unwrap_err();
    assert_eq!(Code::of(&late), Some(Code::OfferNotOpen));
    assert!(late.message().contains("withdrawn"), "{}", late.message());
    eventually("matching hears whose offer is over", async || {
        let events = city.matching.events(&trip.trip_id);
        events.last().is_some_and(|event| {
            event.kind() == TripEventKind::DestinationChanged
                && event.state() == TripState::Searching
                && (event.offer_id.as_str(), event.driver_id.as_str()) == (&offer_id, "anna")
        })
    })
    .await;
    // They may be asked about the new way.
    search_elsewhere(&city, &trip).await;
    let offer_id = city.offer(&trip.trip_id, "anna").await;
    let taken = accept(&mut city.driver("anna"), &trip.trip_id, &offer_id)
        .await
        .unwrap();
    assert_eq!(
        (taken.state(), taken.dropoff),
        (TripState::Assigned, Some(ELSEWHERE))
    );
    city.check().await;
}

#[tokio::test]
async fn only_a_ride_that_stands_can_go_elsewhere() {
    let city = city().await;
    let over = city.searching("rolf").await;
    cancel(&mut city.rider("rolf"), &over.trip_id)
        .await
        .unwrap();
    let refused = edit(&mut city.rider("rolf"), elsewhere(&over)).await;
    assert_eq!(
        Code::of(&refused.unwrap_err()),
        Some(Code::IllegalTransition)
    );
    let trip = city.assigned("rita", "anna").await;
    let refused = edit(&mut city.rider("rolf"), elsewhere(&trip)).await;
    assert_eq!(Code::of(&refused.unwrap_err()), Some(Code::NotFound));
    let refused = edit(&mut city.driver("anna"), elsewhere(&trip)).await;
    assert_eq!(
        Code::of(&refused.unwrap_err()),
        Some(Code::PermissionDenied)
    );
    let with = |stops: usize| EditDestinationRequest {
        stops: vec![ELSEWHERE; stops],
        ..elsewhere(&trip)
    };
    let refused = edit(&mut city.rider("rita"), with(6)).await;
    assert_eq!(Code::of(&refused.unwrap_err()), Some(Code::InvalidRequest));
    let edited = edit(&mut city.rider("rita"), with(2)).await.unwrap();
    assert_eq!(
        (edited.stops.len(), cents(edited.fare.as_ref())),
        (2, 1_390)
    );
}

#[tokio::test]
async fn an_edit_and_an_end_at_once_are_charged_as_the_trip_says() {
    let city = city().await;
    for round in 0..12 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let trip = city.in_progress(&rider, &driver).await;
        let (mut rita, mut anna) = (city.rider(&rider), city.driver(&driver));
        let (request, id) = (elsewhere(&trip), trip.trip_id.clone());
        let editing = tokio::spawn(async move { edit(&mut rita, request).await });
        let ending = tokio::spawn(async move { complete(&mut anna, &id).await });
        let (edited, ended) = (editing.await.unwrap(), ending.await.unwrap());
        ended.unwrap();
        let mut rita = city.rider(&rider);
        eventually("it is paid", async || {
            get(&mut rita, &trip.trip_id).await.unwrap().payment_state() == PaymentState::Captured
        })
        .await;
        let paid = get(&mut rita, &trip.trip_id).await.unwrap();
        let fare = if edited.is_ok() { 1_190 } else { 890 };
        assert_eq!(cents(paid.fare.as_ref()), fare, "round {round}");
        assert_eq!(cents(paid.final_fare.as_ref()), fare);
        city.check().await;
    }
}
