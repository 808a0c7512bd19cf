//! How a ride is going to be paid, from the request to the hold.

use jitney_proto::{
    Code,
    billing::v1::PaymentMethod,
    trips::v1::{CreateTripRequest, PaymentState},
};

use crate::support::{City, code, create, get, usual_request};

#[tokio::test]
async fn cash_is_told_to_billing() {
    let city = City::new().await;
    let quote = city.quote("rita").await;
    let mut rita = city.rider("rita");
    let by = |method: i32| CreateTripRequest {
        payment_method: method,
        ..usual_request(&quote.quote_id, "k1")
    };
    assert_eq!(code(rita.create_trip(by(7)).await), Code::InvalidRequest);
    let cash = by(PaymentMethod::Cash.into());
    let trip = rita.create_trip(cash.clone()).await.unwrap().into_inner();
    let trip = trip.trip.unwrap();
    assert_eq!(trip.payment_state(), PaymentState::Held);
    let method = city.billing.payment_method(&trip.trip_id);
    assert_eq!(method, Some(PaymentMethod::Cash));
    // Who is offered the ride sees it.
    city.offer(&trip.trip_id, "anna").await;
    let seen = get(&mut city.driver("anna"), &trip.trip_id).await.unwrap();
    assert_eq!(seen.payment_method(), PaymentMethod::Cash);
    let again = rita.create_trip(cash).await.unwrap().into_inner();
    assert_eq!(again.trip.unwrap().trip_id, trip.trip_id);
    // Another means is another request.
    for other in [PaymentMethod::Unspecified, PaymentMethod::Card] {
        let answer = rita.create_trip(by(other.into())).await;
        assert_eq!(code(answer), Code::IdempotencyKeyReused);
    }

    // Not said is by card, and saying so is the same.
    let quote = city.quote("rolf").await;
    let mut rolf = city.rider("rolf");
    let trip = create(&mut rolf, &quote.quote_id, "k1").await.unwrap();
    let method = city.billing.payment_method(&trip.trip_id);
    assert_eq!(method, Some(PaymentMethod::Card));
    let said = CreateTripRequest {
        payment_method: PaymentMethod::Card.into(),
        ..usual_request(&quote.quote_id, "k1")
    };
    let again = rolf.create_trip(said).await.unwrap().into_inner();
    assert_eq!(again.trip.unwrap().trip_id, trip.trip_id);
}
