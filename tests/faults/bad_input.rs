//! Bad input gets a precise error with the right status, and nothing is lost or changed by it.

use reqwest::Method;
use serde_json::json;

use crate::support::{City, Phone, Process, places::*, point};

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_has_its_answer() {
    let city = City::start().await;
    let anna = city.rider("anna");
    let dora = city.driver_online("dora", STATION).await;

    // Places.
    let ride =
        |from, to| json!({"pickup": point(from), "dropoff": point(to), "product": "economy"});
    let said = anna
        .post_keyed("/v1/trips", "a", ride(CASINO, SEA))
        .await
        .refused(400, "OUTSIDE_MAP");
    assert!(said.contains("dropoff"), "names the field: {said}");
    anna.post_keyed("/v1/trips", "b", ride((48.85, 2.35), PORT))
        .await
        .refused(400, "OUTSIDE_MAP");
    anna.post_keyed("/v1/trips", "c", ride((91.0, 7.42), PORT))
        .await
        .refused(400, "INVALID_REQUEST");
    let nowhere = json!({"pickup": point(CASINO), "product": "economy"});
    let said = anna
        .post_keyed("/v1/trips", "d", nowhere)
        .await
        .refused(400, "INVALID_REQUEST");
    assert!(said.contains("dropoff"), "{said}");
    let product = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "helicopter"});
    anna.post_keyed("/v1/trips", "e", product)
        .await
        .refused(400, "UNKNOWN_PRODUCT");

    // JSON.
    let send = |body: &'static str| {
        let request = anna
            .request(Method::POST, "/v1/trips")
            .header("content-type", "application/json");
        anna.send(request.header("Idempotency-Key", "f").body(body))
    };
    send("{not json").await.refused(400, "INVALID_REQUEST");
    let said = send(r#"{"pikcup": {}}"#)
        .await
        .refused(400, "INVALID_REQUEST");
    assert!(said.contains("pikcup"), "names the unknown field: {said}");
    send(r#"{"pickup": {"latitude": "north"}}"#)
        .await
        .refused(400, "INVALID_REQUEST");
    let said = anna
        .get("/v1/trips?colour=red")
        .await
        .refused(400, "INVALID_REQUEST");
    assert!(said.contains("colour"), "{said}");

    // Keys.
    anna.post("/v1/trips", ride(CASINO, PORT))
        .await
        .refused(400, "INVALID_REQUEST");
    let trip = anna
        .post_keyed("/v1/trips", "ride", ride(CASINO, PORT))
        .await
        .ok()["trip"]
        .clone();
    anna.post_keyed("/v1/trips", "ride", ride(CASINO, STATION))
        .await
        .refused(409, "IDEMPOTENCY_KEY_REUSED");
    anna.post_keyed("/v1/trips", "other", ride(CASINO, PORT))
        .await
        .refused(400, "RIDER_HAS_LIVE_TRIP");

    // Ids, and other people's.
    let path = format!("/v1/trips/{}", trip["tripId"].as_str().unwrap());
    let unknown = "/v1/trips/0190b2a4-0000-7000-8000-000000000000";
    anna.get(unknown).await.refused(404, "NOT_FOUND");
    anna.get("/v1/trips/42")
        .await
        .refused(400, "INVALID_REQUEST");
    let ben = city.rider("ben");
    ben.get(&path).await.refused(404, "NOT_FOUND");
    ben.post(&format!("{path}:cancel"), json!({}))
        .await
        .refused(404, "NOT_FOUND");
    ben.get(&format!("{path}/receipt"))
        .await
        .refused(404, "NOT_FOUND");
    ben.get("/v1/riders/anna/balance")
        .await
        .refused(404, "NOT_FOUND");
    city.driver("erik")
        .get("/v1/drivers/dora")
        .await
        .refused(404, "NOT_FOUND");
    city.driver("erik")
        .post(&format!("{path}:complete"), json!({}))
        .await
        .refused(404, "NOT_FOUND");
    let for_anna = json!({"riderId": "anna", "pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    ben.post_keyed("/v1/trips", "as-anna", for_anna)
        .await
        .refused(404, "NOT_FOUND");

    // Who one is.
    let bad_token = |token: &str| Phone::new(&city.url, "x", token.to_owned());
    for token in ["", "nonsense", "a.b.c"] {
        let answer = bad_token(token).get(&path).await;
        assert!(answer.headers.contains_key("www-authenticate"));
        answer.refused(401, "UNAUTHENTICATED");
    }
    let mut forged = anna.token.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.insert(forged.len() - 4, last);
    bad_token(&forged)
        .get(&path)
        .await
        .refused(401, "UNAUTHENTICATED");
    anna.post(&format!("{path}:complete"), json!({}))
        .await
        .refused(403, "PERMISSION_DENIED");
    anna.get("/v1/ledger:check")
        .await
        .refused(403, "PERMISSION_DENIED");

    // The order of things.
    dora.phone
        .post(&format!("{path}:start"), json!({"pin": "0000"}))
        .await
        .refused(404, "NOT_FOUND");
    anna.get("/v1/nothing-here").await.refused(404, "NOT_FOUND");
    let wrong_verb = anna.send(anna.request(Method::DELETE, &path)).await;
    assert_eq!(wrong_verb.status, 405);

    // And after all that the ride stands as it stood.
    let seen = anna.get(&path).await.ok()["trip"].clone();
    assert_eq!(
        (&seen["tripId"], &seen["fare"]),
        (&trip["tripId"], &trip["fare"])
    );
    assert_eq!(city.ledger().await["balanced"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_counted_and_locks() {
    let city = City::start().await;
    let anna = city.rider("anna");
    let mut dora = city.driver_online("dora", STATION).await;
    let trip = city.request(&anna, CASINO, PORT).await;
    let offer = dora.next("offer").await;
    dora.accept(&offer).await;
    let path = format!("/v1/trips/{}", trip["tripId"].as_str().unwrap());
    let pin = trip["pin"].as_str().unwrap();
    let wrong = if pin == "0000" { "1111" } else { "0000" };

    let start = async |pin: &str| {
        dora.phone
            .post(&format!("{path}:start"), json!({"pin": pin}))
            .await
    };
    let early = start(pin).await;
    assert_eq!(
        early.reason(),
        "ILLEGAL_TRANSITION",
        "not before the driver is there: {early:?}"
    );
    dora.phone
        .post(&format!("{path}:arrive"), json!({}))
        .await
        .ok();
    for _ in 0..5 {
        start(wrong).await.refused(403, "WRONG_PIN");
    }
    start(pin).await.refused(429, "PIN_LOCKED");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_that_cannot_be_are_refused() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", STATION).await;
    let reason =
        |receipt: &serde_json::Value| receipt["refused"][0]["reason"].as_str().map(str::to_owned);
    assert_eq!(
        reason(&dora.ping(SEA).await).as_deref(),
        Some("OUTSIDE_MAP")
    );
    assert_eq!(
        reason(&dora.ping((43.7287, 7.4153)).await).as_deref(),
        Some("JUMP")
    );
    assert_eq!(
        reason(&dora.ping((f64::MAX, 0.0)).await).as_deref(),
        Some("OUT_OF_RANGE")
    );
    let receipt = dora.ping(STATION).await;
    assert_eq!(receipt["accepted"], 1, "and the stream goes on: {receipt}");
}

#[test]
fn a_map_that_is_a_picture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("holiday.osm.pbf");
    std::fs::write(
        &picture,
        [
            &[0xff, 0xd8, 0xff, 0xe0, 0, 16],
            b"JFIF\0".as_slice(),
            &[7; 4000],
        ]
        .concat(),
    )
    .unwrap();
    for command in [["map", "import"], ["map", "info"]] {
        let output = Process::command(folder.path())
            .args(command)
            .arg(&picture)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("holiday.osm.pbf"), "names the file: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jitney.toml");
    std::fs::write(&file, "[matching]\noffer_tll = \"10s\"\n").unwrap();
    let output = Process::command(folder.path())
        .args(["config"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("offer_tll") && said.contains("jitney.toml"),
        "{said}"
    );
}
