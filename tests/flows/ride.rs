//! One ride, from the quote to the receipt, and the ways it can be called off.

use std::time::{Duration, Instant};

use eventsource_stream::Eventsource;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::support::{
    City, DriverApp, assert_paid_once, eventually, places::*, point, receipt_of, trip_in,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_ride_from_quote_to_receipt() {
    let city = City::start().await;
    let anna = city.rider("anna");
    let mut near = city.driver_online("near", STATION).await;
    let _far = city.driver_online("far", FONTVIEILLE).await;

    let places = json!({"pickup": point(CASINO), "dropoff": point(PORT)});
    let quotes = anna.post("/v1/quotes", places.clone()).await.ok();
    let quotes = quotes["quotes"].as_array().unwrap();
    let mut products: Vec<_> = quotes
        .iter()
        .map(|quote| quote["product"].as_str().unwrap())
        .collect();
    products.sort_unstable();
    assert_eq!(products, ["comfort", "economy", "shared", "van"]);
    let quote = quotes
        .iter()
        .find(|quote| quote["product"] == "economy")
        .expect("economy is quoted");
    let total: i64 = minor(&quote["fare"]);
    let lines: i64 = quote["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| minor(&line["amount"]))
        .sum();
    assert_eq!(lines, total, "I7: the lines sum to the fare");
    assert!(
        quote["pickupEtaMs"].as_str().is_some(),
        "a driver is near: {quote}"
    );

    let created = anna
        .post_keyed("/v1/trips", "ride-1", json!({"quoteId": quote["quoteId"]}))
        .await
        .ok()["trip"]
        .clone();
    let trip_id = created["tripId"].as_str().unwrap().to_owned();
    let pin = created["pin"].as_str().unwrap().to_owned();
    assert_eq!(created["fare"], quote["fare"], "the up-front price holds");

    let mut watch = anna
        .stream(&format!("/v1/trips/{trip_id}:watch"))
        .await
        .bytes_stream()
        .eventsource();

    let offer = near.next("offer").await;
    assert_eq!(
        offer["tripId"],
        trip_id.as_str(),
        "the nearest by road time is asked first"
    );
    assert_eq!(offer["fare"], quote["fare"]);
    let accepted = near.accept(&offer).await;
    assert_eq!(accepted["state"], "TRIP_STATE_ASSIGNED");
    assert!(
        accepted.get("pin").is_none_or(|pin| pin == ""),
        "the driver must not see the PIN"
    );
    let assignment = near.next("assignment").await;
    assert_eq!(assignment["tripId"], trip_id.as_str());
    near.acknowledge(&assignment["seq"]).await;

    near.ping(STATION).await;
    let done = near.drive(&trip_id, &pin).await;
    assert_eq!(done["state"], "TRIP_STATE_COMPLETED");

    // The rider saw every state, the car, and the end of the stream.
    let (mut states, mut positions) = (Vec::new(), 0);
    while let Some(event) = watch.next().await {
        let event = event.unwrap();
        let message: Value = serde_json::from_str(&event.data).unwrap();
        match event.event.as_str() {
            "trip" => states.push(message["trip"]["state"].as_str().unwrap().to_owned()),
            "driverPosition" => positions += 1,
            "end" => assert_eq!(message["reason"], "COMPLETE", "{message}"),
            other => panic!("{other}: {message}"),
        }
    }
    assert_eq!(states.last().unwrap(), "TRIP_STATE_COMPLETED", "{states:?}");
    assert!(
        states.contains(&"TRIP_STATE_ASSIGNED".to_owned()),
        "{states:?}"
    );
    assert!(positions > 0, "the rider sees the car");

    let receipt = receipt_of(&anna, &trip_id).await;
    assert_eq!(minor(&receipt["total"]), total);
    assert!(
        receipt["driverShare"].is_null(),
        "riders do not see the driver's share"
    );
    let share = near
        .phone
        .get(&format!("/v1/trips/{trip_id}/receipt"))
        .await
        .ok()["receipt"]["driverShare"]
        .clone();
    let owed = near.phone.get("/v1/drivers/near/balance").await.ok()["balances"][0].clone();
    assert_eq!(owed, share, "the driver is owed the share");
    assert_paid_once(&city.operator(), 1).await;

    // The driver is free for the next ride.
    eventually("the driver is idle again", || async {
        let driver = near.phone.get("/v1/drivers/near").await.ok()["driver"].clone();
        (driver["state"] == "DRIVER_STATE_IDLE").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_offer_goes_to_the_next_driver() {
    let city = City::start().await;
    let mut near = city.driver_online("near", CASINO).await;
    let mut far = city.driver_online("far", FONTVIEILLE).await;
    let anna = city.rider("anna");
    let trip = city.request(&anna, CASINO, PORT).await;

    let first = near.next("offer").await;
    near.answer(&first, "decline").await.ok();
    let second = far.next("offer").await;
    assert_eq!(second["tripId"], trip["tripId"]);
    assert_ne!(second["offerId"], first["offerId"]);
    near.answer(&first, "accept")
        .await
        .refused(400, "OFFER_NOT_OPEN");
    assert_eq!(far.accept(&second).await["state"], "TRIP_STATE_ASSIGNED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_nobody_answers_goes_to_the_next_driver() {
    let city = City::start_with(|config| {
        config.matching.offer_ttl = Duration::from_millis(400);
        config.matching.offer_grace = Duration::from_millis(100);
    })
    .await;
    let mut near = city.driver_online("near", CASINO).await;
    let mut far = city.driver_online("far", FONTVIEILLE).await;
    let anna = city.rider("anna");
    city.request(&anna, CASINO, PORT).await;

    let first = near.next("offer").await;
    let withdrawn = near.next("offerWithdrawn").await;
    assert_eq!(withdrawn["offerId"], first["offerId"]);
    let second = far.next("offer").await;
    near.answer(&first, "accept")
        .await
        .refused(400, "OFFER_NOT_OPEN");
    far.accept(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_calls_it_off_and_the_hold_is_released() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", STATION).await;
    let anna = city.rider("anna");
    let trip = city.request(&anna, CASINO, PORT).await;
    let trip_id = trip["tripId"].as_str().unwrap();
    let offer = dora.next("offer").await;
    dora.accept(&offer).await;

    let cancel = format!("/v1/trips/{trip_id}:cancel");
    let cancelled = anna
        .post(&cancel, json!({"reason": "changed my mind"}))
        .await
        .ok()["trip"]
        .clone();
    assert_eq!(cancelled["state"], "TRIP_STATE_CANCELLED");
    assert_eq!(cancelled["cancelledBy"], "ACTOR_RIDER");
    anna.post(&cancel, json!({})).await.ok();
    let ended = dora.next("assignmentEnded").await;
    assert_eq!(ended["tripId"], trip_id);
    eventually("the hold is released", || async {
        let trip = anna.get(&format!("/v1/trips/{trip_id}")).await.ok()["trip"].clone();
        (trip["paymentState"] == "PAYMENT_STATE_VOIDED").then_some(())
    })
    .await;
    dora.answer(&offer, "accept")
        .await
        .refused(400, "OFFER_NOT_OPEN");
    assert_eq!(city.ledger().await["entries"], "0");

    // Both are free for another ride.
    let again = anna
        .post_keyed(
            "/v1/trips",
            "again",
            json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"}),
        )
        .await
        .ok();
    assert_eq!(dora.next("offer").await["tripId"], again["trip"]["tripId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_goes_elsewhere_while_a_driver_is_asked() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", STATION).await;
    let anna = city.rider("anna");
    let trip = city.request(&anna, CASINO, PORT).await;
    let trip_id = trip["tripId"].as_str().unwrap();
    let first = dora.next("offer").await;

    let edited = anna
        .post(
            &format!("/v1/trips/{trip_id}:editDestination"),
            json!({"dropoff": point(FONTVIEILLE)}),
        )
        .await
        .ok()["trip"]
        .clone();
    assert_eq!(edited["state"], "TRIP_STATE_SEARCHING");
    assert_ne!(edited["dropoff"], trip["dropoff"]);
    let withdrawn = dora.next("offerWithdrawn").await;
    assert_eq!(withdrawn["offerId"], first["offerId"]);
    // Whatever was offered in the moment before matching was asked anew is withdrawn too.
    let offer = loop {
        let offer = dora.next("offer").await;
        if offer["dropoff"] == edited["dropoff"] {
            break offer;
        }
    };
    assert_eq!(offer["fare"], edited["fare"]);
    dora.accept(&offer).await;
    dora.drive(trip_id, trip["pin"].as_str().unwrap()).await;
    let receipt = receipt_of(&anna, trip_id).await;
    assert_eq!(receipt["total"], edited["fare"]);
    assert_paid_once(&city.operator(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ride_that_goes_on_for_longer_than_its_hold_is_paid() {
    let validity = Duration::from_secs(4);
    let city = City::start_with(|config| {
        config.billing.hold_validity = validity;
        config.billing.lapse_interval = Duration::from_millis(100);
        config.trips.timers.renew_after = Duration::from_millis(500);
        config.trips.timers.poll_interval = Duration::from_millis(100);
    })
    .await;
    let mut dora = city.driver_online("dora", STATION).await;
    let anna = city.rider("anna");
    let trip = city.request(&anna, CASINO, PORT).await;
    let offer = dora.next("offer").await;
    dora.accept(&offer).await;
    let begun = Instant::now();
    eventually("the first hold would be over", || async {
        (begun.elapsed() > validity + Duration::from_secs(1)).then_some(())
    })
    .await;
    let trip_id = trip["tripId"].as_str().unwrap();
    dora.drive(trip_id, trip["pin"].as_str().unwrap()).await;
    let receipt = receipt_of(&anna, trip_id).await;
    assert_eq!(receipt["total"], trip["fare"]);
    assert_paid_once(&city.operator(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_gives_it_back_and_another_gets_it() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", CASINO).await;
    let anna = city.rider("anna");
    let trip = city.request(&anna, CASINO, PORT).await;
    let trip_id = trip["tripId"].as_str().unwrap();
    let offer = dora.next("offer").await;
    dora.accept(&offer).await;

    let back = dora
        .phone
        .post(
            &format!("/v1/trips/{trip_id}:cancel"),
            json!({"reason": "flat tyre"}),
        )
        .await
        .ok();
    assert_eq!(back["trip"]["state"], "TRIP_STATE_SEARCHING");
    let mut erik = city.driver_online("erik", FONTVIEILLE).await;
    let offer = erik.next("offer").await;
    assert_eq!(
        offer["tripId"], trip_id,
        "the one who gave it back is not asked again"
    );
    erik.accept(&offer).await;
    erik.drive(trip_id, trip["pin"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_ends_the_search_and_releases_the_hold() {
    let city = City::start_with(|config| {
        config.trips.search_timeout = Duration::from_millis(500);
    })
    .await;
    let anna = city.rider("anna");
    let trip = city.request(&anna, CASINO, PORT).await;
    let ended = trip_in(
        &anna,
        trip["tripId"].as_str().unwrap(),
        "TRIP_STATE_EXPIRED",
    )
    .await;
    assert_ne!(ended["endReason"], "", "it says why");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_driver_gets_the_ride() {
    let city = City::start().await;
    let mut near = city.driver_online("near", STATION).await;
    let anna = city.rider("anna");
    let body = json!({"pickup": point(CASINO), "product": "economy"});
    let matched = anna.post("/match-driver", body.clone()).await.ok();
    assert_eq!(matched["driverId"], "near");
    let eta: i64 = matched["etaSeconds"].as_str().unwrap().parse().unwrap();
    assert!(eta > 0, "{matched}");
    assert_eq!(matched["driver_id"], "near", "the classic shape as well");
    assert_eq!(matched["eta"], eta, "a plain number: {matched}");
    city.rider("ben")
        .post("/match-driver", body)
        .await
        .refused(503, "NO_DRIVER");

    let trip = anna
        .post_keyed(
            "/v1/trips",
            "reserved",
            json!({
                "pickup": point(CASINO), "dropoff": point(PORT), "product": "economy",
                "reservationId": matched["reservationId"],
            }),
        )
        .await
        .ok()["trip"]
        .clone();
    assert_eq!(near.next("offer").await["tripId"], trip["tripId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn products_choose_their_drivers() {
    let city = City::start().await;
    let mut van = DriverApp::connect(&city.driver("van")).await;
    van.go_online(FONTVIEILLE, &["van"]).await;
    let mut car = city.driver_online("car", CASINO).await;
    let anna = city.rider("anna");
    let trip = anna
        .post_keyed(
            "/v1/trips",
            "van",
            json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "van"}),
        )
        .await
        .ok()["trip"]
        .clone();
    assert_eq!(
        van.next("offer").await["tripId"],
        trip["tripId"],
        "the van, though farther away"
    );
    let ben = city.rider("ben");
    let ride = city.request(&ben, CASINO, PORT).await;
    assert_eq!(car.next("offer").await["tripId"], ride["tripId"]);
}

fn minor(money: &Value) -> i64 {
    assert_eq!(money["currencyCode"], "EUR", "{money}");
    money["minorUnits"].as_str().unwrap().parse().unwrap()
}
