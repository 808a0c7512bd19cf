//! The database's part: what a late write may not do, and what happens while it is away.

use chrono::{DateTime, TimeDelta, Utc};
use jitney_platform::testing::TestDatabase;
use jitney_proto::{
    matching::v1::{self as wire, DriverState},
    trips::v1::{TripEvent, TripEventKind},
};
use jitney_roads::LatLon;
use sqlx::PgPool;

use super::support::{Town, trip};
use crate::{
    fleet::Vehicle,
    rides::Rides,
    store::{DriverRow, Store},
};

#[tokio::test]
async fn late_writes_do_not_undo_newer_ones() {
    let database = TestDatabase::new().await;
    let pool = database
        .database()
        .open(crate::SCHEMA, &crate::MIGRATOR)
        .await
        .unwrap();
    let store = Store::new(pool);
    let at = |second| DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second);
    let row = |shift_no, available, second, lat| DriverRow {
        id: "anna".parse().unwrap(),
        products: vec!["economy".to_owned(), "van".to_owned()],
        vehicle: Some(Vehicle {
            plate: format!("N{shift_no}"),
            description: String::new(),
        }),
        available,
        shift_no,
        position: Some((LatLon::new(lat, 7.0).unwrap(), Some(90.0), at(second))),
        destination: LatLon::new(f64::from(i32::from(available)), 1.0).ok(),
    };
    let rest = DriverRow {
        products: Vec::new(),
        vehicle: None,
        position: None,
        destination: None,
        ..row(0, false, 0, 0.0)
    };
    let ben = DriverRow {
        id: "ben".parse().unwrap(),
        ..rest
    };
    store
        .save_drivers(vec![ben.clone(), row(5, true, 50, 1.0)])
        .await
        .unwrap();
    // The shift is newer, the position older.
    store
        .save_drivers(vec![row(6, false, 40, 2.0)])
        .await
        .unwrap();
    // The other way round.
    store
        .save_drivers(vec![row(4, true, 60, 3.0)])
        .await
        .unwrap();
    store.save_drivers(Vec::new()).await.unwrap();
    let loaded = store.load_drivers().await.unwrap();
    assert_eq!(
        loaded,
        [
            (row(6, false, 60, 3.0), Rides::default()),
            (ben, Rides::default())
        ]
    );
}

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

#[tokio::test]
async fn an_offer_that_cannot_be_written_down_is_not_made() {
    let town = Town::new().await;
    let pool = town.pool().await;
    run(&pool, "ALTER TABLE offer RENAME TO away").await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    town.pass(3).await;
    run(&pool, "ALTER TABLE away RENAME TO offer").await;
    town.pass(2).await;
    let made = search.made().await;
    let (seq, offer) = anna.offer().await;
    assert_eq!(
        (seq, offer.offer_id),
        (1, made.offer_id),
        "the first she hears of any"
    );
}

#[tokio::test]
async fn an_event_whose_writing_failed_is_applied_when_it_comes_again() {
    let town = Town::new().await;
    let pool = town.pool().await;
    let _anna = town.driver_at("anna", 1, 0).await;
    let assigned = || town.event(1, 3, TripEventKind::Assigned, "anna");
    run(&pool, "ALTER TABLE trip_applied RENAME TO away").await;
    let outcomes = town.tell_all(vec![assigned()]).await.unwrap();
    assert!(!outcomes[0].applied && !outcomes[0].problem.is_empty());
    assert_eq!(town.state("anna").await, DriverState::Idle);
    run(&pool, "ALTER TABLE away RENAME TO trip_applied").await;
    // As if the answer to COMMIT had been lost: the database has it, the fleet has not.
    sqlx::query("INSERT INTO trip_applied (trip_id, version) VALUES ($1, 3)")
        .bind(trip(1).parse::<uuid::Uuid>().unwrap())
        .execute(&pool)
        .await
        .unwrap();
    assert!(town.tell(assigned()).await);
    assert_eq!(town.state("anna").await, DriverState::EnRoute);
    assert!(!town.tell(assigned()).await);
}

