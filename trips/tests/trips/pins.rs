//! StartTrip: wrong PINs are counted whatever becomes of the call, and lock the ride.

use futures::future::join_all;
use jitney_proto::{Code, trips::v1::TripState};

use crate::support::{City, arrive, cancel, code, get, start};

#[tokio::test]
async fn wrong_pins_are_counted_and_lock_the_ride_for_good() {
    let mut city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    let trip_id = trip.trip_id.as_str();
    arrive(&mut city.driver("anna"), trip_id).await.unwrap();
    let pin = get(&mut city.rider("rita"), trip_id).await.unwrap().pin;
    let wrong = if pin == "0000" { "0001" } else { "0000" };

    // Guessing at the same moment does not give more tries.
    let guesses = (0..20).map(|_| {
        let (mut anna, trip_id) = (city.driver("anna"), trip_id.to_owned());
        tokio::spawn(async move { start(&mut anna, &trip_id, wrong).await })
    });
    let codes: Vec<Code> = join_all(guesses)
        .await
        .into_iter()
        .map(|g| code(g.unwrap()))
        .collect();
    assert_eq!(
        codes.iter().filter(|code| **code == Code::WrongPin).count(),
        5,
        "{codes:?}"
    );
    assert_eq!(
        codes
            .iter()
            .filter(|code| **code == Code::PinLocked)
            .count(),
        15,
        "{codes:?}"
    );
    assert_eq!(city.count("SELECT wrong_pins::bigint FROM trip").await, 5);

    // Locked also for the right one, and after a restart.
    assert_eq!(
        code(start(&mut city.driver("anna"), trip_id, &pin).await),
        Code::PinLocked
    );
    city.restart().await;
    assert_eq!(
        code(start(&mut city.driver("anna"), trip_id, &pin).await),
        Code::PinLocked
    );
    let stuck = get(&mut city.rider("rita"), trip_id).await.unwrap();
    assert_eq!(
        (stuck.state(), stuck.version),
        (TripState::DriverArrived, 4)
    );
    // An operator steps in.
    let ended = cancel(&mut city.operator(), trip_id).await.unwrap();
    assert_eq!(ended.state(), TripState::Cancelled);
    city.check().await;
}

#[tokio::test]
async fn a_start_that_succeeded_may_be_repeated() {
    let city = City::new().await;
    let trip = city.in_progress("rita", "anna").await;
    assert_eq!(trip.state(), TripState::InProgress);
    let again = start(&mut city.driver("anna"), &trip.trip_id, "")
        .await
        .unwrap();
    assert_eq!(again, trip);
    assert_eq!(city.count("SELECT wrong_pins::bigint FROM trip").await, 0);
}
