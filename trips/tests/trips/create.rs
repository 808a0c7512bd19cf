//! CreateTrip: one trip and one hold per key, whatever is repeated, raced or lost.

use std::time::Duration;

use futures::future::join_all;
use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    billing::v1::{FareLineKind, HoldState},
    common::v1::Point,
    trips::v1::{Actor, CreateTripRequest, PaymentState, QuoteTripRequest, TripState},
};
use jitney_trips::Config;
use tonic_types::StatusExt;

use crate::support::{
    City, DROPOFF, PICKUP, cancel, code, create, get, quick, usual_request, usual_way,
};

#[tokio::test]
async fn a_quote_has_every_product_unless_one_is_asked_for() {
    let city = City::new().await;
    let all = city
        .rider("rita")
        .quote_trip(usual_way(""))
        .await
        .unwrap()
        .into_inner();
    let products: Vec<_> = all
        .quotes
        .iter()
        .map(|quote| quote.product.as_str())
        .collect();
    assert_eq!(products, ["economy", "comfort"]);
    assert_eq!(all.route.unwrap().distance_meters, 4_200);
    let economy = &all.quotes[0];
    assert_eq!(economy.pickup_eta_ms, Some(90_000));
    assert_eq!(economy.surge_percent, 125, "as matching's demand map says");
    assert_eq!(all.quotes[1].pickup_eta_ms, None, "nobody drives comfort");
    let lines: Vec<_> = economy.lines.iter().map(|line| line.kind()).collect();
    assert_eq!(lines, [FareLineKind::Base, FareLineKind::MinimumTopUp]);
    let sum: i64 = economy
        .lines
        .iter()
        .map(|l| l.amount.as_ref().unwrap().minor_units)
        .sum();
    assert_eq!(sum, economy.fare.as_ref().unwrap().minor_units);

    let one = city
        .rider("rita")
        .quote_trip(usual_way("comfort"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(one.quotes.len(), 1);
    let none = city.rider("rita").quote_trip(usual_way("rocket")).await;
    assert_eq!(code(none), Code::UnknownProduct);
    let nowhere = QuoteTripRequest {
        pickup: None,
        ..usual_way("")
    };
    assert_eq!(
        code(city.rider("rita").quote_trip(nowhere).await),
        Code::InvalidRequest
    );
}

#[tokio::test]
async fn a_way_is_refused_in_the_names_the_rider_gave() {
    let city = City::new().await;
    let mut rita = city.rider("rita");
    let (far, odd, cut_off) = (
        Point::new(89.0, 0.0),
        Point::new(-89.0, 0.0),
        Point::new(75.0, 0.0),
    );
    let (unknown, outside) = ("is no place", "is 4000 km from any road");
    let unreachable = "cannot be reached by road from the pickup";
    for (pickup, dropoff, refused, field, problem) in [
        (far, DROPOFF, Code::OutsideMap, "pickup", outside),
        (PICKUP, far, Code::OutsideMap, "dropoff", outside),
        (odd, DROPOFF, Code::InvalidRequest, "pickup", unknown),
        (PICKUP, odd, Code::InvalidRequest, "dropoff", unknown),
        (PICKUP, cut_off, Code::NoRoute, "dropoff", unreachable),
    ] {
        let quote = QuoteTripRequest {
            pickup: Some(pickup),
            dropoff: Some(dropoff),
            ..usual_way("economy")
        };
        let ride = CreateTripRequest {
            pickup: Some(pickup),
            dropoff: Some(dropoff),
            product: "economy".to_owned(),
            ..usual_request("", "k")
        };
        let quoted = rita.quote_trip(quote).await.map(drop);
        let created = rita.create_trip(ride).await.map(drop);
        for status in [quoted.unwrap_err(), created.unwrap_err()] {
            assert_eq!(Code::of(&status), Some(refused), "{status:?}");
            assert_eq!(status.message(), format!("{field}: {problem}"));
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations.len(), 1);
            assert_eq!(violations[0].field, field);
            assert_eq!(violations[0].description, problem);
        }
    }
}

#[tokio::test]
async fn the_same_key_gives_the_same_trip() {
    let city = City::new().await;
    let quote = city.quote("rita").await;
    let mut rita = city.rider("rita");
    let first = create(&mut rita, &quote.quote_id, "k1").await.unwrap();
    assert_eq!(first.state(), TripState::Searching);
    assert_eq!(first.version, 1);
    assert_eq!(first.payment_state(), PaymentState::Held);
    assert_eq!(first.pin.len(), 4);
    assert_eq!(first.fare, quote.fare);
    let again = create(&mut rita, &quote.quote_id, "k1").await.unwrap();
    assert_eq!(first, again);
    // Also when the trip has long gone on.
    cancel(&mut rita, &first.trip_id).await.unwrap();
    assert_eq!(
        create(&mut rita, &quote.quote_id, "k1").await.unwrap(),
        first
    );
    // Spelling out who one is changes nothing.
    let spelt = CreateTripRequest {
        rider_id: "rita".to_owned(),
        ..usual_request(&quote.quote_id, "k1")
    };
    assert_eq!(
        rita.create_trip(spelt)
            .await
            .unwrap()
            .into_inner()
            .trip
            .unwrap(),
        first
    );
    // Another body does.
    let other = CreateTripRequest {
        product: "economy".to_owned(),
        ..usual_request(&quote.quote_id, "k1")
    };
    assert_eq!(
        code(rita.create_trip(other).await),
        Code::IdempotencyKeyReused
    );
    // The key is the rider's own.
    let quote = city.quote("rolf").await;
    let theirs = create(&mut city.rider("rolf"), &quote.quote_id, "k1")
        .await
        .unwrap();
    assert_ne!(theirs.trip_id, first.trip_id);
    city.check().await;
}

#[tokio::test]
async fn equal_requests_at_once_make_one_trip() {
    let city = City::new().await;
    let priced_now = CreateTripRequest {
        pickup: Some(PICKUP),
        dropoff: Some(DROPOFF),
        product: "economy".to_owned(),
        ..usual_request("", "k1")
    };
    let quoted = usual_request(&city.quote("rolf").await.quote_id, "k1");
    for (rider, request) in [("rita", priced_now), ("rolf", quoted)] {
        let requests = (0..20).map(|_| {
            let (mut client, request) = (city.rider(rider), request.clone());
            tokio::spawn(async move { client.create_trip(request).await })
        });
        let answers = join_all(requests).await;
        let trips: Vec<_> = answers
            .into_iter()
            .map(|a| a.unwrap().unwrap().into_inner().trip.unwrap())
            .collect();
        assert!(
            trips.iter().all(|trip| *trip == trips[0]),
            "one answer for all"
        );
    }
    assert_eq!(city.count("SELECT count(*) FROM trip").await, 2);
    assert_eq!(city.billing.holds(HoldState::Held), 2);
    assert_eq!(city.billing.holds(HoldState::Voided), 0);
    city.check().await;
}

#[tokio::test]
async fn a_rider_has_one_live_trip_however_many_are_asked_for_at_once() {
    let city = City::new().await;
    let quote = city.quote("rita").await;
    let requests = (0..10).map(|number| {
        let (mut client, quote_id) = (city.rider("rita"), quote.quote_id.clone());
        tokio::spawn(async move { create(&mut client, &quote_id, &format!("k{number}")).await })
    });
    let answers: Vec<_> = join_all(requests)
        .await
        .into_iter()
        .map(|a| a.unwrap())
        .collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter(|answer| answer.is_err()) {
        assert_eq!(code(refused), Code::RiderHasLiveTrip);
    }
    assert_eq!(
        city.billing.holds(HoldState::Held),
        1,
        "nothing is held for the others"
    );
    city.check().await;
}

#[tokio::test]
async fn a_refusal_is_the_keys_answer() {
    let city = City::new().await;
    let quote = city.quote("poor-paul").await;
    let mut paul = city.rider("poor-paul");
    for _ in 0..2 {
        let answer = create(&mut paul, &quote.quote_id, "k1").await;
        assert_eq!(code(answer), Code::PaymentDeclined);
    }
    assert_eq!(city.count("SELECT count(*) FROM trip").await, 0);

    let live = city.searching("rita").await;
    let mut rita = city.rider("rita");
    let quote = city.quote("rita").await;
    assert_eq!(
        code(create(&mut rita, &quote.quote_id, "k1").await),
        Code::RiderHasLiveTrip
    );
    cancel(&mut rita, &live.trip_id).await.unwrap();
    assert_eq!(
        code(create(&mut rita, &quote.quote_id, "k1").await),
        Code::RiderHasLiveTrip
    );
    create(&mut rita, &quote.quote_id, "k2").await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_of_billing_loses_nothing() {
    let city = City::new().await;
    let mut rita = city.rider("rita");
    let quote = city.quote("rita").await;
    city.billing.lose_hold_answers(2);
    for _ in 0..2 {
        assert_eq!(
            code(create(&mut rita, &quote.quote_id, "k1").await),
            Code::Unavailable
        );
    }
    assert_eq!(city.billing.holds(HoldState::Held), 1);
    let trip = create(&mut rita, &quote.quote_id, "k1").await.unwrap();
    assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Held));
    assert_eq!(city.billing.holds(HoldState::Held), 1, "the same hold");
}

