//! Two rides on one driver: the next one, taken before the first ends, and two parties in one car.

use serde_json::{Value, json};

use crate::support::{
    City, DriverApp, Phone, assert_paid_once, eventually, places::*, point, receipt_of, trip_in,
};

/// Asks for a ride of a product for some riders and gives the trip.
async fn request(rider: &Phone, product: &str, seats: u32, ways: [(f64, f64); 2]) -> Value {
    let [from, to] = ways.map(point);
    let body = json!({"pickup": from, "dropoff": to, "product": product, "seats": seats});
    rider.post_keyed("/v1/trips", "ride", body).await.ok()["trip"].clone()
}

/// One step of a trip, as its driver.
async fn step(dora: &DriverApp, trip: &Value, verb: &str) {
    let trip_id = trip["tripId"].as_str().unwrap();
    let body = match verb {
        "start" => json!({"pin": trip["pin"]}),
        _ => json!({}),
    };
    let path = format!("/v1/trips/{trip_id}:{verb}");
    dora.phone.post(&path, body).await.ok();
}

/// What a driver is to do, in order: the kind of stop and whose.
fn stops(message: &Value) -> Vec<(String, String)> {
    let stops = message["stops"].as_array().expect("the stops");
    stops
        .iter()
        .map(|stop| {
            [&stop["kind"], &stop["tripId"]].map(|field| field.as_str().unwrap().to_owned())
        })
        .map(|[kind, trip_id]| (kind, trip_id))
        .collect()
}

fn stop(kind: &str, trip: &Value) -> (String, String) {
    let trip_id = trip["tripId"].as_str().unwrap();
    (format!("STOP_KIND_{kind}"), trip_id.to_owned())
}

/// Waits until matching has a driver in a state.
async fn driver_in(dora: &DriverApp, state: &str) -> Value {
    eventually("the driver is in the state", || async {
        let driver = dora.phone.get("/v1/drivers/dora").await.ok()["driver"].clone();
        (driver["state"] == state).then_some(driver)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_ride_is_taken_before_the_first_has_ended() {
    let city = City::start_with(|config| {
        let policies = &mut config.matching.policies;
        for policy in policies.values_mut() {
            policy.chain_ahead = std::time::Duration::from_secs(1800);
        }
    })
    .await;
    let mut dora = city.driver_online("dora", STATION).await;
    let (anna, bea) = (city.rider("anna"), city.rider("bea"));
    let first = request(&anna, "economy", 1, [CASINO, PORT]).await;
    let offer = dora.next("offer").await;
    dora.accept(&offer).await;
    dora.next("assignment").await;
    step(&dora, &first, "arrive").await;
    step(&dora, &first, "start").await;
    driver_in(&dora, "DRIVER_STATE_ON_TRIP").await;

    let next = request(&bea, "economy", 1, [PORT, FONTVIEILLE]).await;
    let offer = dora.next("offer").await;
    assert_eq!(offer["tripId"], next["tripId"]);
    assert_eq!(offer["besideTripId"], first["tripId"]);
    assert_ne!(offer["shared"], true);
    dora.accept(&offer).await;
    let assignment = dora.next("assignment").await;
    assert_eq!(assignment["besideTripId"], first["tripId"]);
    let all = [
        stop("DROPOFF", &first),
        stop("PICKUP", &next),
        stop("DROPOFF", &next),
    ];
    assert_eq!(stops(&assignment), all);

    // Not before the first has ended, whatever the app says.
    let next_id = next["tripId"].as_str().unwrap();
    let early = format!("/v1/trips/{next_id}:arrive");
    dora.phone
        .post(&early, json!({}))
        .await
        .refused(400, "DRIVER_ON_TRIP");
    step(&dora, &first, "complete").await;
    dora.next("assignmentEnded").await;
    let driver = driver_in(&dora, "DRIVER_STATE_EN_ROUTE").await;
    assert_eq!(driver["tripId"], next["tripId"]);
    for verb in ["arrive", "start", "complete"] {
        step(&dora, &next, verb).await;
    }
    driver_in(&dora, "DRIVER_STATE_IDLE").await;
    for (rider, trip) in [(&anna, &first), (&bea, &next)] {
        receipt_of(rider, trip["tripId"].as_str().unwrap()).await;
    }
    assert_paid_once(&city.operator(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parties_share_a_car_and_each_pays_its_own_fare() {
    let city = City::start().await;
    let mut dora = DriverApp::connect(&city.driver("dora")).await;
    dora.go_online(STATION, &["shared"]).await;
    let (anna, bea, cleo) = (city.rider("anna"), city.rider("bea"), city.rider("cleo"));
    let first = request(&anna, "shared", 2, [STATION, FONTVIEILLE]).await;
    assert_eq!(first["seats"], 2);
    let offer = dora.next("offer").await;
    assert_eq!(offer["seats"], 2);
    dora.accept(&offer).await;
    dora.next("assignment").await;
    step(&dora, &first, "arrive").await;
    step(&dora, &first, "start").await;
    driver_in(&dora, "DRIVER_STATE_ON_TRIP").await;

    // Three more do not fit into four seats; one does.
    let crowd = request(&cleo, "shared", 3, [PORT, FONTVIEILLE]).await;
    let second = request(&bea, "shared", 1, [PORT, FONTVIEILLE]).await;
    let offer = dora.next("offer").await;
    assert_eq!(offer["tripId"], second["tripId"]);
    assert_eq!(offer["besideTripId"], first["tripId"]);
    assert_eq!(offer["shared"], true);
    dora.accept(&offer).await;
    let assignment = dora.next("assignment").await;
    assert_eq!(assignment["shared"], true);
    assert_eq!(stops(&assignment)[0], stop("PICKUP", &second));

    // Bea gets in while Anna is on board, and matching keeps two parties apart.
    step(&dora, &second, "arrive").await;
    step(&dora, &second, "start").await;
    let driver = eventually("both are on board", || async {
        let driver = driver_in(&dora, "DRIVER_STATE_ON_TRIP").await;
        let left = driver["stops"].as_array()?.len();
        (left == 2).then_some(driver)
    })
    .await;
    let mut both = [&driver["tripId"], &driver["secondTripId"]];
    both.sort_by_key(|id| id.as_str().map(str::to_owned));
    let mut expected = [&first["tripId"], &second["tripId"]];
    expected.sort_by_key(|id| id.as_str().map(str::to_owned));
    assert_eq!(both, expected);
    step(&dora, &second, "complete").await;
    step(&dora, &first, "complete").await;

    // With the car empty the crowd has its turn.
    let offer = dora.next("offer").await;
    assert_eq!(offer["tripId"], crowd["tripId"]);
    assert_eq!(offer["besideTripId"].as_str().unwrap_or_default(), "");
    for (rider, trip) in [(&anna, &first), (&bea, &second)] {
        let trip_id = trip["tripId"].as_str().unwrap();
        trip_in(rider, trip_id, "TRIP_STATE_COMPLETED").await;
        let receipt = receipt_of(rider, trip_id).await;
        assert_eq!(receipt["total"], trip["fare"]);
    }
    assert_eq!(city.ledger().await["balanced"], true);
}
