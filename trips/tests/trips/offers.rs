//! Offers: who may take one, until when, and who gets it when several want it at once.

use std::time::Duration;

use futures::future::join_all;
use jitney_platform::testing::eventually;
use jitney_proto::{
    Code,
    matching::v1::OfferEndReason,
    trips::v1::{Actor, TripEventKind, TripState},
};

use crate::support::{City, accept, arrive, cancel, code, decline, get};

#[tokio::test]
async fn of_two_trips_offered_to_one_driver_one_is_theirs() {
    let city = City::new().await;
    for round in 0..15 {
        let (first, second) = (format!("rita-{round}"), format!("rolf-{round}"));
        let driver = format!("anna-{round}");
        let offers = [
            city.offered(&first, &driver).await,
            city.offered(&second, &driver).await,
        ];
        let accepts = offers.clone().map(|(trip, offer_id)| {
            let mut driver = city.driver(&driver);
            tokio::spawn(async move { accept(&mut driver, &trip.trip_id, &offer_id).await })
        });
        let answers: Vec<_> = join_all(accepts)
            .await
            .into_iter()
            .map(|a| a.unwrap())
            .collect();
        assert_eq!(
            answers.iter().filter(|answer| answer.is_ok()).count(),
            1,
            "round {round}"
        );
        let refused = answers.into_iter().find(|answer| answer.is_err()).unwrap();
        assert_eq!(code(refused), Code::DriverOnTrip);
        city.check().await;
    }
}

#[tokio::test]
async fn one_driver_of_many_gets_the_offer_and_once() {
    let city = City::new().await;
    let (trip, offer_id) = city.offered("rita", "anna").await;
    let accepts = (0..50).map(|number| {
        let id = if number % 2 == 0 {
            "anna".to_owned()
        } else {
            format!("ben-{number}")
        };
        let (mut driver, trip_id, offer_id) =
            (city.driver(&id), trip.trip_id.clone(), offer_id.clone());
        tokio::spawn(async move { (id, accept(&mut driver, &trip_id, &offer_id).await) })
    });
    let mut theirs = Vec::new();
    for answer in join_all(accepts).await {
        match answer.unwrap() {
            (id, answer) if id == "anna" => theirs.push(answer.unwrap()),
            (_, answer) => assert_eq!(code(answer), Code::NotFound),
        }
    }
    assert!(
        theirs.iter().all(|answer| *answer == theirs[0]),
        "one answer, however often"
    );
    assert_eq!(theirs[0].version, 3);
    let driver = theirs[0].driver.clone().unwrap();
    assert_eq!(
        (driver.plate.as_str(), driver.vehicle.as_str()),
        ("ANNA-1", "white Corolla")
    );
    // Repeated later it is still the same trip, wherever it stands.
    arrive(&mut city.driver("anna"), &trip.trip_id)
        .await
        .unwrap();
    let later = accept(&mut city.driver("anna"), &trip.trip_id, &offer_id)
        .await
        .unwrap();
    assert_eq!(later.state(), TripState::DriverArrived);
    city.check().await;
}

#[tokio::test]
async fn a_ride_is_accepted_or_called_off_and_never_half_of_each() {
    let city = City::new().await;
    let (mut taken, mut late) = (0, 0);
    for round in 0..21 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let (trip, offer_id) = city.offered(&rider, &driver).await;
        let (mut rita, mut anna) = (city.rider(&rider), city.driver(&driver));
        let (id, other_id) = (trip.trip_id.clone(), trip.trip_id.clone());
        let accepting = async move { accept(&mut anna, &id, &offer_id).await };
        let cancelling = async move { cancel(&mut rita, &other_id).await };
        // One before the other in the queue for the trip, the other before the one, or as it comes.
        let order = round % 3;
        let (accepting, cancelling) = if order == 2 {
            (tokio::spawn(accepting), tokio::spawn(cancelling))
        } else {
            let barrier = city.barrier("SELECT 1 FROM trip FOR UPDATE").await;
            let (accepting, cancelling) = if order == 0 {
                let accepting = tokio::spawn(accepting);
                barrier.queue("lock_trip", 1).await;
                (accepting, tokio::spawn(cancelling))
            } else {
                let cancelling = tokio::spawn(cancelling);
                barrier.queue("lock_trip", 1).await;
                (tokio::spawn(accepting), cancelling)
            };
            barrier.queue("lock_trip", 2).await;
            barrier.open().await;
            (accepting, cancelling)
        };
        let (accepted, cancelled) = tokio::join!(accepting, cancelling);
        // A rider may always call off a ride that has not begun.
        assert_eq!(cancelled.unwrap().unwrap().state(), TripState::Cancelled);
        match accepted.unwrap() {
            Ok(_) => taken += 1,
            refused => {
                assert_eq!(code(refused), Code::OfferNotOpen);
                late += 1;
            }
        }
        city.check().await;
        assert_eq!(city.count("SELECT count(*) FROM driver_claims").await, 0);
    }
    println!("{taken} taken before they were called off, {late} too late");
    assert!(taken >= 7 && late >= 7, "either was first in 7 queues");
}

