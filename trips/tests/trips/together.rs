//! What drivers do on the way is carried out together, each judged and answered on its own; and what has
//! changed since it was judged is judged again.

use chrono::SubsecRound;
use jitney_platform::{clock::Clock, testing::eventually};
use jitney_proto::{
    Code,
    ids::DriverId,
    trips::v1::{Trip, TripState},
};
use jitney_trips::{
    command::{Command, arrive::Arrive, start::Start},
    store::{Job, Rules, Store},
};

use crate::support::{City, arrive, code, get, quick, start};

fn job(trip: &Trip, command: Command) -> Job {
    Job {
        trip_id: trip.trip_id.parse().expect("an id"),
        command,
        asked_in: tracing::Span::none(),
        rules: Rules {
            now: Clock::system().now().trunc_subsecs(6),
            limits: quick().limits(),
        },
    }
}

fn arriving(trip: &Trip, driver: &str) -> Job {
    let driver_id: DriverId = driver.parse().expect("an id");
    job(trip, Command::Arrive(Arrive { driver_id }))
}

fn starting(trip: &Trip, driver: &str, pin: &str) -> Job {
    let start = Start {
        driver_id: driver.parse().expect("an id"),
        pin: pin.to_owned(),
    };
    job(trip, Command::Start(start))
}

/// `true` for a move that was made, `false` for one that had been made before, none for what has to be
/// judged under a lock.
async fn move_on(store: &Store, jobs: &[Job]) -> Vec<Option<bool>> {
    let jobs: Vec<&Job> = jobs.iter().collect();
    let answers = store.move_on(&jobs).await.expect("the database");
    answers
        .into_iter()
        .map(|answer| answer.map(|outcome| outcome.expect("no refusal").is_changed))
        .collect()
}

#[tokio::test]
async fn each_is_judged_on_its_own() {
    let city = City::new().await;
    let mut trips = Vec::new();
    for number in 0..4 {
        let (rider, driver) = (format!("rita-{number}"), format!("anna-{number}"));
        trips.push(city.assigned(&rider, &driver).await);
    }
    let pin = get(&mut city.rider("rita-2"), &trips[2].trip_id)
        .await
        .unwrap()
        .pin;
    let nobody = Trip {
        trip_id: "0190a000-0000-7000-8000-00000000dead".to_owned(),
        ..trips[0].clone()
    };
    let store = Store::new(city.pool.clone());
    let arrivals = [
        arriving(&trips[0], "anna-0"),
        arriving(&trips[1], "anna-1"),
        arriving(&trips[2], "anna-2"),
        // Another's, one that is not there, one that has not arrived, and one that is in it already.
        arriving(&trips[3], "anna-0"),
        arriving(&nobody, "anna-0"),
        starting(&trips[3], "anna-3", "0000"),
        arriving(&trips[0], "anna-0"),
    ];
    let made = Some(true);
    assert_eq!(
        move_on(&store, &arrivals).await,
        [made, made, made, None, None, None, None]
    );
    let together = "SELECT count(DISTINCT xmin::text) FROM trip WHERE state = 'DRIVER_ARRIVED'";
    assert_eq!(city.count(together).await, 1, "one statement");
    let next = [
        arriving(&trips[0], "anna-0"),
        starting(&trips[2], "anna-2", &pin),
        starting(&trips[1], "anna-1", "x"),
    ];
    assert_eq!(move_on(&store, &next).await, [Some(false), made, None]);
    let states = [
        TripState::DriverArrived,
        TripState::DriverArrived,
        TripState::InProgress,
        TripState::Assigned,
    ];
    for (number, state) in states.into_iter().enumerate() {
        let trip = get(
            &mut city.rider(&format!("rita-{number}")),
            &trips[number].trip_id,
        )
        .await
        .unwrap();
        assert_eq!(trip.state(), state);
        assert_eq!(city.log(&trip.trip_id).await.len() as i64, trip.version);
    }
    assert_eq!(
        city.count("SELECT sum(wrong_pins)::bigint FROM trip").await,
        0,
        "refusals are made, and counted, under a lock"
    );
    city.check().await;
}

