//! I1: a driver is on at most one live trip, a trip has at most one driver, whatever happens at once.

use std::collections::{HashMap, HashSet};

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::Row;

use crate::support::{City, DriverApp, assert_paid_once, eventually, places::*, point, receipt_of};

const LIVE: [&str; 3] = [
    "TRIP_STATE_ASSIGNED",
    "TRIP_STATE_DRIVER_ARRIVED",
    "TRIP_STATE_IN_PROGRESS",
];

/// Every trip, page by page, as the operator sees them.
async fn all_trips(city: &City) -> Vec<Value> {
    let (ops, mut trips, mut token) = (city.operator(), Vec::new(), String::new());
    loop {
        let page = ops
            .get(&format!("/v1/trips?pageSize=100&pageToken={token}"))
            .await
            .ok();
        trips.extend(page["trips"].as_array().cloned().unwrap_or_default());
        token = page["nextPageToken"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            return trips;
        }
    }
}

/// The promise itself: no driver has two live trips, and the claims in the database are those of the
/// live trips, one for one.
/// Offers on top of rides are not made here: no driver looked ahead for, no shared product.
async fn assert_nobody_has_two(city: &City) {
    let mut holder = HashMap::new();
    for trip in all_trips(city).await {
        if LIVE.contains(&trip["state"].as_str().unwrap_or_default()) {
            let driver = trip["driver"]["driverId"]
                .as_str()
                .expect("a live trip has a driver")
                .to_owned();
            let trip_id = trip["tripId"].as_str().unwrap().to_owned();
            if let Some(other) = holder.insert(driver.clone(), trip_id.clone()) {
                panic!("{driver} is on {other} and on {trip_id}");
            }
        }
    }
    let claims: Vec<(String, String)> =
        sqlx::query_as("SELECT driver_id, trip_id::text FROM driver_claims")
            .fetch_all(&trips_pool(city).await)
            .await
            .unwrap();
    assert_eq!(claims.into_iter().collect::<HashMap<_, _>>(), holder);
}

/// The database of trips, past the API.
async fn trips_pool(city: &City) -> sqlx::PgPool {
    let database = city.database.database();
    database.connect(jitney_trips::SCHEMA).await.unwrap()
}

