//! What a restart remembers.

use jitney_platform::testing::{TestDatabase, eventually, prepare_all};
use jitney_proto::{
    matching::v1::{self as wire, DriverState, MatchEndReason},
    trips::v1::TripEventKind,
};

use super::support::{Town, corner, trip};

#[tokio::test]
async fn every_statement_suits_the_schema() {
    let database = TestDatabase::new().await;
    let pool = database
        .database()
        .open(crate::SCHEMA, &crate::MIGRATOR)
        .await
        .unwrap();
    prepare_all(&pool, crate::statements::ALL).await;
}

#[tokio::test]
async fn drivers_come_back_where_and_as_they_were() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 2).await;
    let _ben = town.driver_at("ben", 3, 3).await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "ben"))
        .await;
    town.tell(town.event(1, 4, TripEventKind::Started, "ben"))
        .await;
    town.pass(2).await; // Positions are written every second.
    let (anna, ben) = (town.driver("anna").await, town.driver("ben").await);

    let town = town.restart(true).await;
    assert_eq!(town.driver("anna").await, anna);
    assert_eq!(town.driver("ben").await, ben);
    assert_eq!(
        (anna.state(), ben.state()),
        (DriverState::Idle, DriverState::OnTrip)
    );
    assert_eq!((anna.location, ben.trip_id), (Some(corner(1, 2)), trip(1)));
    assert!(
        !town
            .tell(town.event(1, 4, TripEventKind::Started, "ben"))
            .await,
        "known already"
    );

    // Anna is found before her app is back.
    let mut search = town.search(2).await;
    assert_eq!(search.made().await.driver_id, "anna");
    let mut app = town.connect("anna", wire::Hello::default()).await;
    app.welcome().await;
    assert_eq!(app.offer().await.1.trip_id, trip(2));
    let mut app = town.connect("ben", wire::Hello::default()).await;
    app.welcome().await;
    let assignment = app.assignment().await;
    assert_eq!((assignment.trip_id, assignment.to_pickup), (trip(1), None));
    assert_eq!(assignment.dropoff, Some(corner(5, 5)));
    town.tell(town.event(1, 5, TripEventKind::Completed, "ben"))
        .await;
    assert_eq!(town.state("ben").await, DriverState::Idle);

    // Whoever does not come back is silent from now on.
    let town = town.restart(true).await;
    town.pass(62).await;
    town.becomes("ben", DriverState::Offline).await;
    let town = town.restart(true).await;
    assert_eq!(
        town.state("ben").await,
        DriverState::Offline,
        "and that was written down, too"
    );
}

#[tokio::test]
async fn an_open_offer_survives_a_kill() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let _ben = town.driver_at("ben", 2, 0).await;
    let mut search = town.search(1).await;
    let made = search.made().await;
    let (_, offer) = anna.offer().await;
    town.pass(2).await;

    let town = town.restart(false).await;
    assert_eq!(town.state("anna").await, DriverState::Offered);
    let mut anna = town.connect("anna", wire::Hello::default()).await;
    anna.welcome().await;
    assert_eq!(anna.offer().await.1, offer);
    let again = wire::RequestMatchRequest {
        open_offer_id: made.offer_id.clone(),
        ..town.match_request(1)
    };
    let mut search = town.search_with(again).await;
    assert_eq!(search.made().await, made);
    town.tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
        .await;
    assert_eq!(search.ended().await, MatchEndReason::Assigned);
    assert_eq!(anna.assignment().await.trip_id, trip(1));

    let town = town.restart(false).await;
    assert_eq!(
        town.state("anna").await,
        DriverState::EnRoute,
        "the offer is gone, the ride is not"
    );
}

#[tokio::test]
async fn availability_is_durable_when_it_is_answered() {
    let town = Town::new().await;
    let mut anna = town.connect("anna", wire::Hello::default()).await;
    anna.welcome().await;
    anna.begin_shift(&["van"]).await;
    let town = town.restart(false).await;
    let driver = town.driver("anna").await;
    assert_eq!(
        (driver.state(), driver.products),
        (DriverState::Idle, vec!["van".to_owned()])
    );
    assert_eq!(driver.vehicle.unwrap().plate, "AB 123");
}

#[tokio::test]
async fn trips_that_cross_leave_the_driver_on_the_later_one() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
        .await;
    assert_eq!(anna.assignment().await.trip_id, trip(1));
    town.pass(30).await;
    // Trip 1 ended and trip 2 was assigned, but the news of the first is late.
    let ended = town.event(1, 4, TripEventKind::Completed, "anna");
    town.pass(1).await;
    town.tell(town.event(2, 3, TripEventKind::Assigned, "anna"))
        .await;
    assert_eq!(anna.assignment().await.trip_id, trip(2));
    assert!(town.tell(ended).await);
    assert_eq!(
        anna.assignment_ended().await.trip_id,
        trip(1),
        "late, but told"
    );
    assert_eq!(town.driver("anna").await.trip_id, trip(2));
    let town = town.restart(false).await;
    assert_eq!(town.driver("anna").await.trip_id, trip(2));
}

#[tokio::test]
async fn an_orderly_stop_ends_every_stream_and_forgets_nothing() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    search.made().await;
    anna.offer().await;
    let town = town.restart(true).await;
    let unavailable = Some(jitney_proto::Code::Unavailable);
    assert_eq!(
        jitney_proto::Code::of(&anna.next().await.unwrap_err()),
        unavailable
    );
    assert_eq!(
        jitney_proto::Code::of(&search.next().await.unwrap_err()),
        unavailable
    );
    eventually("the last position is back", async || {
        town.driver("anna").await.location == Some(corner(1, 0))
    })
    .await;
}