#[tokio::test]
async fn a_pin_that_was_locked_meanwhile_stays_locked() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    let id = trip.trip_id.as_str();
    arrive(&mut city.driver("anna"), id).await.unwrap();
    let pin = get(&mut city.rider("rita"), id).await.unwrap().pin;
    let wrong = if pin == "0000" { "0001" } else { "0000" };
    for _ in 0..4 {
        let refused = start(&mut city.driver("anna"), id, wrong).await;
        assert_eq!(code(refused), Code::WrongPin);
    }
    // The right PIN was judged with one try left, and is about to be written.
    let barrier = city
        .barrier("LOCK TABLE trip_transition IN ACCESS EXCLUSIVE MODE")
        .await;
    let (mut anna, own, right) = (city.driver("anna"), id.to_owned(), pin.clone());
    let starting = tokio::spawn(async move { start(&mut anna, &own, &right).await });
    barrier.queue("move_trips", 1).await;
    // The last try is used up by another call in between.
    let refused = start(&mut city.driver("anna"), id, wrong).await;
    assert_eq!(code(refused), Code::WrongPin);
    barrier.open().await;
    assert_eq!(code(starting.await.unwrap()), Code::PinLocked);
    let stuck = get(&mut city.rider("rita"), id).await.unwrap();
    assert_eq!(
        (stuck.state(), stuck.version),
        (TripState::DriverArrived, 4)
    );
    city.check().await;
}

#[tokio::test]
async fn a_move_is_not_written_over_a_change_it_does_not_know() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    let id = trip.trip_id.as_str();
    let barrier = city
        .barrier("LOCK TABLE trip_transition IN ACCESS EXCLUSIVE MODE")
        .await;
    let (mut anna, own) = (city.driver("anna"), id.to_owned());
    let arriving = tokio::spawn(async move { arrive(&mut anna, &own).await });
    barrier.queue("move_trips", 1).await;
    // As if its rider had gone elsewhere in between; the log's table is locked.
    sqlx::query("UPDATE trip SET version = version + 1, fare_minor = fare_minor + 100")
        .execute(&city.pool)
        .await
        .unwrap();
    barrier.open().await;
    let arrived = arriving.await.unwrap().unwrap();
    assert_eq!(arrived.version, trip.version + 2);
    let versions = "SELECT max(version) FROM outbox WHERE type = 'DRIVER_ARRIVED'";
    assert_eq!(city.count(versions).await, trip.version + 2);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_told_as_its_trips() {
    let city = City::new().await;
    let trip = city.assigned("rita", "anna").await;
    sqlx::query(
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload)
         VALUES (gen_random_uuid(), 'trip', $1::uuid, 'ODD', 4, decode('ff', 'hex'))",
    )
    .bind(&trip.trip_id)
    .execute(&city.pool)
    .await
    .unwrap();
    // Without a version it is refused, and by its trip the later ones are known.
    eventually("the event", async || {
        let told = city.matching.events(&trip.trip_id);
        told.iter().any(|event| event.trip_version == 0)
    })
    .await;
}

#[tokio::test]
async fn a_trip_that_another_holds_keeps_no_other_waiting() {
    let city = City::new().await;
    let held = city.assigned("rita", "anna").await;
    let free = city.assigned("rosa", "ben").await;
    let barrier = city
        .barrier("SELECT 1 FROM trip WHERE rider_id = 'rita' FOR UPDATE")
        .await;
    let jobs = [arriving(&held, "anna"), arriving(&free, "ben")];
    let store = Store::new(city.pool.clone());
    assert_eq!(move_on(&store, &jobs).await, [None, Some(true)]);
    // Alone it waits its turn.
    let (mut anna, id) = (city.driver("anna"), held.trip_id.clone());
    let arriving = tokio::spawn(async move { arrive(&mut anna, &id).await });
    barrier.queue("lock_trip", 1).await;
    barrier.open().await;
    let arrived = arriving.await.unwrap().unwrap();
    assert_eq!(arrived.state(), TripState::DriverArrived);
    city.check().await;
}
