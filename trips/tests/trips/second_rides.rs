//! A second live trip beside the first: who gets it, when its turn comes, and that the two stay in order
//! whatever happens to the first at the same moment.

use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    trips::v1::{Trip, TripEvent, TripEventKind, TripState},
};
use sqlx::Row;

use crate::support::{City, accept, arrive, cancel, code, complete, get, start};

/// A driver's claims: trip, slot, whether the car is shared.
async fn claims(city: &City, driver: &str) -> Vec<(String, i16, bool)> {
    let rows = sqlx::query(
        "SELECT trip_id::text AS trip, slot, shared FROM driver_claims WHERE driver_id = $1
         ORDER BY slot",
    )
    .bind(driver)
    .fetch_all(&city.pool)
    .await
    .expect("the claims");
    rows.iter()
        .map(|row| (row.get("trip"), row.get("slot"), row.get("shared")))
        .collect()
}

/// What matching was told of the assignment.
async fn assigned_event(city: &City, trip_id: &str) -> TripEvent {
    let find = || {
        let events = city.matching.events(trip_id);
        let is_it = |event: &TripEvent| event.kind() == TripEventKind::Assigned;
        events.into_iter().rev().find(is_it)
    };
    eventually("the assignment", async || find().is_some()).await;
    find().expect("just seen")
}

/// A driver's two trips: the first in progress, the second accepted beside it.
async fn two(city: &City, shared: bool) -> (Trip, Trip) {
    let first = city.in_progress("rita", "anna").await;
    let (second, offer_id) = city
        .offered_beside("rolf", "anna", &first.trip_id, shared)
        .await;
    let second = accept(&mut city.driver("anna"), &second.trip_id, &offer_id)
        .await
        .expect("accepted beside the first");
    (first, second)
}

#[tokio::test]
async fn a_driver_takes_the_next_ride_while_on_one() {
    let city = City::new().await;
    let first = city.in_progress("rita", "anna").await;
    let (second, offer_id) = city
        .offered_beside("rolf", "anna", &first.trip_id, false)
        .await;
    // The driver sees what it comes on top of; the rider sees no offer at all.
    let mut anna = city.driver("anna");
    let open = get(&mut anna, &second.trip_id).await.unwrap().open_offer;
    let open = open.unwrap();
    assert_eq!(
        (open.beside_trip_id, open.shared),
        (first.trip_id.clone(), false)
    );
    let rolfs = get(&mut city.rider("rolf"), &second.trip_id).await.unwrap();
    assert_eq!(rolfs.open_offer, None);

    let taken = accept(&mut anna, &second.trip_id, &offer_id).await.unwrap();
    assert_eq!(taken.state(), TripState::Assigned);
    let again = accept(&mut anna, &second.trip_id, &offer_id).await.unwrap();
    assert_eq!(again, taken);
    let (one, other) = (first.trip_id.clone(), second.trip_id.clone());
    let both = [(one, 0, false), (other, 1, false)];
    assert_eq!(claims(&city, "anna").await, both);
    let event = assigned_event(&city, &second.trip_id).await;
    assert_eq!(
        (event.beside_trip_id, event.shared),
        (first.trip_id.clone(), false)
    );
    let event = assigned_event(&city, &first.trip_id).await;
    assert_eq!((event.beside_trip_id.as_str(), event.shared), ("", false));
    city.check().await;

    // Its turn comes when the first has ended.
    let early = arrive(&mut anna, &second.trip_id).await;
    let status = early.expect_err("the first goes on");
    assert_eq!(Code::of(&status), Some(Code::DriverOnTrip));
    assert!(
        status
            .message()
            .contains("another ride that has to end first"),
        "{}",
        status.message()
    );
    complete(&mut anna, &first.trip_id).await.unwrap();
    assert_eq!(
        claims(&city, "anna").await,
        [(second.trip_id.clone(), 0, false)]
    );
    city.check().await;
    arrive(&mut anna, &second.trip_id).await.unwrap();
    let pin = get(&mut city.rider("rolf"), &second.trip_id)
        .await
        .unwrap()
        .pin;
    start(&mut anna, &second.trip_id, &pin).await.unwrap();
    complete(&mut anna, &second.trip_id).await.unwrap();
    assert_eq!(claims(&city, "anna").await, []);
    city.check().await;
}