/// Waits until every trip says of its payment what billing's books say, in their newest version.
async fn money_agrees(city: &City) {
    let pool = trips_pool(city).await;
    eventually("trips and billing agree on the money", || async {
        let apart: i64 = sqlx::query_scalar(
            "SELECT count(*)
             FROM trips.trip JOIN billing.trip_charge AS charge USING (trip_id)
             WHERE trip.payment_version <> charge.version
                 OR trip.payment_state <> CASE
                     WHEN charge.state <> 'CAPTURED' OR charge.refunded = 0 THEN charge.state
                     WHEN charge.refunded < charge.captured THEN 'PARTIALLY_REFUNDED'
                     ELSE 'REFUNDED'
                 END",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        (apart == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_riders_race_for_fifty_drivers() {
    const DRIVERS: usize = 50;
    const RIDERS: usize = 200;
    let city = City::start().await;
    // Around the harbour, each on a slightly different spot.
    let apps = join_all((0..DRIVERS).map(|n| {
        let city = &city;
        async move {
            let spread = n as f64 * 0.00004;
            city.driver_online(
                &format!("driver-{n}"),
                (STATION.0 + spread, STATION.1 + spread),
            )
            .await
        }
    }))
    .await;

    // Every driver accepts whatever comes, at once and twice.
    let accepting: Vec<_> = apps
        .into_iter()
        .map(|mut app: DriverApp| {
            tokio::spawn(async move {
                let mut won = HashSet::new();
                while won.is_empty() {
                    let offer = app.next("offer").await;
                    let (a, b) =
                        tokio::join!(app.answer(&offer, "accept"), app.answer(&offer, "accept"));
                    for answer in [a, b] {
                        if answer.status.is_success() {
                            won.insert(offer["tripId"].as_str().unwrap().to_owned());
                        }
                    }
                }
                won
            })
        })
        .collect();
    let riders: Vec<_> = (0..RIDERS)
        .map(|n| city.rider(&format!("rider-{n}")))
        .collect();
    join_all(riders.iter().map(|rider| city.request(rider, CASINO, PORT))).await;

    let mut trips = HashSet::new();
    for won in join_all(accepting).await {
        let won = won.unwrap();
        assert_eq!(won.len(), 1, "a driver won {won:?}");
        assert!(trips.is_disjoint(&won), "two drivers on {won:?}");
        trips.extend(won);
    }
    assert_eq!(trips.len(), DRIVERS);
    assert_nobody_has_two(&city).await;
    let live = all_trips(&city)
        .await
        .iter()
        .filter(|trip| trip["state"] == "TRIP_STATE_ASSIGNED")
        .count();
    assert_eq!(live, DRIVERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_drivers_accept_the_same_offer() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", STATION).await;
    let trip = city.request(&city.rider("anna"), CASINO, PORT).await;
    let offer = dora.next("offer").await;
    let path = format!(
        "/v1/trips/{}/offers/{}:accept",
        offer["tripId"].as_str().unwrap(),
        offer["offerId"].as_str().unwrap()
    );
    let others: Vec<_> = (0..49)
        .map(|n| city.driver(&format!("thief-{n}")))
        .collect();
    let phones = others.iter().chain([&dora.phone]);
    let answers = join_all(phones.map(|phone| phone.post(&path, json!({})))).await;
    let won: Vec<_> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    assert_eq!(
        won.iter().filter(|status| **status == 200).count(),
        1,
        "{won:?}"
    );
    assert_eq!(won[49], 200, "the driver it was made to");
    assert!(
        won[..49].iter().all(|status| *status == 404),
        "nobody else's to see: {won:?}"
    );
    let trip = city
        .operator()
        .get(&format!("/v1/trips/{}", trip["tripId"].as_str().unwrap()))
        .await
        .ok();
    assert_eq!(trip["trip"]["driver"]["driverId"], "dora");
}

/// Matching sets a driver aside for one offer at a time, so to have two open offers for one driver
/// the second is written where trips keeps them: as after a restart of matching that forgot the first.
#[tokio::test(flavor = "multi_thread")]
async fn one_driver_accepts_two_trips_at_once() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", STATION).await;
    city.request(&city.rider("anna"), CASINO, PORT).await;
    let offer = dora.next("offer").await;
    let mut erik = city.driver_online("erik", FONTVIEILLE).await;
    city.request(&city.rider("ben"), CASINO, PORT).await;
    let other = erik.next("offer").await;
    let pool = trips_pool(&city).await;
    eventually("the second offer is recorded, and made dora's", || async {
        let changed = sqlx::query("UPDATE offer SET driver_id = 'dora' WHERE offer_id = $1::uuid")
            .bind(other["offerId"].as_str().unwrap())
            .execute(&pool)
            .await
            .unwrap();
        (changed.rows_affected() == 1).then_some(())
    })
    .await;

    let (a, b) = tokio::join!(dora.answer(&offer, "accept"), dora.answer(&other, "accept"));
    let won = [&a, &b]
        .iter()
        .filter(|answer| answer.status.is_success())
        .count();
    assert_eq!(won, 1, "{a:?} {b:?}");
    let lost = if a.status.is_success() { b } else { a };
    lost.refused(400, "DRIVER_ON_TRIP");
    let claims = sqlx::query("SELECT count(*) AS n FROM driver_claims WHERE driver_id = 'dora'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(claims.get::<i64, _>("n"), 1);
    assert_nobody_has_two(&city).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_and_cancel_at_once_end_one_way() {
    let city = City::start().await;
    let mut dora = city.driver_online("dora", STATION).await;
    for round in 0..8 {
        let anna = city.rider(&format!("anna-{round}"));
        let trip = city.request(&anna, CASINO, PORT).await;
        let trip_id = trip["tripId"].as_str().unwrap();
        let offer = dora.next("offer").await;
        let cancel = format!("/v1/trips/{trip_id}:cancel");
        let (accepted, cancelled) =
            tokio::join!(dora.answer(&offer, "accept"), anna.post(&cancel, json!({})));
        cancelled.ok();
        // NOT_FOUND: cancelled before the offer was recorded, so that it never was.
        if !accepted.status.is_success() {
            assert!(
                ["OFFER_NOT_OPEN", "NOT_FOUND"].contains(&accepted.reason()),
                "{accepted:?}"
            );
        }
        let trip = anna.get(&format!("/v1/trips/{trip_id}")).await.ok()["trip"].clone();
        assert_eq!(
            trip["state"], "TRIP_STATE_CANCELLED",
            "a rider may cancel before and after"
        );
        eventually("the driver is idle again", || async {
            let driver = dora.phone.get("/v1/drivers/dora").await.ok()["driver"].clone();
            (driver["state"] == "DRIVER_STATE_IDLE").then_some(())
        })
        .await;
    }
    assert_eq!(city.ledger().await["entries"], "0");
    money_agrees(&city).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_called_twice_happens_once() {
    let city = City::start().await;
    let anna = city.rider("anna");
    let mut dora = city.driver_online("dora", STATION).await;
    let body = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    let twice = join_all((0..8).map(|_| anna.post_keyed("/v1/trips", "one", body.clone()))).await;
    let ids: HashSet<String> = twice
        .into_iter()
        .map(|answer| answer.ok()["trip"]["tripId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1, "one key, one trip: {ids:?}");
    let trip_id = ids.into_iter().next().unwrap();
    let offer = dora.next("offer").await;
    dora.accept(&offer).await;
    let pin = anna.get(&format!("/v1/trips/{trip_id}")).await.ok()["trip"]["pin"].clone();
    for (verb, body) in [
        ("arrive", json!({})),
        ("start", json!({"pin": pin})),
        ("complete", json!({})),
    ] {
        let path = format!("/v1/trips/{trip_id}:{verb}");
        for answer in join_all((0..8).map(|_| dora.phone.post(&path, body.clone()))).await {
            answer.ok();
        }
    }
    receipt_of(&anna, &trip_id).await;
    assert_paid_once(&city.operator(), 1).await;
    let log = city
        .operator()
        .get(&format!("/v1/trips/{trip_id}"))
        .await
        .ok()["transitions"]
        .clone();
    let states: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["toState"].clone())
        .collect();
    assert_eq!(
        states,
        [
            "TRIP_STATE_SEARCHING",
            "TRIP_STATE_OFFERED",
            "TRIP_STATE_ASSIGNED",
            "TRIP_STATE_DRIVER_ARRIVED",
            "TRIP_STATE_IN_PROGRESS",
            "TRIP_STATE_COMPLETED"
        ]
    );
    money_agrees(&city).await;
    let refund = format!("/v1/trips/{trip_id}:refund");
    let body = json!({"amount": {"currencyCode": "EUR", "minorUnits": "1"}, "reason": "a cent"});
    let ops = city.operator();
    for answer in join_all((0..8).map(|_| ops.post_keyed(&refund, "r", body.clone()))).await {
        answer.ok();
    }
    money_agrees(&city).await;
    let trip = anna.get(&format!("/v1/trips/{trip_id}")).await.ok()["trip"].clone();
    assert_eq!(trip["paymentState"], "PAYMENT_STATE_PARTIALLY_REFUNDED");
}
