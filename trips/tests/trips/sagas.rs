//! Quote, hold, match, ride, capture: with the process killed between every two steps, every step said
//! twice, and every step failing once.

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    billing::v1::{CaptureReason, HoldState},
    trips::v1::{PaymentState, Trip, TripState},
};
use tonic::Status;

use crate::support::{City, accept, arrive, complete, create, get, start};

/// One step of a ride.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Create,
    Accept,
    Arrive,
    Start,
    Complete,
}

const STEPS: [Step; 5] = [
    Step::Create,
    Step::Accept,
    Step::Arrive,
    Step::Start,
    Step::Complete,
];

/// What a ride's steps need of those before.
#[derive(Default)]
struct Ride {
    quote_id: String,
    trip_id: String,
    offer_id: String,
    pin: String,
}

async fn take(city: &City, ride: &Ride, step: Step) -> Result<Trip, Status> {
    let mut anna = city.driver("anna");
    match step {
        Step::Create => create(&mut city.rider("rita"), &ride.quote_id, "key").await,
        Step::Accept => accept(&mut anna, &ride.trip_id, &ride.offer_id).await,
        Step::Arrive => arrive(&mut anna, &ride.trip_id).await,
        Step::Start => start(&mut anna, &ride.trip_id, &ride.pin).await,
        Step::Complete => complete(&mut anna, &ride.trip_id).await,
    }
}

/// What happens by itself after a step.
async fn follow(city: &City, ride: &mut Ride, step: Step, trip: &Trip) {
    match step {
        Step::Create => {
            ride.trip_id.clone_from(&trip.trip_id);
            ride.pin.clone_from(&trip.pin);
            ride.offer_id = city.offer(&trip.trip_id, "anna").await;
        }
        Step::Complete => {
            let mut rita = city.rider("rita");
            eventually("it is paid", async || {
                let trip = get(&mut rita, &ride.trip_id).await.expect("the trip");
                trip.payment_state() == PaymentState::Captured
            })
            .await;
        }
        Step::Accept | Step::Arrive | Step::Start => {}
    }
}

async fn assert_done_once(city: &City, ride: &Ride) {
    assert_eq!(city.billing.captures(), 1);
    assert_eq!(
        city.billing.taken_for(&ride.trip_id),
        Some(CaptureReason::Fare)
    );
    assert_eq!(city.billing.holds(HoldState::Captured), 1);
    assert_eq!(city.billing.holds(HoldState::Held), 0);
    let log = city.log(&ride.trip_id).await;
    assert_eq!(log.len(), 6, "{log:?}");
    assert_eq!(log.last().expect("a log").to_state(), TripState::Completed);
    assert_eq!(city.count("SELECT count(*) FROM trip").await, 1);
    city.check().await;
}

#[tokio::test]
async fn a_process_killed_between_every_two_steps_changes_nothing() {
    let mut city = City::new().await;
    let mut ride = Ride {
        quote_id: city.quote("rita").await.quote_id,
        ..Ride::default()
    };
    for step in STEPS {
        city.restart().await;
        let trip = take(&city, &ride, step).await.unwrap();
        if step == Step::Complete {
            city.restart().await;
        }
        follow(&city, &mut ride, step, &trip).await;
    }
    assert_done_once(&city, &ride).await;
}

#[tokio::test]
async fn every_step_said_again_and_again_happens_once() {
    let city = City::new().await;
    let mut ride = Ride {
        quote_id: city.quote("rita").await.quote_id,
        ..Ride::default()
    };
    for step in STEPS {
        let first = take(&city, &ride, step).await.unwrap();
        follow(&city, &mut ride, step, &first).await;
        let again = take(&city, &ride, step).await.unwrap();
        assert_eq!(again.trip_id, first.trip_id, "{step:?}");
        if step != Step::Create && step != Step::Complete {
            assert_eq!(again, first, "{step:?}");
        }
    }
    // All of them, late.
    for step in [Step::Create, Step::Accept, Step::Complete] {
        take(&city, &ride, step).await.unwrap();
    }
    assert_done_once(&city, &ride).await;
}

#[tokio::test]
async fn every_call_to_billing_that_fails_once_is_made_good() {
    let mut city = City::new().await;
    // The hold is made, and its answer lost; the process is killed before it can ask again.
    let mut ride = Ride {
        quote_id: city.quote("rita").await.quote_id,
        ..Ride::default()
    };
    city.billing.set_away(true);
    let status = take(&city, &ride, Step::Create).await.unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::Unavailable));
    city.billing.set_away(false);
    city.billing.lose_hold_answers(1);
    let status = take(&city, &ride, Step::Create).await.unwrap_err();
    assert_eq!(Code::of(&status), Some(Code::Unavailable));
    city.restart().await;
    for step in STEPS {
        if step == Step::Complete {
            // The capture is not heard, and the process that would ask again is killed.
            city.billing.lose_captures(1);
        }
        let trip = take(&city, &ride, step).await.unwrap();
        if step == Step::Complete {
            city.restart().await;
        }
        follow(&city, &mut ride, step, &trip).await;
    }
    assert_done_once(&city, &ride).await;
}

#[tokio::test]
async fn matching_that_is_away_at_every_step_stops_no_ride_for_good() {
    let city = City::new().await;
    let quote = city.quote("rita").await;
    let mut ride = Ride {
        quote_id: quote.quote_id,
        ..Ride::default()
    };
    for step in STEPS {
        city.matching.set_away(true);
        let trip = take(&city, &ride, step).await.unwrap();
        city.matching.set_away(false);
        follow(&city, &mut ride, step, &trip).await;
    }
    assert_done_once(&city, &ride).await;
}