#[tokio::test]
async fn riders_who_share_a_car_have_no_order() {
    let city = City::new().await;
    let (first, second) = two(&city, true).await;
    let event = assigned_event(&city, &second.trip_id).await;
    assert_eq!(
        (event.beside_trip_id, event.shared),
        (first.trip_id.clone(), true)
    );
    let (one, other) = (first.trip_id.clone(), second.trip_id.clone());
    let both = [(one, 0, false), (other.clone(), 1, true)];
    assert_eq!(claims(&city, "anna").await, both);
    let mut anna = city.driver("anna");
    arrive(&mut anna, &other).await.unwrap();
    let pin = get(&mut city.rider("rolf"), &other).await.unwrap().pin;
    start(&mut anna, &other, &pin).await.unwrap();
    city.check().await;
    // The second may get out before the first, and leaves it where it is.
    complete(&mut anna, &other).await.unwrap();
    assert_eq!(
        claims(&city, "anna").await,
        [(first.trip_id.clone(), 0, false)]
    );
    // And another may get in.
    let (third, offer_id) = city
        .offered_beside("rosa", "anna", &first.trip_id, true)
        .await;
    accept(&mut anna, &third.trip_id, &offer_id).await.unwrap();
    complete(&mut anna, &first.trip_id).await.unwrap();
    assert_eq!(claims(&city, "anna").await, [(third.trip_id, 0, false)]);
    city.check().await;
}

#[tokio::test]
async fn beside_a_ride_that_has_ended_it_is_the_only_one() {
    let city = City::new().await;
    let first = city.in_progress("rita", "anna").await;
    let (second, offer_id) = city
        .offered_beside("rolf", "anna", &first.trip_id, true)
        .await;
    let mut anna = city.driver("anna");
    complete(&mut anna, &first.trip_id).await.unwrap();
    accept(&mut anna, &second.trip_id, &offer_id).await.unwrap();
    assert_eq!(
        claims(&city, "anna").await,
        [(second.trip_id.clone(), 0, false)]
    );
    let event = assigned_event(&city, &second.trip_id).await;
    assert_eq!((event.beside_trip_id.as_str(), event.shared), ("", false));
    city.check().await;
    arrive(&mut anna, &second.trip_id).await.unwrap();
}

#[tokio::test]
async fn a_driver_has_no_third_ride() {
    let city = City::new().await;
    let (first, second) = two(&city, false).await;
    let mut anna = city.driver("anna");
    // Neither beside one of the two, nor beside one that is another driver's, nor as if she were free.
    let theirs = city.assigned("ruth", "ben").await;
    let mut offers = vec![city.offered("rosa", "anna").await];
    for (rider, beside) in [("ryan", &first), ("rick", &second), ("rene", &theirs)] {
        let offer = city.offered_beside(rider, "anna", &beside.trip_id, true);
        offers.push(offer.await);
    }
    for (trip, offer_id) in &offers {
        let refused = accept(&mut anna, &trip.trip_id, offer_id).await;
        assert_eq!(code(refused), Code::DriverOnTrip);
    }
    city.check().await;
    // On one ride she takes none that was not offered beside it.
    complete(&mut anna, &first.trip_id).await.unwrap();
    let (as_if_free, offer_id) = &offers[0];
    let refused = accept(&mut anna, &as_if_free.trip_id, offer_id).await;
    assert_eq!(code(refused), Code::DriverOnTrip);
    let (beside_an_ended_one, offer_id) = &offers[1];
    let refused = accept(&mut anna, &beside_an_ended_one.trip_id, offer_id).await;
    assert_eq!(code(refused), Code::DriverOnTrip);
    let (beside_it, offer_id) = &offers[2];
    accept(&mut anna, &beside_it.trip_id, offer_id)
        .await
        .unwrap();
    assert_eq!(
        claims(&city, "anna").await,
        [
            (second.trip_id.clone(), 0, false),
            (beside_it.trip_id.clone(), 1, true)
        ]
    );
    city.check().await;
}