#[tokio::test]
async fn events_told_together_are_as_told_one_by_one() {
    let town = Town::new().await;
    let pool = town.pool().await;
    for (number, driver) in [(1, "anna"), (2, "ben"), (3, "carla"), (4, "dora")] {
        let _ = town.driver_at(driver, number, 0).await;
    }
    let event = |number, version, kind, driver: &str| town.event(number, version, kind, driver);
    let events = vec![
        event(1, 3, TripEventKind::Assigned, "anna"),
        event(1, 4, TripEventKind::Started, "anna"),
        event(1, 5, TripEventKind::Completed, "anna"),
        event(2, 3, TripEventKind::Assigned, "ben"),
        event(2, 4, TripEventKind::Unassigned, "ben"),
        // A driver who was never seen here.
        event(2, 5, TripEventKind::Assigned, "zoe"),
        event(3, 3, TripEventKind::Assigned, "carla"),
        event(3, 4, TripEventKind::Started, "carla"),
        event(4, 3, TripEventKind::Assigned, "dora"),
    ];
    let outcomes = town.tell_all(events.clone()).await.unwrap();
    assert!(
        outcomes.iter().all(|outcome| outcome.applied),
        "{outcomes:?}"
    );
    let expected = [
        ("anna", DriverState::Idle),
        ("ben", DriverState::Idle),
        ("carla", DriverState::OnTrip),
        ("dora", DriverState::EnRoute),
    ];
    for (driver, state) in expected {
        assert_eq!(town.state(driver).await, state, "{driver}");
    }
    // Once more, mixed with what is new: only that counts.
    let mut again = events;
    again.push(event(4, 4, TripEventKind::Started, "dora"));
    let outcomes = town.tell_all(again).await.unwrap();
    let applied: Vec<bool> = outcomes.iter().map(|outcome| outcome.applied).collect();
    assert_eq!(
        applied,
        [
            false, false, false, false, false, false, false, false, false, true
        ]
    );
    // What was written down is what the fleet knows.
    let kept: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT driver_id, leg FROM driver WHERE trip_id IS NOT NULL ORDER BY driver_id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let kept: Vec<&str> = kept.iter().map(|(driver, _)| driver.as_str()).collect();
    assert_eq!(kept, ["carla", "dora", "zoe"]);
    let town = town.restart(false).await;
    assert_eq!(town.state("carla").await, DriverState::OnTrip);
    assert_eq!(town.state("dora").await, DriverState::OnTrip);
    assert_eq!(town.state("anna").await, DriverState::Idle);
}

#[tokio::test]
async fn the_stops_that_are_left_are_counted_down() {
    let town = Town::new().await;
    let pool = town.pool().await;
    let _anna = town.driver_at("anna", 1, 0).await;
    let left = async || {
        sqlx::query_scalar::<_, i32>("SELECT stops_left FROM driver WHERE driver_id = 'anna'")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let kinds = [
        (3, TripEventKind::Assigned, 2),
        (4, TripEventKind::Started, 2),
        (5, TripEventKind::ArrivedAtStop, 1),
        (6, TripEventKind::ArrivedAtStop, 0),
    ];
    for (version, kind, stops_left) in kinds {
        let event = town.event(1, version, kind, "anna");
        assert!(
            town.tell(TripEvent {
                stops_left,
                ..event
            })
            .await
        );
        assert_eq!(left().await, i32::try_from(stops_left).unwrap());
    }
    assert_eq!(town.state("anna").await, DriverState::OnTrip);
    let town = town.restart(false).await;
    assert_eq!(town.state("anna").await, DriverState::OnTrip);
}

#[tokio::test]
async fn an_event_that_the_database_refuses_takes_no_other_with_it() {
    let town = Town::new().await;
    let pool = town.pool().await;
    let _anna = town.driver_at("anna", 1, 0).await;
    let _ben = town.driver_at("ben", 2, 0).await;
    run(
        &pool,
        "ALTER TABLE driver ADD CONSTRAINT no_anna CHECK (driver_id <> 'anna' OR trip_id IS NULL)",
    )
    .await;
    let events = vec![
        town.event(1, 3, TripEventKind::Assigned, "anna"),
        town.event(1, 4, TripEventKind::Started, "anna"),
        town.event(2, 3, TripEventKind::Assigned, "ben"),
    ];
    let outcomes = town.tell_all(events.clone()).await.unwrap();
    assert!(!outcomes[0].problem.is_empty() && !outcomes[1].problem.is_empty());
    assert!(outcomes[2].applied);
    assert_eq!(town.state("ben").await, DriverState::EnRoute);
    run(&pool, "ALTER TABLE driver DROP CONSTRAINT no_anna").await;
    let outcomes = town.tell_all(events).await.unwrap();
    assert!(outcomes[0].applied && outcomes[1].applied && !outcomes[2].applied);
    assert_eq!(town.state("anna").await, DriverState::OnTrip);
}

#[tokio::test]
async fn a_shift_that_was_not_written_down_is_answered_so_and_written_later() {
    let town = Town::new().await;
    let pool = town.pool().await;
    run(&pool, "ALTER TABLE driver RENAME TO away").await;
    let set = wire::SetAvailabilityRequest {
        driver_id: "anna".into(),
        available: true,
        products: vec!["van".into()],
        ..Default::default()
    };
    town.client()
        .set_availability(town.request(jitney_platform::auth::Role::Operator, "olga", set))
        .await
        .unwrap_err();
    run(&pool, "ALTER TABLE away RENAME TO driver").await;
    town.pass(3).await;
    let town = town.restart(false).await;
    assert_eq!(town.driver("anna").await.products, ["van"]);
}
