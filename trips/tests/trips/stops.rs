//! Rides with stops between pick-up and drop-off.

use jitney_proto::{
    Code,
    common::v1::Point,
    trips::v1::{ArriveAtStopRequest, CreateTripRequest, QuoteTripRequest, Trip, TripState},
};

use crate::support::{
    City, Client, accept, arrive, code, complete, get, start, usual_request, usual_way,
};

fn stop(number: i32) -> Point {
    Point {
        latitude: 41.15 + 0.002 * f64::from(number),
        longitude: -8.60,
    }
}

fn way(stops: i32) -> QuoteTripRequest {
    QuoteTripRequest {
        stops: (0..stops).map(stop).collect(),
        ..usual_way("economy")
    }
}

async fn at_stop(driver: &mut Client, trip_id: &str, stop: u32) -> Result<Trip, tonic::Status> {
    let request = ArriveAtStopRequest {
        trip_id: trip_id.to_owned(),
        stop,
    };
    Ok(driver
        .arrive_at_stop(request)
        .await?
        .into_inner()
        .trip
        .expect("a trip"))
}

#[tokio::test]
async fn stops_are_priced_kept_and_made_in_order() {
    let city = City::new().await;
    let mut rita = city.rider("rita");
    let quote = rita
        .quote_trip(way(2))
        .await
        .unwrap()
        .into_inner()
        .quotes
        .remove(0);
    assert_eq!(quote.stops, way(2).stops);
    assert_eq!(city.billing.asked().unwrap().extra_stops, 2);
    let with = |stops: i32| CreateTripRequest {
        stops: way(stops).stops,
        ..usual_request(&quote.quote_id, "k")
    };
    assert_eq!(code(rita.create_trip(with(1)).await), Code::InvalidRequest);
    let trip = rita
        .create_trip(with(2))
        .await
        .unwrap()
        .into_inner()
        .trip
        .unwrap();
    let places: Vec<_> = trip
        .stops
        .iter()
        .map(|stop| stop.location.unwrap())
        .collect();
    assert_eq!(places, way(2).stops);

    let offer_id = city.offer(&trip.trip_id, "anna").await;
    let mut anna = city.driver("anna");
    accept(&mut anna, &trip.trip_id, &offer_id).await.unwrap();
    arrive(&mut anna, &trip.trip_id).await.unwrap();
    let early = at_stop(&mut anna, &trip.trip_id, 0).await;
    assert_eq!(code(early), Code::IllegalTransition);
    let pin = get(&mut rita, &trip.trip_id).await.unwrap().pin;
    start(&mut anna, &trip.trip_id, &pin).await.unwrap();

    let other = at_stop(&mut city.driver("ben"), &trip.trip_id, 0).await;
    assert_eq!(code(other), Code::NotFound);
    let later = at_stop(&mut anna, &trip.trip_id, 1).await;
    assert_eq!(code(later), Code::IllegalTransition);
    let none = at_stop(&mut anna, &trip.trip_id, 2).await;
    assert_eq!(code(none), Code::InvalidRequest);
    let first = at_stop(&mut anna, &trip.trip_id, 0).await.unwrap();
    assert!(first.stops[0].arrived_at.is_some() && first.stops[1].arrived_at.is_none());
    assert_eq!(first.state(), TripState::InProgress);
    let again = at_stop(&mut anna, &trip.trip_id, 0).await.unwrap();
    assert_eq!(again, first);
    // Who gets out before the last stop has no need of it.
    complete(&mut anna, &trip.trip_id).await.unwrap();
    at_stop(&mut anna, &trip.trip_id, 0).await.unwrap();
    let late = at_stop(&mut anna, &trip.trip_id, 1).await;
    assert_eq!(code(late), Code::IllegalTransition);
    city.check().await;
}

#[tokio::test]
async fn too_many_stops_are_refused() {
    let city = City::new().await;
    let mut rita = city.rider("rita");
    rita.quote_trip(way(5)).await.unwrap();
    assert_eq!(code(rita.quote_trip(way(6)).await), Code::InvalidRequest);
    let mut nowhere = way(1);
    nowhere.stops[0].latitude = 91.0;
    let status = rita.quote_trip(nowhere).await.unwrap_err();
    assert!(
        status.message().contains("stops[0]"),
        "{}",
        status.message()
    );
}
