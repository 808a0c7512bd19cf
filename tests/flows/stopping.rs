//! Stopping is a feature: what was acknowledged is there after the next start, open calls finish,
//! phones are told.

use serde_json::json;

use crate::support::{City, DriverApp, places::*, point};

#[tokio::test(flavor = "multi_thread")]
async fn a_city_stopped_in_mid_ride_goes_on_where_it_was() {
    let mut city = City::start().await;
    let anna = city.rider("anna");
    let mut dora = city.driver_online("dora", STATION).await;
    let trip = city.request(&anna, CASINO, PORT).await;
    let trip_id = trip["tripId"].as_str().unwrap().to_owned();
    let offer = dora.next("offer").await;
    dora.accept(&offer).await;
    dora.next("assignment").await;
    let watch = anna.stream(&format!("/v1/trips/{trip_id}:watch")).await;

    city.restart().await;
    let said = watch.text().await.expect("the stream was ended, not cut");
    assert!(
        said.contains("event: end") && said.contains("DRAINING"),
        "{said}"
    );

    let app = DriverApp::connect(&city.driver("dora")).await;
    assert_eq!(
        app.welcome["driver"]["tripId"],
        trip_id.as_str(),
        "{}",
        app.welcome
    );
    assert_eq!(app.welcome["driver"]["state"], "DRIVER_STATE_EN_ROUTE");
    let done = app.drive(&trip_id, trip["pin"].as_str().unwrap()).await;
    assert_eq!(done["state"], "TRIP_STATE_COMPLETED");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_lives_on_rest_beside_the_stream() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", STATION).await;
    let availability = "/v1/drivers/dora/availability";
    dora.phone
        .put(availability, json!({"available": false}))
        .await
        .ok();
    let seen = dora.phone.get("/v1/drivers/dora").await.ok()["driver"].clone();
    assert_eq!(seen["state"], "DRIVER_STATE_OFFLINE");
    let nearby = format!(
        "/v1/drivers:nearby?location.latitude={}&location.longitude={}",
        CASINO.0, CASINO.1
    );
    let found = city.rider("anna").get(&nearby).await.ok();
    assert_eq!(found["drivers"], json!([]), "off shift is out of sight");
    dora.phone
        .put(availability, json!({"available": true}))
        .await
        .ok();
    let found = city.operator().get(&nearby).await.ok();
    assert_eq!(
        found["drivers"][0]["driverId"], "dora",
        "as it was before, with its products"
    );
    let seen = city.rider("anna").get(&nearby).await.ok()["drivers"][0].clone();
    assert_ne!(seen["driverId"], "dora", "riders see an alias");
    assert_ne!(seen["location"], point(STATION), "and a blurred position");
    dora.ping(STATION).await;
}
