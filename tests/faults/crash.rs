//! `kill -9` in mid-ride: what was acknowledged is still there, and the ride goes on to its receipt.

use serde_json::{Value, json};

use crate::support::{
    DriverApp, Phone, Process, assert_paid_once, eventually, places::*, point, receipt_of,
};

/// Reconnects a driver app until the program is back.
async fn reconnect(phone: &Phone, hello: Value) -> DriverApp {
    eventually("the driver reconnects", || async {
        DriverApp::try_connect(phone, hello.clone()).await.ok()
    })
    .await
}

async fn get(phone: &Phone, path: &str) -> Value {
    eventually("the program answers", || async {
        let answer = phone
            .try_send(phone.request(reqwest::Method::GET, path))
            .await
            .ok()?;
        answer.status.is_success().then_some(answer.body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_ride_the_ride_goes_on_to_its_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let program = Process::serve_all(folder.path(), None);
    let at = program.gateway;
    let (anna, dora, ops) = (
        program.phone("rider", "anna"),
        program.phone("driver", "dora"),
        program.phone("operator", "ops"),
    );
    let mut app = DriverApp::connect(&dora).await;
    app.go_online(STATION, &["economy"]).await;
    let body = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    let trip = anna
        .post_keyed("/v1/trips", "ride", body.clone())
        .await
        .ok()["trip"]
        .clone();
    let trip_id = trip["tripId"].as_str().unwrap().to_owned();
    let path = format!("/v1/trips/{trip_id}");

    // Killed with an offer open: the driver is offered the ride again and takes it.
    let offer = app.next("offer").await;
    assert_eq!(offer["tripId"], trip_id.as_str());
    program.kill();
    let program = Process::serve_all(folder.path(), Some(at));
    let repeated = anna.post_keyed("/v1/trips", "ride", body).await.ok()["trip"].clone();
    assert_eq!(
        repeated["tripId"],
        trip_id.as_str(),
        "the key is remembered"
    );
    assert_eq!(repeated["fare"], trip["fare"]);
    let session = app.welcome["sessionId"].clone();
    let mut app = reconnect(&dora, json!({"resumeSessionId": session})).await;
    app.ping(STATION).await;
    let accepted = loop {
        // The offer of before may come again first; then the one after it counts.
        let offer = app.next("offer").await;
        let answer = app.answer(&offer, "accept").await;
        if answer.status.is_success() {
            break answer.body;
        }
        // Killed before it was recorded, the offer never was.
        assert!(
            ["OFFER_NOT_OPEN", "NOT_FOUND"].contains(&answer.reason()),
            "{answer:?}"
        );
    };
    assert_eq!(accepted["trip"]["state"], "TRIP_STATE_ASSIGNED");

    // Killed right after the accept: the driver's app, started anew, learns of the ride.
    program.kill();
    let program = Process::serve_all(folder.path(), Some(at));
    let mut app = reconnect(&dora, json!({})).await;
    assert_eq!(app.next("assignment").await["tripId"], trip_id.as_str());
    let driver = get(&dora, "/v1/drivers/dora").await["driver"].clone();
    assert_eq!(
        (&driver["tripId"], &driver["state"]),
        (&json!(trip_id), &json!("DRIVER_STATE_EN_ROUTE"))
    );
    let seen = get(&anna, &path).await["trip"].clone();
    assert_eq!(seen["state"], "TRIP_STATE_ASSIGNED");
    assert_eq!(seen["paymentState"], "PAYMENT_STATE_HELD");
    assert_eq!(seen["driver"]["driverId"], "dora");

    // Killed right after the ride ended: the fare is captured once all the same.
    app.drive(&trip_id, seen["pin"].as_str().unwrap()).await;
    program.kill();
    let program = Process::serve_all(folder.path(), Some(at));
    let receipt = receipt_of(&anna, &trip_id).await;
    assert_eq!(receipt["total"], trip["fare"]);
    assert_paid_once(&ops, 1).await;
    eventually("the driver is idle again", || async {
        (get(&dora, "/v1/drivers/dora").await["driver"]["state"] == "DRIVER_STATE_IDLE")
            .then_some(())
    })
    .await;

    // Killed right after it was given back: the trip hears of it once somebody can tell.
    let refund = json!({"reason": "it took so long"});
    let refund = ops.post_keyed(&format!("{path}:refund"), "r", refund).await;
    refund.ok();
    program.kill();
    let program = Process::serve_all(folder.path(), Some(at));
    eventually("the trip follows the money", || async {
        let trip = get(&anna, &path).await["trip"].clone();
        (trip["paymentState"] == "PAYMENT_STATE_REFUNDED").then_some(())
    })
    .await;

    assert!(
        program.terminate().success(),
        "SIGTERM drains and exits cleanly"
    );
}

#[test]
fn two_programs_on_one_data_folder_or_port_are_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let program = Process::serve_all(folder.path(), None);
    let serve = |folder: &std::path::Path, gateway: &str| {
        Process::command(folder)
            .args(["serve", "all"])
            .env("JITNEY_LISTEN__GATEWAY", gateway)
            .env("JITNEY_LISTEN__MATCHING", "127.0.0.1:0")
            .env("JITNEY_LISTEN__TRIPS", "127.0.0.1:0")
            .env("JITNEY_LISTEN__BILLING", "127.0.0.1:0")
            .output()
            .unwrap()
    };
    let same_folder = serve(folder.path(), "127.0.0.1:0");
    assert!(!same_folder.status.success());
    let said = String::from_utf8_lossy(&same_folder.stderr).into_owned();
    assert!(
        said.contains("another jitney") && said.contains("stop it"),
        "{said}"
    );

    let other = tempfile::tempdir().unwrap();
    let same_port = serve(other.path(), &program.gateway.to_string());
    assert!(!same_port.status.success());
    let said = String::from_utf8_lossy(&same_port.stderr).into_owned();
    assert!(
        said.contains(&program.gateway.port().to_string()) && said.contains("gateway"),
        "{said}"
    );
}

#[test]
fn without_postgres_the_error_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let output = Process::command(folder.path())
        .args(["serve", "billing"])
        .env("JITNEY_LISTEN__BILLING", "127.0.0.1:0")
        .env("JITNEY_POSTGRES_BINARIES", "/nonexistent")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("/nonexistent/postgres is not there"),
        "{said}"
    );
}
