//! What time alone brings about: holds that are renewed while a ride goes on, riders who do not come.

use std::time::Duration;

use jitney_platform::testing::eventually;
use jitney_proto::{
    billing::v1::CaptureReason,
    common::v1::Point,
    trips::v1::{Actor, Trip, TripState},
};
use jitney_trips::{Config, config::TimerConfig};
use uuid::Uuid;

use crate::support::{City, arrive, cancel, get, quick, start, usual_way};

/// Rides are looked at often; what is due is so because a test says how long ago it was.
fn config() -> Config {
    Config {
        timers: TimerConfig {
            poll_interval: Duration::from_millis(50),
            ..TimerConfig::default()
        },
        ..quick()
    }
}

async fn set(city: &City, trip: &Trip, what: &str) {
    let statement = format!("UPDATE trip SET {what} WHERE trip_id = $1");
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(trip.trip_id.parse::<Uuid>().expect("an id"))
        .execute(&city.pool)
        .await
        .expect("it works");
}

/// The trip was ordered seven hours ago.
async fn long_ago(city: &City, trip: &Trip) {
    set(city, trip, "created_at = now() - interval '7 h'").await;
}

async fn renewed(city: &City, trip: &Trip, times: usize) {
    eventually("the hold is renewed", async || {
        city.billing.renewals(&trip.trip_id) >= times
    })
    .await;
}

#[tokio::test]
async fn the_hold_of_a_ride_that_goes_on_is_renewed_in_time() {
    let city = City::with(config()).await;
    let (new, over) = (city.searching("nora").await, city.searching("olga").await);
    let riding = city.in_progress("rita", "anna").await;
    cancel(&mut city.rider("olga"), &over.trip_id)
        .await
        .unwrap();
    for trip in [&over, &riding] {
        long_ago(&city, trip).await;
    }
    renewed(&city, &riding, 1).await;
    // Once, and again when as much time has gone by.
    eventually("it is kept that it was", async || {
        city.count("SELECT count(*) FROM trip WHERE hold_renewed_at > now() - interval '1 min'")
            .await
            == 1
    })
    .await;
    set(&city, &riding, "hold_renewed_at = now() - interval '7 h'").await;
    renewed(&city, &riding, 2).await;
    assert_eq!(city.billing.renewals(&riding.trip_id), 2);
    assert_eq!(city.billing.renewals(&new.trip_id), 0);
    assert_eq!(city.billing.renewals(&over.trip_id), 0);
    let now = get(&mut city.rider("rita"), &riding.trip_id).await.unwrap();
    assert_eq!(now.version, riding.version, "nothing else has changed");
    city.check().await;
}

#[tokio::test]
async fn a_hold_is_renewed_once_billing_is_there_again() {
    let city = City::with(config()).await;
    let trip = city.searching("rita").await;
    city.billing.set_away(true);
    long_ago(&city, &trip).await;
    let before = city.billing.turned_away();
    eventually("it was tried more than once", async || {
        city.billing.turned_away() >= before + 2
    })
    .await;
    assert_eq!(city.billing.renewals(&trip.trip_id), 0);
    city.billing.set_away(false);
    renewed(&city, &trip, 1).await;
}

#[tokio::test]
async fn a_hold_that_is_gone_is_not_asked_for_again_and_again() {
    let city = City::with(config()).await;
    let (lost, other) = (city.searching("rita").await, city.searching("rolf").await);
    city.billing.lapse(&lost.trip_id);
    long_ago(&city, &lost).await;
    renewed(&city, &lost, 1).await;
    // Whatever is due later is renewed, so the rides were looked at again.
    long_ago(&city, &other).await;
    renewed(&city, &other, 1).await;
    assert_eq!(city.billing.renewals(&lost.trip_id), 1);
}

#[tokio::test]
async fn a_hold_renewed_twice_is_as_good_as_renewed_once() {
    let mut city = City::with(config()).await;
    city.add_process().await;
    let trip = city.searching("rita").await;
    let barrier = city.barrier("SELECT 1 FROM trip FOR UPDATE").await;
    // The row waits; what the timers go by does not.
    let looking = city
        .barrier("SELECT 1 FROM lease WHERE name = 'timers' FOR UPDATE")
        .await;
    looking.queue("hold_lease", 2).await;
    barrier.open().await;
    long_ago(&city, &trip).await;
    let barrier = city.barrier("SELECT 1 FROM trip FOR UPDATE").await;
    looking.open().await;
    barrier.queue("renewed", 1).await;
    // The process that looks seems to be gone, and is not.
    sqlx::query("DELETE FROM lease WHERE name = 'timers'")
        .execute(&city.pool)
        .await
        .unwrap();
    barrier.queue("renewed", 2).await;
    barrier.open().await;
    assert_eq!(city.billing.renewals(&trip.trip_id), 2);
    let now = get(&mut city.rider("rita"), &trip.trip_id).await.unwrap();
    assert_eq!(now.version, trip.version);
    city.check().await;
}