#[tokio::test]
async fn what_nobody_finishes_is_undone() {
    let config = Config {
        call_timeout: Duration::from_millis(250),
        hold_recovery_after: Duration::from_millis(1000),
        hold_recovery_interval: Duration::from_millis(100),
        ..quick()
    };
    let city = City::with(config).await;
    let mut rita = city.rider("rita");
    let quote = city.quote("rita").await;
    city.billing.lose_hold_answers(1);
    assert_eq!(
        code(create(&mut rita, &quote.quote_id, "k1").await),
        Code::Unavailable
    );
    assert_eq!(city.billing.holds(HoldState::Held), 1);
    eventually("the hold's release", async || {
        city.billing.holds(HoldState::Voided) == 1
    })
    .await;
    eventually("the key's release", async || {
        city.count("SELECT count(*) FROM idempotency").await == 0
    })
    .await;
    // The key may be used again, for a trip with a hold of its own.
    let trip = create(&mut rita, &quote.quote_id, "k1").await.unwrap();
    assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Held));
}

#[tokio::test]
async fn the_hold_of_a_refused_request_is_released_when_billing_is_back() {
    let config = Config {
        hold_recovery_interval: Duration::from_millis(100),
        ..quick()
    };
    let city = City::with(config).await;
    let mut rita = city.rider("rita");
    let quote = city.quote("rita").await;
    // A hold that was made, a trip that was not; meanwhile the rider asks under another key.
    city.billing.lose_hold_answers(1);
    assert_eq!(
        code(create(&mut rita, &quote.quote_id, "k1").await),
        Code::Unavailable
    );
    create(&mut rita, &quote.quote_id, "k2").await.unwrap();
    city.billing.set_away(true);
    assert_eq!(
        code(create(&mut rita, &quote.quote_id, "k1").await),
        Code::RiderHasLiveTrip
    );
    assert_eq!(city.billing.holds(HoldState::Held), 2);
    city.billing.set_away(false);
    eventually("the hold's release", async || {
        city.billing.holds(HoldState::Held) == 1
    })
    .await;
    assert_eq!(
        code(create(&mut rita, &quote.quote_id, "k1").await),
        Code::RiderHasLiveTrip
    );
}

