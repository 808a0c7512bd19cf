//! Rides that were booked for later: when the search begins, what is held when, and what becomes of
//! both when somebody is quicker, twice or away.

use std::time::Duration;

use jitney_platform::{clock::Clock, testing::eventually};
use jitney_proto::{
    Code,
    billing::v1::HoldState,
    common::v1::Point,
    time::timestamp,
    trips::v1::{
        Actor, CreateTripRequest, EditDestinationRequest, PaymentState, QuoteTripRequest, Trip,
        TripEventKind, TripState,
    },
};
use jitney_trips::{Config, config::BookingConfig};
use uuid::Uuid;

use crate::support::{City, cancel, code, create, get, quick, usual_way};

/// Rides are looked at as soon as a test makes them due: see [`due`].
fn config() -> Config {
    Config {
        booking: BookingConfig {
            ahead_min: Duration::from_secs(60),
            release_before: Duration::ZERO,
            spare: Duration::ZERO,
            poll_interval: Duration::from_millis(50),
            ..BookingConfig::default()
        },
        ..quick()
    }
}

fn way(product: &str, ahead: Duration) -> QuoteTripRequest {
    QuoteTripRequest {
        pickup_at: Some(timestamp(Clock::system().now() + ahead)),
        ..usual_way(product)
    }
}

/// A ride in an hour. Nobody who drives comfort is near, so its search begins when it is due.
async fn booked(city: &City, rider: &str) -> Trip {
    let mut client = city.rider(rider);
    let quotes = client
        .quote_trip(way("comfort", Duration::from_secs(3600)))
        .await;
    let quote = quotes.expect("it works").into_inner().quotes.remove(0);
    let key = Uuid::now_v7().to_string();
    create(&mut client, &quote.quote_id, &key)
        .await
        .expect("it works")
}

/// Makes a booked ride due.
async fn due(city: &City, trip: &Trip) {
    let trip_id: Uuid = trip.trip_id.parse().expect("it works");
    sqlx::query("UPDATE trip SET release_at = now() WHERE trip_id = $1")
        .bind(trip_id)
        .execute(&city.pool)
        .await
        .expect("it works");
}

async fn nothing_pending(city: &City) {
    eventually("nothing is pending", async || {
        city.count("SELECT count(*) FROM trip WHERE hold_pending")
            .await
            == 0
    })
    .await;
}

#[tokio::test]
async fn a_booked_ride_is_held_and_searched_for_when_its_time_comes() {
    let city = City::with(config()).await;
    let trip = booked(&city, "rita").await;
    assert_eq!(
        (trip.state(), trip.payment_state()),
        (TripState::Scheduled, PaymentState::None)
    );
    assert!(trip.pickup_at.is_some());
    assert_eq!(city.billing.hold(&trip.trip_id), None);
    // A ride now does not stand in its way.
    let now = city.searching("rita").await;
    cancel(&mut city.rider("rita"), &now.trip_id).await.unwrap();

    due(&city, &trip).await;
    let trip = city.in_state(&trip.trip_id, TripState::Searching).await;
    assert_eq!(trip.payment_state(), PaymentState::Held);
    assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Held));
    city.offer(&trip.trip_id, "anna").await;
    eventually("the events", async || {
        let events = city.matching.events(&trip.trip_id);
        let kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
        kinds.starts_with(&[TripEventKind::Created, TripEventKind::Released])
    })
    .await;
    nothing_pending(&city).await;
    city.check().await;
}

#[tokio::test]
async fn a_search_begins_no_earlier_than_a_driver_needs() {
    let city = City::with(Config {
        booking: BookingConfig {
            release_before: Duration::from_secs(7200),
            spare: Duration::from_secs(30),
            ..config().booking
        },
        ..quick()
    })
    .await;
    // Who drives economy is 90 s away: 120 s before the pick-up are early enough.
    let mut rita = city.rider("rita");
    let quotes = rita
        .quote_trip(way("economy", Duration::from_secs(600)))
        .await;
    let quote = quotes.unwrap().into_inner().quotes.remove(0);
    assert_eq!(quote.pickup_eta_ms, None);
    create(&mut rita, &quote.quote_id, "ahead").await.unwrap();
    eventually("put off", async || {
        city.count(
            "SELECT count(*) FROM trip WHERE state = 'SCHEDULED'
                AND pickup_at - release_at = interval '120 seconds'",
        )
        .await
            == 1
    })
    .await;
}

#[tokio::test]
async fn a_booked_ride_that_cannot_be_paid_is_called_off() {
    let city = City::with(config()).await;
    let trip = booked(&city, "poor-rita").await;
    due(&city, &trip).await;
    let trip = city.in_state(&trip.trip_id, TripState::Cancelled).await;
    assert_eq!(trip.cancelled_by(), Actor::System);
    assert_eq!(trip.end_reason, "the payment was refused");
    city.check().await;
}