#[tokio::test]
async fn however_the_first_ends_the_second_is_the_first_then() {
    let city = City::new().await;
    let mut anna = city.driver("anna");
    for end in ["cancel", "give back", "call off"] {
        let first = city.assigned("rita", "anna").await;
        let (second, offer_id) = city
            .offered_beside("rolf", "anna", &first.trip_id, false)
            .await;
        accept(&mut anna, &second.trip_id, &offer_id).await.unwrap();
        assert_eq!(
            code(arrive(&mut anna, &second.trip_id).await),
            Code::DriverOnTrip
        );
        match end {
            "cancel" => cancel(&mut city.rider("rita"), &first.trip_id).await,
            "give back" => cancel(&mut anna, &first.trip_id).await,
            _ => cancel(&mut city.operator(), &first.trip_id).await,
        }
        .unwrap();
        assert_eq!(
            claims(&city, "anna").await,
            [(second.trip_id.clone(), 0, false)],
            "{end}"
        );
        city.check().await;
        arrive(&mut anna, &second.trip_id).await.unwrap();
        for trip in [&first, &second] {
            cancel(&mut city.operator(), &trip.trip_id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_gives_the_second_back_stays_on_the_first() {
    let city = City::new().await;
    let (first, second) = two(&city, false).await;
    let mut anna = city.driver("anna");
    let back = cancel(&mut anna, &second.trip_id).await.unwrap();
    assert_eq!(back.state(), TripState::Searching);
    assert_eq!(
        claims(&city, "anna").await,
        [(first.trip_id.clone(), 0, false)]
    );
    city.check().await;
    // Another driver takes it, as the only ride.
    let offer_id = city.offer(&second.trip_id, "ben").await;
    accept(&mut city.driver("ben"), &second.trip_id, &offer_id)
        .await
        .unwrap();
    arrive(&mut city.driver("ben"), &second.trip_id)
        .await
        .unwrap();
    complete(&mut anna, &first.trip_id).await.unwrap();
    city.check().await;
}

#[tokio::test]
async fn a_second_claim_without_a_first_keeps_nobody_waiting() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    // As the version before leaves it: it frees the first and knows of no second.
    sqlx::query("UPDATE driver_claims SET slot = 1")
        .execute(&city.pool)
        .await
        .unwrap();
    let mut anna = city.driver("anna");
    arrive(&mut anna, &trip.trip_id).await.unwrap();
    cancel(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!(claims(&city, "anna").await, []);
    city.check().await;
}

#[tokio::test]
async fn the_first_cannot_end_between_the_look_at_it_and_the_claim_beside_it() {
    let city = City::new().await;
    let first = city.in_progress("rita", "anna").await;
    let (second, offer_id) = city
        .offered_beside("rolf", "anna", &first.trip_id, false)
        .await;
    // Somebody else is about to take the slot, and will not: the claim waits for them.
    let barrier = city
        .barrier(
            "INSERT INTO driver_claims (driver_id, trip_id, epoch, slot)
             VALUES ('anna', gen_random_uuid(), 1, 1)",
        )
        .await;
    let (mut accepting, mut completing) = (city.driver("anna"), city.driver("anna"));
    let (first_id, second_id) = (first.trip_id.clone(), second.trip_id.clone());
    let accepted = tokio::spawn(async move { accept(&mut accepting, &second_id, &offer_id).await });
    barrier.queue("claim_driver", 1).await;
    let completed = tokio::spawn(async move { complete(&mut completing, &first_id).await });
    barrier.queue("release_driver", 1).await;
    barrier.undo().await;
    accepted.await.unwrap().expect("beside the first");
    completed.await.unwrap().expect("then the first ends");
    let event = assigned_event(&city, &second.trip_id).await;
    assert_eq!(event.beside_trip_id, first.trip_id);
    assert_eq!(
        claims(&city, "anna").await,
        [(second.trip_id.clone(), 0, false)]
    );
    city.check().await;
}

/// How the first ride ends in a round of the race.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Complete,
    GiveBack,
    Cancel,
    CallOff,
}

/// Who comes first in a round of the race.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    AcceptFirst,
    EndFirst,
    AsItComes,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_comes_beside_another_or_after_it_and_never_half_of_each() {
    let city = City::new().await;
    let (mut beside, mut after) = (0, 0);
    for round in 0..60 {
        let how = [End::Complete, End::GiveBack, End::Cancel, End::CallOff][round % 4];
        let order = [Order::AcceptFirst, Order::EndFirst, Order::AsItComes][round % 3];
        let [rita, rolf, rosa, anna] =
            ["rita", "rolf", "rosa", "anna"].map(|name| format!("{name}-{round}"));
        let first = match how {
            End::Complete => city.in_progress(&rita, &anna).await,
            _ => city.assigned(&rita, &anna).await,
        };
        // Two beside it, of which one is hers.
        let id = first.trip_id.as_str();
        let shared = round % 2 == 0;
        let offers = [
            city.offered_beside(&rolf, &anna, id, shared).await,
            city.offered_beside(&rosa, &anna, id, shared).await,
        ];
        let accepting = offers.map(|(trip, offer_id)| {
            let mut anna = city.driver(&anna);
            async move { accept(&mut anna, &trip.trip_id, &offer_id).await }
        });
        let mut ender = match how {
            End::Complete | End::GiveBack => city.driver(&anna),
            End::Cancel => city.rider(&rita),
            End::CallOff => city.operator(),
        };
        let ending = async move {
            match how {
                End::Complete => complete(&mut ender, &first.trip_id).await,
                _ => cancel(&mut ender, &first.trip_id).await,
            }
        };
        // In the queue for the claim of the first, or as it comes.
        let barrier = match order {
            Order::AsItComes => None,
            _ => Some(city.barrier("SELECT 1 FROM driver_claims FOR UPDATE").await),
        };
        let (accepted, ended) = match (order, &barrier) {
            (Order::EndFirst, Some(barrier)) => {
                let ended = tokio::spawn(ending);
                barrier.queue("release_driver", 1).await;
                let accepted = accepting.map(tokio::spawn);
                barrier.queue("lock_claim", 2).await;
                (accepted, ended)
            }
            (_, Some(barrier)) => {
                let accepted = accepting.map(tokio::spawn);
                barrier.queue("lock_claim", 2).await;
                let ended = tokio::spawn(ending);
                barrier.queue("release_driver", 1).await;
                (accepted, ended)
            }
            (_, None) => {
                let ended = tokio::spawn(ending);
                (accepting.map(tokio::spawn), ended)
            }
        };
        if let Some(barrier) = barrier {
            barrier.open().await;
        }
        ended.await.unwrap().expect("the first may always end");
        let mut taken = Vec::new();
        for accepted in accepted {
            match accepted.await.unwrap() {
                Ok(trip) => taken.push(trip),
                refused => assert_eq!(code(refused), Code::DriverOnTrip),
            }
        }
        let context = format!("round {round}: {how:?}, {order:?}");
        city.check().await;
        let [second] = taken.as_slice() else {
            panic!("{context}: one of two is hers: {taken:?}");
        };
        assert_eq!(
            claims(&city, &anna).await,
            [(second.trip_id.clone(), 0, false)],
            "{context}"
        );
        let event = assigned_event(&city, &second.trip_id).await;
        if event.beside_trip_id.is_empty() {
            assert_ne!(order, Order::AcceptFirst, "{context}");
            assert!(!event.shared, "{context}");
            after += 1;
        } else {
            assert_ne!(order, Order::EndFirst, "{context}");
            assert_eq!(event.shared, shared, "{context}");
            beside += 1;
        }
        arrive(&mut city.driver(&anna), &second.trip_id)
            .await
            .expect("it is its turn");
    }
    println!("{beside} beside the first, {after} after it");
}