#[tokio::test]
async fn a_ride_is_accepted_or_the_offer_ends() {
    let city = City::new().await;
    for round in 0..20 {
        let (rider, driver) = (format!("rita-{round}"), format!("anna-{round}"));
        let (trip, offer_id) = city.offered(&rider, &driver).await;
        let search = city.matching.search(&trip.trip_id).await;
        let mut anna = city.driver(&driver);
        let (accepted, ()) = tokio::join!(
            accept(&mut anna, &trip.trip_id, &offer_id),
            search.end_offer(&offer_id, &driver, OfferEndReason::Expired),
        );
        match accepted {
            Ok(trip) => assert_eq!(trip.state(), TripState::Assigned),
            refused => {
                assert_eq!(code(refused), Code::OfferNotOpen);
                city.in_state(&trip.trip_id, TripState::Searching).await;
            }
        }
        city.check().await;
    }
}

#[tokio::test]
async fn the_database_judges_whether_an_offer_is_in_time() {
    let city = City::new().await;
    let trip = city.searching("rita").await;
    let search = city.matching.search(&trip.trip_id).await;
    let offer_id = search.offer("anna", Duration::from_millis(150)).await;
    city.in_state(&trip.trip_id, TripState::Offered).await;
    eventually("the offer's end", async || {
        city.count("SELECT count(*) FROM offer WHERE expires_at < clock_timestamp()")
            .await
            == 1
    })
    .await;
    // Nobody has ended it yet, and yet it is over.
    let late = accept(&mut city.driver("anna"), &trip.trip_id, &offer_id).await;
    let status = late.expect_err("too late");
    assert_eq!(Code::of(&status), Some(Code::OfferNotOpen));
    assert!(status.message().contains("OFFERED"), "{}", status.message());
    city.check().await;
    search
        .end_offer(&offer_id, "anna", OfferEndReason::Expired)
        .await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    let late = accept(&mut city.driver("anna"), &trip.trip_id, &offer_id).await;
    assert_eq!(code(late), Code::OfferNotOpen);
}

#[tokio::test]
async fn a_driver_quicker_than_matchings_word_is_waited_for() {
    let city = City::new().await;
    let trip = city.searching("rita").await;
    let search = city.matching.search(&trip.trip_id).await;
    let offer_id = uuid::Uuid::now_v7().to_string();
    let mut anna = city.driver("anna");
    let barrier = city
        .barrier("LOCK TABLE offer IN ACCESS EXCLUSIVE MODE")
        .await;
    let (accepted, ()) = tokio::join!(accept(&mut anna, &trip.trip_id, &offer_id), async {
        // She has looked for her offer and found none.
        barrier.queue("read_offer_driver", 1).await;
        barrier.pass("read_offer_driver").await;
        search
            .offer_again(&offer_id, "anna", Duration::from_secs(15))
            .await;
    });
    assert_eq!(accepted.unwrap().state(), TripState::Assigned);
    // An offer that nobody ever made is not found, after that moment.
    let trip = city.searching("rolf").await;
    let invented = accept(&mut anna, &trip.trip_id, &offer_id).await;
    assert_eq!(code(invented), Code::NotFound);
}

