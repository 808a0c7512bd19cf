//! Seats: how many ride along, from the request to matching and the event.

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    trips::v1::{CreateTripRequest, TripEventKind},
};

use crate::support::{City, DROPOFF, PICKUP, code, create, usual_request};

#[tokio::test]
async fn riders_are_counted_and_have_seats() {
    let city = City::new().await;
    let quote = city.quote("rita").await;
    let mut rita = city.rider("rita");
    let of_seats = |seats| CreateTripRequest {
        seats,
        ..usual_request(&quote.quote_id, "k1")
    };
    let refused = rita.create_trip(of_seats(5)).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::InvalidRequest));
    assert!(
        refused
            .message()
            .contains("seats: is more than economy has: 4")
    );
    let trip = rita.create_trip(of_seats(3)).await.unwrap();
    let trip = trip.into_inner().trip.unwrap();
    assert_eq!(trip.seats, 3);
    let search = city.matching.search(&trip.trip_id).await;
    assert_eq!(search.request.seats, 3);
    let created = || {
        let events = city.matching.events(&trip.trip_id);
        events
            .into_iter()
            .find(|event| event.kind() == TripEventKind::Created)
    };
    eventually("the event", async || created().is_some()).await;
    assert_eq!(created().unwrap().seats, 3);
    // Another number is another request.
    assert_eq!(
        code(rita.create_trip(of_seats(2)).await),
        Code::IdempotencyKeyReused
    );
    // Not said is one, and saying so is the same.
    let quote = city.quote("rolf").await;
    let mut rolf = city.rider("rolf");
    let trip = create(&mut rolf, &quote.quote_id, "k1").await.unwrap();
    assert_eq!(trip.seats, 1);
    let said = CreateTripRequest {
        seats: 1,
        ..usual_request(&quote.quote_id, "k1")
    };
    let again = rolf.create_trip(said).await.unwrap().into_inner();
    assert_eq!(again.trip.unwrap().trip_id, trip.trip_id);
    // Without a quote too.
    let priced_now = CreateTripRequest {
        pickup: Some(PICKUP),
        dropoff: Some(DROPOFF),
        product: "economy".to_owned(),
        seats: 5,
        ..usual_request("", "k1")
    };
    let refused = city.rider("ruth").create_trip(priced_now).await;
    assert_eq!(code(refused), Code::InvalidRequest);
}