#[tokio::test]
async fn a_rider_who_is_still_on_the_way_is_waited_for() {
    let city = City::with(config()).await;
    let trip = booked(&city, "rita").await;
    let live = city.searching("rita").await;
    due(&city, &trip).await;
    eventually("put off", async || {
        city.count("SELECT count(*) FROM trip WHERE hold_pending AND release_at > now()")
            .await
            == 1
    })
    .await;
    cancel(&mut city.rider("rita"), &live.trip_id)
        .await
        .unwrap();
    due(&city, &trip).await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    nothing_pending(&city).await;
    assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Held));
}

#[tokio::test]
async fn billing_that_is_away_is_waited_for() {
    let city = City::with(config()).await;
    let trip = booked(&city, "rita").await;
    city.billing.lose_hold_answers(2);
    due(&city, &trip).await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    assert_eq!(city.billing.holds(HoldState::Held), 1);
}

#[tokio::test]
async fn a_booked_ride_released_twice_is_released_once() {
    let mut city = City::with(config()).await;
    city.add_process().await;
    for round in 0..5 {
        let trip = booked(&city, &format!("rita-{round}")).await;
        // Nobody looks while it becomes due and its row is locked.
        let looking = city
            .barrier("SELECT 1 FROM lease WHERE name = 'releases' FOR UPDATE")
            .await;
        looking.queue("hold_lease", 2).await;
        due(&city, &trip).await;
        let barrier = city.barrier("SELECT 1 FROM trip FOR UPDATE").await;
        looking.open().await;
        barrier.queue("begin_hold", 1).await;
        // The process that looks seems to be gone, and is not.
        sqlx::query("DELETE FROM lease WHERE name = 'releases'")
            .execute(&city.pool)
            .await
            .unwrap();
        barrier.queue("begin_hold", 2).await;
        barrier.open().await;
        let trip = city.in_state(&trip.trip_id, TripState::Searching).await;
        nothing_pending(&city).await;
        assert_eq!((trip.version, city.log(&trip.trip_id).await.len()), (2, 2));
        assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Held));
        city.check().await;
    }
}

#[tokio::test]
async fn calling_off_as_the_search_begins_leaves_nothing_held() {
    let city = City::with(config()).await;
    for round in 0..12 {
        let rider = format!("rita-{round}");
        let trip = booked(&city, &rider).await;
        due(&city, &trip).await;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        cancel(&mut city.rider(&rider), &trip.trip_id)
            .await
            .unwrap();
        nothing_pending(&city).await;
        eventually("nothing is held", async || {
            city.billing.hold(&trip.trip_id) != Some(HoldState::Held)
        })
        .await;
        let trip = get(&mut city.rider(&rider), &trip.trip_id).await.unwrap();
        assert_eq!(trip.state(), TripState::Cancelled);
        city.check().await;
    }
}

