//! What a ride costs in the end: the up-front price within its bounds, what was driven outside of them,
//! and the same whatever is repeated.

use std::time::Duration;

use jitney_platform::testing::eventually;
use jitney_proto::{
    billing::v1::HoldState,
    trips::v1::{PaymentState, Trip},
};
use jitney_trips::{Config, config::FinalFare};

use crate::support::{City, DROPOFF, complete, get, quick};

/// Drives a ride so far, metres, and waits until it is paid.
async fn driven(city: &City, rider: &str, metres: Option<i64>) -> Trip {
    let driver = format!("driver-of-{rider}");
    let trip = city.in_progress(rider, &driver).await;
    if let Some(metres) = metres {
        city.matching.set_driven(&trip.trip_id, metres);
    }
    complete(&mut city.driver(&driver), &trip.trip_id)
        .await
        .expect("it works");
    paid(city, rider, &trip).await
}

async fn paid(city: &City, rider: &str, trip: &Trip) -> Trip {
    let mut client = city.rider(rider);
    eventually("it is paid", async || {
        let trip = get(&mut client, &trip.trip_id).await.expect("it works");
        trip.payment_state() == PaymentState::Captured
    })
    .await;
    get(&mut client, &trip.trip_id).await.expect("it works")
}

fn cents(trip: &Trip) -> (i64, i64) {
    let minor = |money: &Option<jitney_proto::common::v1::Money>| {
        money.as_ref().expect("it works").minor_units
    };
    (minor(&trip.fare), minor(&trip.final_fare))
}

/// Ten minutes and more are no matter to a ride of a moment.
fn config() -> Config {
    Config {
        final_fare: FinalFare {
            duration_spare: Duration::from_secs(3600),
            ..FinalFare::default()
        },
        ..quick()
    }
}

#[tokio::test]
async fn the_price_of_before_holds_for_about_the_same_ride() {
    let city = City::with(config()).await;
    // 4200 m were quoted; a quarter, and a kilometre in any case, is about the same.
    for (rider, metres) in [
        ("r1", Some(4_200)),
        ("r2", Some(5_250)),
        ("r3", Some(3_150)),
        ("r4", None),
    ] {
        let trip = driven(&city, rider, metres).await;
        assert_eq!(cents(&trip), (890, 890), "{metres:?}");
        assert_eq!(trip.driven_meters, metres);
    }
    city.check().await;
}

#[tokio::test]
async fn a_ride_that_became_another_costs_what_was_driven() {
    let city = City::with(config()).await;
    for (rider, metres, fare) in [("r1", 9_200, 1_390), ("r2", 2_200, 690)] {
        let trip = driven(&city, rider, Some(metres)).await;
        assert_eq!(cents(&trip), (890, fare));
        assert_eq!(trip.driven_meters, Some(metres));
        let asked = city.billing.asked().unwrap();
        assert_eq!(
            (asked.distance_meters, asked.tariff_version.as_str()),
            (metres, "1")
        );
        // Scarcity is that of when the ride was ordered.
        assert_eq!(asked.surge_percent, 125);
        assert!(asked.pickup.is_some() && asked.dropoff.is_some() && asked.pickup_at.is_some());
        // And so are the tolls: those of the way on which the car was seen.
        assert_eq!(
            (asked.way, asked.tolls_of_trip_id),
            (vec![DROPOFF], String::new())
        );
    }
    assert_eq!(city.billing.captures(), 2);
}

#[tokio::test]
async fn a_driver_who_was_kept_waiting_is_paid_for_that_and_the_way_is_as_it_was() {
    let city = City::with(config()).await;
    let trip = city.in_progress("rita", "anna").await;
    // What the ride was ordered by.
    let quoted = city.billing.asked().unwrap();
    assert!(quoted.way.len() >= 2 && quoted.tolls_of_trip_id.is_empty());
    sqlx::query(
        "UPDATE trip SET arrived_at = started_at - interval '9 min',
             assigned_at = started_at - interval '10 min'",
    )
    .execute(&city.pool)
    .await
    .unwrap();
    city.matching.set_driven(&trip.trip_id, 4_200);
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    paid(&city, "rita", &trip).await;
    let asked = city.billing.asked().unwrap();
    assert!(asked.waiting_ms >= 540_000, "{}", asked.waiting_ms);
    assert_eq!(
        (asked.way, asked.tolls_of_trip_id),
        (Vec::new(), trip.trip_id)
    );
}

#[tokio::test]
async fn a_ride_that_took_far_longer_is_priced_anew() {
    let city = City::with(Config {
        final_fare: FinalFare {
            duration_percent: 0,
            duration_spare: Duration::ZERO,
            ..FinalFare::default()
        },
        ..quick()
    })
    .await;
    driven(&city, "rita", Some(4_200)).await;
    let asked = city.billing.asked().unwrap();
    assert_eq!(asked.distance_meters, 4_200);
    assert!(asked.duration_ms < 660_000, "{}", asked.duration_ms);
}

#[tokio::test]
async fn what_was_decided_is_charged_whatever_is_said_later() {
    let mut city = City::with(config()).await;
    let trip = city.in_progress("rita", "anna").await;
    city.matching.set_driven(&trip.trip_id, 9_200);
    // Billing prices the ride, and then nobody hears of the capture.
    city.billing.lose_captures(1);
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    eventually("it is decided", async || {
        city.count("SELECT count(*) FROM trip WHERE final_quote_id IS NOT NULL")
            .await
            == 1
    })
    .await;
    let decided: Option<String> = sqlx::query_scalar("SELECT final_quote_id FROM trip")
        .fetch_one(&city.pool)
        .await
        .unwrap();
    city.matching.set_driven(&trip.trip_id, 50_000);
    city.restart().await;
    let trip = paid(&city, "rita", &trip).await;
    assert_eq!(cents(&trip), (890, 1_390));
    assert_eq!(city.billing.held_under(&trip.trip_id), decided);
    assert_eq!(city.billing.captures(), 1);
    assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Captured));
}

#[tokio::test]
async fn matching_that_is_away_is_waited_for() {
    let city = City::with(config()).await;
    let trip = city.in_progress("rita", "anna").await;
    city.matching.set_driven(&trip.trip_id, 9_200);
    city.matching.set_away(true);
    complete(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    eventually("the charge waits", async || {
        city.matching.measures_turned_away() > 0
    })
    .await;
    assert_eq!(city.billing.captures(), 0);
    city.matching.set_away(false);
    let trip = paid(&city, "rita", &trip).await;
    assert_eq!(cents(&trip), (890, 1_390));
}
