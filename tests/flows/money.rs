//! What a ride costs and who gets it, over REST: by card and in cash, with a promotion, a tip, a refund, a
//! payout, and tables of it all.

use jitney_billing::{place::Circle, surcharge::TollGate};
use jitney_platform::auth::Role;
use serde_json::{Value, json};

use crate::support::{City, DriverApp, Phone, eventually, places::*, point, receipt_of};

fn minor(money: &Value) -> i64 {
    let minor = money["minorUnits"].as_str();
    minor.and_then(|minor| minor.parse().ok()).unwrap()
}

fn euros(minor_units: i64) -> Value {
    json!({"currencyCode": "EUR", "minorUnits": minor_units.to_string()})
}

/// Asks for a ride, paid by that means.
async fn ask(rider: &Phone, key: &str, method: &str) -> Value {
    let wish = json!({
        "pickup": point(CASINO), "dropoff": point(PORT), "product": "economy",
        "paymentMethod": method,
    });
    rider.post_keyed("/v1/trips", key, wish).await.ok()["trip"].clone()
}

/// Drives a ride to its end, and gives the receipt as the driver sees it.
async fn drive(driver: &mut DriverApp, trip: &Value) -> Value {
    let trip_id = trip["tripId"].as_str().unwrap();
    let offer = driver.next("offer").await;
    assert_eq!(offer["tripId"], trip_id);
    driver.accept(&offer).await;
    let assignment = driver.next("assignment").await;
    driver.acknowledge(&assignment["seq"]).await;
    driver.drive(trip_id, trip["pin"].as_str().unwrap()).await;
    receipt_of(&driver.phone, trip_id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toll_on_the_way_is_the_drivers_who_pays_it() {
    let city = City::start_with(|config| {
        let area = Circle {
            latitude: PORT.0,
            longitude: PORT.1,
            radius_m: 80.0,
        };
        config.billing.tariffs[0].tolls = vec![TollGate {
            id: "port".to_owned(),
            area,
            toll_minor: 310,
        }];
    })
    .await;
    let mut dora = city.driver_online("dora", STATION).await;
    let anna = city.rider("anna");
    let trip = ask(&anna, "toll", "PAYMENT_METHOD_CARD").await;
    drive(&mut dora, &trip).await;
    let receipt = receipt_of(&city.operator(), trip["tripId"].as_str().unwrap()).await;
    let lines = receipt["lines"].as_array().unwrap();
    let toll = lines
        .iter()
        .find(|line| line["kind"] == "FARE_LINE_KIND_TOLL");
    assert_eq!(
        toll.map(|line| minor(&line["amount"])),
        Some(310),
        "{receipt}"
    );
    assert_eq!(receipt["total"], trip["fare"]);
    let sum: i64 = lines.iter().map(|line| minor(&line["amount"])).sum();
    assert_eq!(sum, minor(&receipt["total"]));
    // The platform has its fee and a fifth of the ride itself; of the toll it has nothing.
    let of = |kinds: &[&str]| -> i64 {
        let own = lines
            .iter()
            .filter(|line| kinds.contains(&line["kind"].as_str().unwrap()));
        own.map(|line| minor(&line["amount"])).sum()
    };
    let fee = of(&["FARE_LINE_KIND_BOOKING_FEE"]);
    let tax = of(&["FARE_LINE_KIND_TAX"]);
    let ride = sum - fee - tax - 310;
    let platforms = minor(&receipt["platformShare"]) - fee;
    assert!((5 * platforms - ride).abs() <= 5, "{platforms} of {ride}");
    assert_eq!(minor(&receipt["driverShare"]), ride - platforms + 310);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_where_it_should() {
    let city = City::start().await;
    let (anna, olga) = (city.rider("anna"), city.phone(Role::Operator, "olga"));
    let mut dora = city.driver_online("dora", STATION).await;

    let terms = json!({
        "percent": 50, "cap": euros(100), "ridesPerRider": 1,
        "validFrom": "2020-01-01T00:00:00Z", "validTo": "2999-01-01T00:00:00Z",
    });
    let promotion = olga.put("/v1/promotions/welcome", terms).await.ok();
    assert_eq!(promotion["promotion"]["percent"], 50);
    let trip = ask(&anna, "ride-1", "PAYMENT_METHOD_CARD").await;
    let trip_id = trip["tripId"].as_str().unwrap().to_owned();
    let path = |verb: &str| format!("/v1/trips/{trip_id}:{verb}");
    let code = json!({"code": "welcome"});
    let applied = anna.post(&path("promotion"), code).await.ok();
    assert_eq!(
        (minor(&applied["off"]), &applied["code"]),
        (100, &json!("WELCOME"))
    );
    let receipt = drive(&mut dora, &trip).await;
    assert_eq!(minor(&receipt["total"]), minor(&trip["fare"]) - 100);
    let share = minor(&receipt["driverShare"]);

    let tip = json!({"amount": euros(70)});
    let tipped = anna
        .post_keyed(&path("tip"), "tip-1", tip.clone())
        .await
        .ok();
    assert_eq!(minor(&tipped["tips"]), 70);
    let again = anna
        .post_keyed(&path("tip"), "tip-1", tip.clone())
        .await
        .ok();
    assert_eq!(again, tipped);
    let mallory = city.rider("mallory");
    let answer = mallory.post_keyed(&path("tip"), "tip-1", tip).await;
    answer.refused(404, "NOT_FOUND");
    let refund = json!({"amount": euros(50), "reason": "a detour"});
    let refused = anna
        .post_keyed(&path("refund"), "r-1", refund.clone())
        .await;
    refused.refused(403, "PERMISSION_DENIED");
    let given = olga.post_keyed(&path("refund"), "r-1", refund).await.ok();
    assert_eq!(minor(&given["refund"]["amount"]), 50);
    let seen = receipt_of(&anna, &trip_id).await;
    assert_eq!(seen["paymentState"], "PAYMENT_STATE_PARTIALLY_REFUNDED");
    assert_eq!(seen["refunds"][0]["reason"], "a detour");
    let of_share = minor(&given["refund"]["driverShare"]);
    let owed = share + 70 - of_share;
    let balance = dora.phone.get("/v1/drivers/dora/balance").await.ok();
    assert_eq!(minor(&balance["balances"][0]), owed);

    // The next one in cash: Dora keeps it, and owes what is not hers.
    let trip = ask(&anna, "ride-2", "PAYMENT_METHOD_CASH").await;
    let receipt = drive(&mut dora, &trip).await;
    assert_eq!(receipt["cash"], trip["fare"]);
    let due = minor(&trip["fare"]) - minor(&receipt["driverShare"]);
    let balance = dora.phone.get("/v1/drivers/dora/balance").await.ok();
    assert_eq!(minor(&balance["cashDues"][0]), due);
    assert_eq!(minor(&balance["balances"][0]), owed - due);

    let payouts = "/v1/drivers/dora/payouts";
    let payout = olga.post_keyed(payouts, "p-1", json!({})).await.ok()["payout"].clone();
    assert_eq!(
        (minor(&payout["amount"]), minor(&payout["dues"])),
        (owed - due, due)
    );
    let name = payout["payoutId"].as_str().unwrap();
    let finish = format!("{payouts}/{name}:finish");
    olga.post(&finish, json!({})).await.ok();
    let list = dora.phone.get(payouts).await.ok();
    assert_eq!(list["payouts"][0]["state"], "PAYOUT_STATE_SETTLED");

    // The books, for Dora alone.
    let postings = dora
        .phone
        .get("/v1/drivers/dora/postings?pageSize=1")
        .await
        .ok();
    let (first, next) = (&postings["postings"][0], &postings["nextPageToken"]);
    assert!(
        first["kind"].as_str().unwrap().starts_with("ENTRY_KIND_"),
        "{first}"
    );
    assert_ne!(next, "");
    let month = payout["createdAt"].as_str().unwrap()[..7].to_owned();
    let statement = format!("/v1/drivers/dora/statements/{month}");
    let months = dora.phone.get(&statement).await.ok()["statement"].clone();
    assert_eq!(minor(&months["closing"]), 0);
    assert_eq!(minor(&months["payouts"]), due - owed);
    let request = dora
        .phone
        .request(reqwest::Method::GET, &format!("{statement}:document"));
    let file = request.send().await.unwrap();
    let header = |name: &str| file.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/csv; charset=utf-8");
    assert!(header("content-disposition").contains(&format!("statement-dora-{month}.csv")));
    let table = file.text().await.unwrap();
    assert!(
        table.contains("PAYOUT,") && table.contains("CLOSING_BALANCE,"),
        "{table}"
    );
    let other = city.phone(Role::Driver, "other");
    other.get(&statement).await.refused(404, "NOT_FOUND");
    let ledger = city.ledger().await;
    assert_eq!(ledger["balanced"], true, "{ledger}");
}

/// Waits until the rider sees the payment of their ride there.
async fn payment_is(rider: &Phone, trip_id: &str, state: &str) {
    eventually("the trip follows the money", || async {
        let request = rider.request(reqwest::Method::GET, &format!("/v1/trips/{trip_id}"));
        let answer = rider.try_send(request).await.ok()?;
        (answer.body["trip"]["paymentState"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_seen_on_the_trip() {
    let mut city = City::start().await;
    let anna = city.rider("anna");
    let mut dora = city.driver_online("dora", STATION).await;
    let trip = ask(&anna, "ride-1", "PAYMENT_METHOD_CARD").await;
    let trip_id = trip["tripId"].as_str().unwrap().to_owned();
    assert_eq!(trip["paymentState"], "PAYMENT_STATE_HELD");
    drive(&mut dora, &trip).await;
    payment_is(&anna, &trip_id, "PAYMENT_STATE_CAPTURED").await;
    let refund = format!("/v1/trips/{trip_id}:refund");
    let part = json!({"amount": euros(50), "reason": "a detour"});
    let olga = city.phone(Role::Operator, "olga");
    olga.post_keyed(&refund, "r-1", part).await.ok();
    payment_is(&anna, &trip_id, "PAYMENT_STATE_PARTIALLY_REFUNDED").await;

    // Given back as the city goes down: it is told before that, or after.
    let rest = json!({"reason": "and a breakdown"});
    olga.post_keyed(&refund, "r-2", rest).await.ok();
    city.restart().await;
    let anna = city.rider("anna");
    payment_is(&anna, &trip_id, "PAYMENT_STATE_REFUNDED").await;
    let ledger = city.ledger().await;
    assert_eq!(ledger["balanced"], true, "{ledger}");
}