#[tokio::test]
async fn what_a_killed_process_held_for_an_ended_ride_is_released() {
    let city = City::with(Config {
        call_timeout: Duration::from_millis(250),
        hold_recovery_after: Duration::from_secs(1),
        hold_recovery_interval: Duration::from_millis(50),
        ..config()
    })
    .await;
    let trip = booked(&city, "rita").await;
    cancel(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap();
    eventually("the end is told", async || {
        city.matching.events(&trip.trip_id).len() == 2
    })
    .await;
    // As it is when the hold comes after the release, and nobody is left to notice.
    sqlx::query("UPDATE trip SET hold_pending = true")
        .execute(&city.pool)
        .await
        .unwrap();
    city.billing.hold_for(&trip.trip_id);
    nothing_pending(&city).await;
    assert_eq!(city.billing.hold(&trip.trip_id), Some(HoldState::Voided));
}

#[tokio::test]
async fn times_that_cannot_be_booked_are_refused_by_name() {
    let city = City::with(config()).await;
    let mut rita = city.rider("rita");
    for seconds in [0, 59, 32 * 24 * 3600] {
        let refused = rita
            .quote_trip(way("economy", Duration::from_secs(seconds)))
            .await;
        let status = refused.expect_err("not bookable");
        assert!(
            status.message().starts_with("pickup_at"),
            "{}",
            status.message()
        );
    }
    let quotes = rita
        .quote_trip(way("economy", Duration::from_secs(3600)))
        .await;
    let quote = quotes.unwrap().into_inner().quotes.remove(0);
    let other = CreateTripRequest {
        quote_id: quote.quote_id.clone(),
        pickup_at: Some(timestamp(Clock::system().now() + Duration::from_secs(7200))),
        idempotency_key: "other".to_owned(),
        ..CreateTripRequest::default()
    };
    assert_eq!(code(rita.create_trip(other).await), Code::InvalidRequest);
    // Without a quote, at the time itself.
    let direct = CreateTripRequest {
        pickup: usual_way("").pickup,
        dropoff: usual_way("").dropoff,
        product: "economy".to_owned(),
        pickup_at: quote.pickup_at,
        idempotency_key: "direct".to_owned(),
        ..CreateTripRequest::default()
    };
    let trip = rita
        .create_trip(direct)
        .await
        .unwrap()
        .into_inner()
        .trip
        .unwrap();
    assert_eq!(
        (trip.state(), trip.pickup_at),
        (TripState::Scheduled, quote.pickup_at)
    );
}

/// Has a booked ride go elsewhere; what its price is called.
async fn elsewhere(city: &City, rider: &str, trip: &Trip) -> String {
    let elsewhere = EditDestinationRequest {
        trip_id: trip.trip_id.clone(),
        dropoff: Some(Point {
            latitude: 41.17,
            longitude: -8.59,
        }),
        ..EditDestinationRequest::default()
    };
    let edited = city.rider(rider).edit_destination(elsewhere).await;
    let edited = edited.expect("it works").into_inner().trip;
    assert_eq!(edited.expect("a trip").state(), TripState::Scheduled);
    sqlx::query_scalar("SELECT price_quote_id FROM trip WHERE trip_id = $1")
        .bind(trip.trip_id.parse::<Uuid>().expect("an id"))
        .fetch_one(&city.pool)
        .await
        .expect("it works")
}

#[tokio::test]
async fn a_booked_ride_that_goes_elsewhere_is_held_at_its_new_price() {
    let city = City::with(config()).await;
    let trip = booked(&city, "rita").await;
    let price = elsewhere(&city, "rita", &trip).await;
    due(&city, &trip).await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    assert_eq!(city.billing.held_under(&trip.trip_id), Some(price));
}

#[tokio::test]
async fn a_ride_that_goes_elsewhere_while_its_fare_is_being_held_is_held_at_its_new_price() {
    let city = City::with(config()).await;
    let trip = booked(&city, "rita").await;
    let gate = city.billing.close_gate();
    due(&city, &trip).await;
    eventually("the hold is on its way", async || {
        city.billing.holds_waiting() == 1
    })
    .await;
    let price = elsewhere(&city, "rita", &trip).await;
    // Billing is told of the change before the hold arrives, and finds nothing to change.
    eventually("the change is told", async || {
        city.billing.changes_without_hold() == 1
    })
    .await;
    gate.add_permits(8);
    city.in_state(&trip.trip_id, TripState::Searching).await;
    assert_eq!(city.billing.held_under(&trip.trip_id), Some(price));
    nothing_pending(&city).await;
    city.check().await;
}

#[tokio::test]
async fn a_ride_that_is_held_and_goes_elsewhere_before_its_search_is_searched_for() {
    let city = City::with(config()).await;
    let trip = booked(&city, "rita").await;
    // Rita is still on the way: the fare is held, and the search waits.
    let live = city.searching("rita").await;
    due(&city, &trip).await;
    eventually("put off", async || {
        city.count("SELECT count(*) FROM trip WHERE hold_pending AND release_at > now()")
            .await
            == 1
    })
    .await;
    let before = city.billing.held_under(&trip.trip_id);
    let price = elsewhere(&city, "rita", &trip).await;
    eventually("the hold follows", async || {
        city.billing.held_under(&trip.trip_id) != before
    })
    .await;
    cancel(&mut city.rider("rita"), &live.trip_id)
        .await
        .unwrap();
    due(&city, &trip).await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    assert_eq!(city.billing.held_under(&trip.trip_id), Some(price));
    nothing_pending(&city).await;
    city.check().await;
}

#[tokio::test]
async fn a_hold_that_comes_after_the_ride_was_called_off_is_released() {
    let city = City::with(config()).await;
    let trip = booked(&city, "rita").await;
    let gate = city.billing.close_gate();
    due(&city, &trip).await;
    eventually("the hold is on its way", async || {
        city.billing.holds_waiting() == 1
    })
    .await;
    cancel(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap();
    // Billing is told of the end before the hold arrives, and finds nothing to release.
    eventually("the end is told", async || {
        city.billing.voids_without_hold() == 1
    })
    .await;
    gate.add_permits(1);
    eventually("it is released", async || {
        city.billing.hold(&trip.trip_id) == Some(HoldState::Voided)
    })
    .await;
    nothing_pending(&city).await;
    city.check().await;
}
