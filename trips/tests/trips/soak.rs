//! Riders, drivers and operators who do anything at any time, a list of operations per seed.
//!
//! A failure is: an answer of INTERNAL or of no code at all, a rule of [`City::check`] that does not
//! hold, an ended ride whose money does not follow. Not a failure: any refusal. `SEED=<seed>`
//! replays one.

use std::sync::Arc;

use futures::future::join_all;
use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    billing::v1::HoldState,
    trips::v1::{ListTripsRequest, PaymentState, Trip, TripState},
};
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tonic::Status;
use uuid::Uuid;

use crate::support::{
    City, accept, arrive, cancel, complete, create, decline, get, start, usual_way,
};

const RIDERS: [&str; 5] = ["rita", "rolf", "rosa", "ruth", "ryan"];
const DRIVERS: [&str; 3] = ["anna", "ben", "carl"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_at_any_time_breaks_no_rule() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => vec![1, 2],
    };
    for seed in seeds {
        println!("to replay: SEED={seed} cargo test -p jitney-trips anything_at_any_time");
        let city = Arc::new(City::new().await);
        let people = (0..6).map(|number| {
            let city = Arc::clone(&city);
            tokio::spawn(async move {
                live(&city, ChaCha8Rng::seed_from_u64(seed * 100 + number)).await
            })
        });
        for lived in join_all(people).await {
            lived.expect("no failure");
        }
        city.check().await;
        settle(&city).await;
        city.check().await;
    }
}

async fn all(city: &City) -> Vec<Trip> {
    let request = ListTripsRequest {
        page_size: 100,
        ..ListTripsRequest::default()
    };
    city.operator()
        .list_trips(request)
        .await
        .expect("a list")
        .into_inner()
        .trips
}

async fn live(city: &City, mut dice: ChaCha8Rng) {
    for number in 0..40 {
        if number % 4 == 0 {
            city.check().await;
        }
        let outcome = act(city, &mut dice).await;
        if let Err(status) = outcome {
            let code = Code::of(&status).unwrap_or_else(|| panic!("{status:?}"));
            assert_ne!(code, Code::Internal, "{status:?}");
        }
    }
}

/// One thing that somebody does, sensible or not.
async fn act(city: &City, dice: &mut ChaCha8Rng) -> Result<(), Status> {
    let rider = *RIDERS.choose(dice).expect("a rider");
    let driver = *DRIVERS.choose(dice).expect("a driver");
    let trips = all(city).await;
    // Mostly one that still lives.
    let live: Vec<&Trip> = trips
        .iter()
        .filter(|trip| trip.ended_at.is_none())
        .collect();
    let trip = live.choose(dice).copied().or(trips.first());
    // Mostly what comes next, sometimes anything.
    let next = match trip.map(|trip| trip.state()) {
        Some(TripState::Searching) => 2,
        Some(TripState::Offered) => 4,
        Some(TripState::Assigned) => 7,
        Some(TripState::DriverArrived) => 8,
        Some(TripState::InProgress) => 9,
        _ => 0,
    };
    let choice = if dice.random_range(0..10) < 7 {
        next
    } else {
        dice.random_range(0..12)
    };
    let (mut as_rider, mut as_driver) = (city.rider(rider), city.driver(driver));
    let Some(trip) = trip.filter(|_| choice > 1) else {
        let quotes = as_rider
            .quote_trip(usual_way("economy"))
            .await?
            .into_inner()
            .quotes;
        let key = dice.random_range(0..60).to_string();
        return create(&mut as_rider, &quotes[0].quote_id, &key)
            .await
            .map(drop);
    };
    let id = trip.trip_id.as_str();
    let offer = trip.open_offer.clone();
    // The one whom it concerns, or anybody.
    let concerned = offer.as_ref().map(|offer| offer.driver_id.clone());
    let concerned = concerned.or(trip.driver.as_ref().map(|driver| driver.driver_id.clone()));
    if let Some(concerned) = concerned.filter(|_| dice.random_range(0..5) > 0) {
        as_driver = city.driver(&concerned);
    }
    let offer_id = offer.map_or_else(|| Uuid::now_v7().to_string(), |offer| offer.offer_id);
    match choice {
        2 | 3 => {
            if let Some(search) = city.matching.open_searches(id).pop() {
                // Mostly beside what somebody drives; sometimes beside anything, or as if they were free.
                let driven: Vec<(&str, &str)> = live
                    .iter()
                    .filter_map(|trip| {
                        let theirs = trip.driver.as_ref()?;
                        Some((theirs.driver_id.as_str(), trip.trip_id.as_str()))
                    })
                    .collect();
                let beside = match dice.random_range(0..6) {
                    0 | 1 => None,
                    2 => live
                        .choose(dice)
                        .map(|trip| (driver, trip.trip_id.as_str())),
                    _ => driven.choose(dice).copied(),
                };
                match beside {
                    Some((driver, beside)) => {
                        search.offer_beside(driver, beside, dice.random()).await;
                    }
                    None => {
                        let ttl = std::time::Duration::from_secs(15);
                        search.offer(driver, ttl).await;
                    }
                }
            }
            Ok(())
        }
        4 | 5 => accept(&mut as_driver, id, &offer_id).await.map(drop),
        6 => decline(&mut as_driver, id, &offer_id).await,
        7 => arrive(&mut as_driver, id).await.map(drop),
        8 => {
            let pin = get(&mut city.rider(&trip.rider_id), id).await?.pin;
            start(&mut as_driver, id, &pin).await.map(drop)
        }
        9 => complete(&mut as_driver, id).await.map(drop),
        10 => cancel(&mut as_driver, id).await.map(drop),
        _ => cancel(&mut city.rider(&trip.rider_id), id).await.map(drop),
    }
}

/// Ends what lives and waits until the money has followed every ride.
async fn settle(city: &City) {
    for trip in all(city).await {
        if trip.ended_at.is_none() {
            cancel(&mut city.operator(), &trip.trip_id)
                .await
                .expect("operators may always");
        }
    }
    eventually("every payment", async || {
        all(city).await.iter().all(|trip| match trip.state() {
            TripState::Completed => trip.payment_state() == PaymentState::Captured,
            TripState::Cancelled => trip.payment_state() == PaymentState::Voided,
            state => panic!("{state:?} is no end here"),
        })
    })
    .await;
    let trips = all(city).await;
    let completed = trips
        .iter()
        .filter(|trip| trip.state() == TripState::Completed)
        .count();
    let second = city
        .count("SELECT count(*) FROM offer WHERE state = 'ACCEPTED' AND beside_trip_id IS NOT NULL")
        .await;
    println!(
        "{} trips, {completed} completed, {second} taken beside another",
        trips.len()
    );
    assert_eq!(city.billing.captures(), completed, "each is charged once");
    assert_eq!(city.billing.holds(HoldState::Captured), completed);
    assert_eq!(city.billing.holds(HoldState::Held), 0, "nothing stays held");
    assert_eq!(city.count("SELECT count(*) FROM driver_claims").await, 0);
    eventually("every event", async || {
        trips.iter().all(|trip| {
            let events = city.matching.events(&trip.trip_id);
            events
                .last()
                .is_some_and(|event| event.trip_version == trip.version)
        })
    })
    .await;
    for trip in &trips {
        let mut versions: Vec<i64> = city
            .matching
            .events(&trip.trip_id)
            .iter()
            .map(|event| event.trip_version)
            .collect();
        versions.dedup();
        assert!(versions.is_sorted(), "{versions:?} are told in order");
        assert_eq!(versions.len() as i64, trip.version, "{versions:?} are all");
    }
}