/// A driver has waited at the pick-up for 21 minutes.
async fn kept_waiting(city: &City, rider: &str, driver: &str) -> Trip {
    let trip = city.assigned(rider, driver).await;
    let trip = arrive(&mut city.driver(driver), &trip.trip_id)
        .await
        .expect("arrived");
    let ago = "assigned_at = now() - interval '22 min', arrived_at = now() - interval '21 min'";
    set(city, &trip, ago).await;
    trip
}

fn pickup() -> Point {
    usual_way("").pickup.expect("a place")
}

fn north_of_pickup(metres: f64) -> Point {
    Point::new(pickup().latitude + metres / 111_195.0, pickup().longitude)
}

#[tokio::test]
async fn a_rider_who_keeps_the_driver_waiting_for_very_long_does_not_come() {
    let city = City::with(config()).await;
    // Who is not there, or not to be seen, may have the rider in the car.
    city.matching.place_driver("away", north_of_pickup(200.0));
    let away = kept_waiting(&city, "rolf", "away").await;
    let unseen = kept_waiting(&city, "rosa", "unseen").await;
    city.matching.place_driver("anna", north_of_pickup(100.0));
    let trip = kept_waiting(&city, "rita", "anna").await;
    let ended = city.in_state(&trip.trip_id, TripState::NoShow).await;
    assert_eq!(ended.end_reason, "the rider did not come");
    let log = city.log(&trip.trip_id).await;
    assert_eq!(log.last().unwrap().actor(), Actor::System);
    eventually("the fee is taken", async || {
        city.billing.taken_for(&trip.trip_id) == Some(CaptureReason::NoShowFee)
    })
    .await;
    for (rider, trip) in [("rolf", &away), ("rosa", &unseen)] {
        let now = get(&mut city.rider(rider), &trip.trip_id).await.unwrap();
        assert_eq!(now.state(), TripState::DriverArrived);
    }
    city.matching.place_driver("away", pickup());
    city.in_state(&away.trip_id, TripState::NoShow).await;
    city.check().await;
}

#[tokio::test]
async fn nobody_waits_before_the_time_that_was_booked() {
    let city = City::with(config()).await;
    for driver in ["anna", "ben"] {
        city.matching.place_driver(driver, pickup());
    }
    let booked = city.assigned("rita", "anna").await;
    let arrived = arrive(&mut city.driver("anna"), &booked.trip_id)
        .await
        .unwrap();
    set(
        &city,
        &arrived,
        "assigned_at = now() - interval '22 min', arrived_at = now() - interval '21 min',
            pickup_at = now() - interval '19 min', release_at = now() - interval '1 h',
            fare_quote_id = 'q'",
    )
    .await;
    let other = kept_waiting(&city, "rolf", "ben").await;
    city.in_state(&other.trip_id, TripState::NoShow).await;
    let now = get(&mut city.rider("rita"), &booked.trip_id).await.unwrap();
    assert_eq!(now.state(), TripState::DriverArrived);
    set(&city, &arrived, "pickup_at = now() - interval '21 min'").await;
    city.in_state(&booked.trip_id, TripState::NoShow).await;
}

#[tokio::test]
async fn a_ride_begins_or_time_ends_it_and_never_both() {
    let city = City::with(config()).await;
    for round in 0..4 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let trip = kept_waiting(&city, &rider, &driver).await;
        let pin = get(&mut city.rider(&rider), &trip.trip_id)
            .await
            .unwrap()
            .pin;
        let (mut anna, id) = (city.driver(&driver), trip.trip_id.clone());
        let barrier = city.barrier("SELECT 1 FROM trip FOR UPDATE").await;
        let time_first = round % 2 == 0;
        let starting = if time_first {
            city.matching.place_driver(&driver, pickup());
            barrier.queue("lock_trip", 1).await;
            tokio::spawn(async move { start(&mut anna, &id, &pin).await })
        } else {
            let starting = tokio::spawn(async move { start(&mut anna, &id, &pin).await });
            barrier.queue("lock_trip", 1).await;
            city.matching.place_driver(&driver, pickup());
            starting
        };
        barrier.queue("lock_trip", 2).await;
        barrier.open().await;
        let started = starting.await.unwrap();
        assert_eq!(started.is_err(), time_first, "round {round}: {started:?}");
        let expected = if time_first {
            TripState::NoShow
        } else {
            TripState::InProgress
        };
        city.in_state(&trip.trip_id, expected).await;
        city.check().await;
    }
}
