//! StreamDriver: connecting, pings, resuming, being superseded, silence.

use chrono::TimeDelta;
use jitney_proto::{
    Code,
    common::v1::Point,
    matching::v1::{self as wire, DriverState, stream_driver_request::Message as Say},
    time::timestamp,
};

use super::support::{Town, corner, trip};

#[tokio::test]
async fn the_first_message_is_hello_and_only_that() {
    let town = Town::new().await;
    let mut app = town.connect("anna", wire::Hello::default()).await;
    let welcome = app.welcome().await;
    assert!(!welcome.resumed);
    assert_eq!(welcome.silence_max_ms, 60_000);
    assert_eq!(welcome.driver.unwrap().state(), DriverState::Offline);
    app.say(Say::Hello(wire::Hello::default())).await;
    assert_eq!(
        Code::of(&app.next().await.unwrap_err()),
        Some(Code::StreamOrder)
    );

    let other = wire::Hello {
        driver_id: "ben".into(),
        ..Default::default()
    };
    let mut app = town.connect("anna", other).await;
    assert_eq!(
        Code::of(&app.next().await.unwrap_err()),
        Some(Code::PermissionDenied)
    );
}

#[tokio::test]
async fn pings_are_judged_one_by_one() {
    let town = Town::new().await;
    let mut app = town.driver_at("anna", 0, 0).await;
    let at = |seconds: i64, location: Point| wire::Ping {
        location: Some(location),
        recorded_at: Some(timestamp(town.now() + TimeDelta::seconds(seconds))),
        ..Default::default()
    };
    town.pass(20).await;
    let receipt = app
        .pings(
            42,
            vec![
                at(-10, corner(1, 0)),
                at(-10, corner(1, 0)),
                at(-5, corner(9, 9)),
                at(-5, corner(2, 0)),
                at(60, corner(2, 0)),
                at(-400, corner(2, 0)),
                at(-1, Point::new(3.0, 3.0)),
                at(-1, Point::new(f64::NAN, 3.0)),
            ],
        )
        .await;
    let reasons: Vec<_> = receipt
        .refused
        .iter()
        .map(|refused| (refused.index, refused.reason.as_str()))
        .collect();
    assert_eq!((receipt.batch, receipt.accepted), (42, 2));
    assert_eq!(
        reasons,
        [
            (1, "OUT_OF_ORDER"),
            (2, "JUMP"),
            (4, "FROM_THE_FUTURE"),
            (5, "TOO_OLD"),
            (6, "OUTSIDE_MAP"),
            (7, "OUT_OF_RANGE"),
        ]
    );
    assert_eq!(town.driver("anna").await.location, Some(corner(2, 0)));

    let many = vec![at(0, corner(2, 0)); 101];
    app.say(Say::Pings(wire::Pings {
        batch: 43,
        pings: many,
    }))
    .await;
    assert_eq!(
        Code::of(&app.next().await.unwrap_err()),
        Some(Code::InvalidRequest)
    );
}

#[tokio::test]
async fn coming_on_shift_is_not_a_jump() {
    let town = Town::new().await;
    let mut app = town.driver_at("anna", 0, 0).await;
    app.say(Say::Availability(wire::Availability::default()))
        .await;
    assert_eq!(app.updated().await, DriverState::Offline);
    town.pass(1).await;
    app.begin_shift(&[]).await;
    app.ping(corner(9, 9)).await;
}

#[tokio::test]
async fn an_unknown_product_closes_the_stream_with_its_reason() {
    let town = Town::new().await;
    let mut app = town.connect("anna", wire::Hello::default()).await;
    app.welcome().await;
    let products = vec!["yacht".to_owned()];
    app.say(Say::Availability(wire::Availability {
        available: true,
        products,
        ..Default::default()
    }))
    .await;
    assert_eq!(
        Code::of(&app.next().await.unwrap_err()),
        Some(Code::UnknownProduct)
    );
}