#[tokio::test]
async fn who_declines_is_not_asked_again() {
    let city = City::new().await;
    let (trip, offer_id) = city.offered("rita", "anna").await;
    let mut anna = city.driver("anna");
    assert_eq!(
        code(decline(&mut city.driver("ben"), &trip.trip_id, &offer_id).await),
        Code::NotFound
    );
    for _ in 0..2 {
        decline(&mut anna, &trip.trip_id, &offer_id).await.unwrap();
    }
    city.in_state(&trip.trip_id, TripState::Searching).await;
    let late = accept(&mut anna, &trip.trip_id, &offer_id).await;
    assert_eq!(code(late), Code::OfferNotOpen);
    // The search goes on as it was; one that is begun anew excludes her, and whoever did not answer.
    let second = city.offer(&trip.trip_id, "ben").await;
    let search = city.matching.search(&trip.trip_id).await;
    search
        .end_offer(&second, "ben", OfferEndReason::Expired)
        .await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    let third = city.offer(&trip.trip_id, "carl").await;
    search
        .end_offer(&third, "carl", OfferEndReason::Withdrawn)
        .await;
    city.in_state(&trip.trip_id, TripState::Searching).await;
    search.break_off(tonic::Status::unavailable("gone")).await;
    eventually("another search", async || {
        city.matching.searches(&trip.trip_id) == 2
    })
    .await;
    let again = city.matching.search(&trip.trip_id).await;
    assert_eq!(again.request.excluded_driver_ids, ["anna", "ben"]);
    use TripEventKind::{Created, OfferDeclined, OfferEnded, Offered};
    let expected = [
        Created,
        Offered,
        OfferDeclined,
        Offered,
        OfferEnded,
        Offered,
        OfferEnded,
    ];
    // The event feed runs beside the search: what it tells arrives in order, in its own time.
    let told = || -> Vec<_> {
        let events = city.matching.events(&trip.trip_id);
        events.iter().map(|event| event.kind()).collect()
    };
    eventually("the last of the events", async || {
        told().len() >= expected.len()
    })
    .await;
    assert_eq!(told(), expected);
    city.check().await;
}

#[tokio::test]
async fn a_driver_gives_a_ride_back() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    let mut anna = city.driver("anna");
    arrive(&mut anna, &trip.trip_id).await.unwrap();
    let back = cancel(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!(back.state(), TripState::Searching);
    assert_eq!(back.driver, None);
    assert_eq!(city.count("SELECT count(*) FROM driver_claims").await, 0);
    let log = city.log(&trip.trip_id).await;
    let last = log.last().unwrap();
    assert_eq!(
        (last.actor(), last.actor_id.as_str()),
        (Actor::Driver, "anna")
    );
    // She is free for another ride, and not asked for this one again.
    eventually("a new search", async || {
        city.matching
            .search(&trip.trip_id)
            .await
            .request
            .excluded_driver_ids
            == ["anna"]
    })
    .await;
    city.assigned("rolf", "anna").await;
    // Ben takes it; she sees nothing of it, and yet may repeat what she did.
    let offer_id = city.offer(&trip.trip_id, "ben").await;
    accept(&mut city.driver("ben"), &trip.trip_id, &offer_id)
        .await
        .unwrap();
    assert_eq!(code(get(&mut anna, &trip.trip_id).await), Code::NotFound);
    let again = cancel(&mut anna, &trip.trip_id).await.unwrap();
    assert_eq!((again.state(), again.driver), (TripState::Assigned, None));
    assert_eq!(
        code(cancel(&mut city.driver("carl"), &trip.trip_id).await),
        Code::NotFound
    );
    city.check().await;
}

#[tokio::test]
async fn a_ride_is_assigned_without_the_vehicle_when_matching_does_not_say() {
    let city = City::new().await;
    city.matching.forget_driver("anna");
    let trip = city.assigned("rita", "anna").await;
    let driver = get(&mut city.rider("rita"), &trip.trip_id)
        .await
        .unwrap()
        .driver
        .unwrap();
    assert_eq!(
        (driver.driver_id.as_str(), driver.plate.as_str()),
        ("anna", "")
    );
}