#[tokio::test]
async fn a_quote_is_for_its_rider_its_way_and_its_time() {
    let city = City::new().await;
    let quote = city.quote("rita").await;
    let mut rita = city.rider("rita");
    let stolen = create(&mut city.rider("rolf"), &quote.quote_id, "k").await;
    assert_eq!(code(stolen), Code::NotFound);
    let unknown = create(&mut rita, "0190a000-0000-7000-8000-000000000001", "k").await;
    assert_eq!(code(unknown), Code::NotFound);
    let elsewhere = CreateTripRequest {
        pickup: Some(DROPOFF),
        ..usual_request(&quote.quote_id, "k")
    };
    assert_eq!(
        code(rita.create_trip(elsewhere).await),
        Code::InvalidRequest
    );
    let other = CreateTripRequest {
        product: "comfort".to_owned(),
        ..usual_request(&quote.quote_id, "k")
    };
    assert_eq!(code(rita.create_trip(other).await), Code::InvalidRequest);

    city.billing.set_quotes_live(Duration::ZERO);
    let expired = city.quote("rita").await;
    assert_eq!(
        code(create(&mut rita, &expired.quote_id, "k").await),
        Code::QuoteExpired
    );
    let spelt = CreateTripRequest {
        pickup: Some(Point::new(PICKUP.latitude + 1e-7, PICKUP.longitude)),
        dropoff: Some(DROPOFF),
        product: "economy".to_owned(),
        ..usual_request(&quote.quote_id, "k")
    };
    rita.create_trip(spelt).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_by_field() {
    let city = City::new().await;
    let mut rita = city.rider("rita");
    let refused = |status: tonic::Status| status.message().to_owned();
    for (request, field) in [
        (usual_request("x", "k"), "quote_id"),
        (usual_request("", ""), "idempotency_key"),
        (usual_request("", "a\nb"), "idempotency_key"),
        (usual_request("", &"k".repeat(129)), "idempotency_key"),
        (usual_request("", "k"), "pickup"),
    ] {
        let status = rita.create_trip(request).await.expect_err("a refusal");
        assert_eq!(Code::of(&status), Some(Code::InvalidRequest));
        let message = refused(status);
        assert!(message.starts_with(field), "{field}: {message}");
    }
}

#[tokio::test]
async fn an_operator_asks_for_a_rider_and_does_not_read_the_pin() {
    let city = City::new().await;
    let mut olga = city.operator();
    let way = QuoteTripRequest {
        rider_id: "rita".to_owned(),
        ..usual_way("economy")
    };
    let quote = olga
        .quote_trip(way)
        .await
        .unwrap()
        .into_inner()
        .quotes
        .remove(0);
    let nobody = usual_request(&quote.quote_id, "k1");
    assert_eq!(code(olga.create_trip(nobody).await), Code::InvalidRequest);
    let request = CreateTripRequest {
        rider_id: "rita".to_owned(),
        ..usual_request(&quote.quote_id, "k1")
    };
    let trip = olga
        .create_trip(request.clone())
        .await
        .unwrap()
        .into_inner()
        .trip
        .unwrap();
    assert_eq!((trip.rider_id.as_str(), trip.pin.as_str()), ("rita", ""));
    let again = olga
        .create_trip(request)
        .await
        .unwrap()
        .into_inner()
        .trip
        .unwrap();
    assert_eq!(again, trip);
    assert_eq!(
        get(&mut city.rider("rita"), &trip.trip_id)
            .await
            .unwrap()
            .pin
            .len(),
        4
    );
    let log = city.log(&trip.trip_id).await;
    assert_eq!(
        (log[0].actor(), log[0].actor_id.as_str()),
        (Actor::Operator, "olga")
    );
    let theirs = CreateTripRequest {
        rider_id: "rita".to_owned(),
        ..usual_request("", "k")
    };
    assert_eq!(
        code(city.rider("rolf").create_trip(theirs).await),
        Code::NotFound
    );
}