#[tokio::test]
async fn a_newer_connection_takes_over_and_is_sent_what_was_not_acknowledged() {
    let town = Town::new().await;
    let mut app = town.connect("anna", wire::Hello::default()).await;
    let session = app.welcome().await.session_id;
    app.begin_shift(&["economy"]).await;
    app.ping(corner(1, 0)).await;
    let mut first = town.search(1).await;
    let made = first.made().await;
    assert_eq!(app.offer().await.0, 1);
    town.client()
        .cancel_match(town.as_service(wire::CancelMatchRequest { trip_id: trip(1) }))
        .await
        .unwrap();
    assert_eq!(app.withdrawn().await, wire::OfferEndReason::Withdrawn);
    let _second = town.search(2).await;
    assert_eq!(app.offer().await.0, 3);
    app.ack(1).await;

    let hello = wire::Hello {
        resume_session_id: session.clone(),
        last_seq: 1,
        ..Default::default()
    };
    let mut newer = town.connect("anna", hello).await;
    let welcome = newer.welcome().await;
    assert!(welcome.resumed && welcome.session_id == session);
    assert_eq!(
        Code::of(&app.next().await.unwrap_err()),
        Some(Code::Superseded)
    );
    let (seq, withdrawn) = newer.told().await;
    assert_eq!(seq, 2);
    assert!(format!("{withdrawn:?}").contains(&made.offer_id));
    let (seq, offer) = newer.offer().await;
    assert_eq!((seq, offer.trip_id), (3, trip(2)));
    // The older connection's end leaves the newer one alone.
    drop(app);
    town.settle().await;
    newer.ping(corner(1, 0)).await;
}

#[tokio::test]
async fn a_new_session_begins_with_the_open_offer_or_the_live_trip() {
    use jitney_proto::trips::v1::TripEventKind;
    let town = Town::new().await;
    let mut app = town.driver_at("anna", 1, 0).await;
    let mut search = town.search(1).await;
    let (_, offer) = app.offer().await;
    app.ack(1).await;
    drop(app);

    // The app was reinstalled: it knows of no session.
    let mut app = town.connect("anna", wire::Hello::default()).await;
    assert!(!app.welcome().await.resumed);
    assert_eq!(app.offer().await, (1, offer.clone()));

    search.made().await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
        .await;
    assert_eq!(app.assignment().await.trip_id, trip(1));
    drop(app);
    let gone = wire::Hello {
        resume_session_id: "gone".into(),
        last_seq: 9,
        ..Default::default()
    };
    let mut app = town.connect("anna", gone).await;
    let welcome = app.welcome().await;
    assert!(!welcome.resumed);
    assert_eq!(welcome.driver.unwrap().trip_id, trip(1));
    let assignment = app.assignment().await;
    assert_eq!(assignment.trip_id, trip(1));
    assert_eq!(assignment.pickup, Some(corner(0, 0)));
    let way = assignment.to_pickup.unwrap();
    assert!((200..=201).contains(&way.distance_meters), "{way:?}");
}

#[tokio::test]
async fn a_silent_driver_is_taken_off_shift_but_not_at_once() {
    let town = Town::new().await;
    let app = town.driver_at("anna", 1, 0).await;
    drop(app);
    town.pass(59).await;
    assert_eq!(
        town.state("anna").await,
        DriverState::Idle,
        "only disconnected"
    );
    town.pass(2).await;
    town.becomes("anna", DriverState::Offline).await;

    let mut app = town.driver_at("ben", 1, 0).await;
    for _ in 0..4 {
        town.pass(30).await;
        app.ping(corner(1, 0)).await;
    }
    assert_eq!(town.state("ben").await, DriverState::Idle);
}

#[tokio::test]
async fn an_app_that_reads_nothing_is_disconnected() {
    let config = crate::Config {
        stream_queue_max: 150,
        ..Default::default()
    };
    let town = Town::with(config).await;
    let mut app = town.driver_at("anna", 1, 0).await;
    for batch in 0..2_000 {
        if !app
            .try_say(Say::Pings(wire::Pings {
                batch,
                pings: Vec::new(),
            }))
            .await
        {
            break;
        }
    }
    let end = loop {
        if let Err(end) = app.next().await {
            break end;
        }
    };
    assert_eq!(Code::of(&end), Some(Code::Overloaded));
}
