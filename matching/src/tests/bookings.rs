//! MatchDriver: reservations, raced and repeated.

use std::collections::HashSet;

use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    matching::v1::{self as wire, DriverState},
};

use super::support::{Town, corner};

fn wish(key: &str) -> wire::MatchDriverRequest {
    wire::MatchDriverRequest {
        pickup: Some(corner(0, 0)),
        idempotency_key: key.into(),
        ..Default::default()
    }
}

async fn book(
    town: &Town,
    rider: &str,
    wish: wire::MatchDriverRequest,
) -> Result<wire::MatchDriverResponse, tonic::Status> {
    town.client()
        .match_driver(town.as_rider(rider, wish))
        .await
        .map(tonic::Response::into_inner)
}

#[tokio::test]
async fn the_nearest_is_set_aside_for_a_while() {
    let town = Town::new().await;
    let _far = town.driver_at("ben", 3, 3).await;
    let mut near = town.driver_at("anna", 1, 1).await;
    let booking = book(&town, "rita", wish("")).await.unwrap();
    assert_eq!(booking.driver_id, "anna");
    assert!(
        (400..=402).contains(&booking.distance_meters),
        "{booking:?}"
    );
    assert_eq!(booking.eta_seconds, 41, "a little over 40 s, rounded up");
    assert_eq!(booking.vehicle.unwrap().plate, "AB 123");
    assert_eq!(town.state("anna").await, DriverState::Offered);
    assert_eq!(book(&town, "rob", wish("")).await.unwrap().driver_id, "ben");
    let refused = book(&town, "rob", wish("")).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::NoDriver));
    // No trip is offered to them meanwhile.
    let mut search = town.search(1).await;
    town.pass(19).await;
    assert_eq!(town.state("anna").await, DriverState::Offered);
    town.pass(1).await;
    assert_eq!(search.made().await.driver_id, "anna");
    assert_eq!(near.offer().await.1.pickup, Some(corner(0, 0)));
    assert_eq!(town.state("ben").await, DriverState::Idle);
}

#[tokio::test]
async fn a_repeated_key_gives_the_same_reservation() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 1).await;
    let _ben = town.driver_at("ben", 2, 2).await;
    let first = book(&town, "rita", wish("k")).await.unwrap();
    assert_eq!(book(&town, "rita", wish("k")).await.unwrap(), first);
    let elsewhere = wire::MatchDriverRequest {
        pickup: Some(corner(5, 5)),
        ..wish("k")
    };
    let refused = book(&town, "rita", elsewhere).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::IdempotencyKeyReused));
    // Another rider's key of the same text is another key.
    assert_eq!(
        book(&town, "rob", wish("k")).await.unwrap().driver_id,
        "ben"
    );
    // So is one's own when it is long past.
    town.pass(25).await;
    assert_eq!(book(&town, "rita", wish("k")).await.unwrap(), first);
}

#[tokio::test]
async fn a_trip_with_the_reservation_goes_to_its_driver_first() {
    let town = Town::new().await;
    let _far = town.driver_at("ben", 5, 5).await;
    let booking = book(&town, "rita", wish("")).await.unwrap();
    assert_eq!(booking.driver_id, "ben");
    let _near = town.driver_at("anna", 0, 1).await;
    let theirs = wire::RequestMatchRequest {
        rider_id: "rob".into(),
        reservation_id: booking.reservation_id.clone(),
        ..town.match_request(1)
    };
    assert_eq!(
        town.search_with(theirs).await.made().await.driver_id,
        "anna",
        "it is not rob's"
    );
    let own = wire::RequestMatchRequest {
        reservation_id: booking.reservation_id,
        ..town.match_request(2)
    };
    assert_eq!(town.search_with(own).await.made().await.driver_id, "ben");
}

#[tokio::test]
async fn riders_reserve_for_themselves() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 1).await;
    let for_rob = || wire::MatchDriverRequest {
        rider_id: "rob".into(),
        ..wish("")
    };
    let refused = book(&town, "rita", for_rob()).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::PermissionDenied));
    let request = town.request(Role::Operator, "olga", for_rob());
    town.client().match_driver(request).await.unwrap();
    let outside = wire::MatchDriverRequest {
        pickup: Some(jitney_proto::common::v1::Point::new(5.0, 5.0)),
        ..wish("")
    };
    let refused = book(&town, "rita", outside).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::OutsideMap));
}

#[tokio::test]
async fn a_rider_may_be_limited() {
    let config = crate::Config {
        reservations_per_rider_max: 1,
        ..Default::default()
    };
    let town = Town::with(config).await;
    let _anna = town.driver_at("anna", 1, 1).await;
    let _ben = town.driver_at("ben", 2, 1).await;
    book(&town, "rita", wish("")).await.unwrap();
    let refused = book(&town, "rita", wish("")).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::Overloaded));
    town.pass(20).await;
    book(&town, "rita", wish("")).await.unwrap();
}

#[tokio::test]
async fn no_rider_holds_the_whole_fleet_unless_it_is_configured_so() {
    let unlimited = crate::Config {
        reservations_per_rider_max: 0,
        ..Default::default()
    };
    for (config, most) in [(crate::Config::default(), 3), (unlimited, 4)] {
        let town = Town::with(config).await;
        let mut apps = Vec::new();
        for number in 0..5 {
            apps.push(town.driver_at(&format!("d{number}"), number, 1).await);
        }
        for _ in 0..most {
            book(&town, "rita", wish("")).await.unwrap();
        }
        if most == 3 {
            let refused = book(&town, "rita", wish("")).await.unwrap_err();
            assert_eq!(Code::of(&refused), Some(Code::Overloaded));
        }
        // There is somebody left for others.
        book(&town, "rob", wish("")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_two_riders_get_the_same_driver() {
    let town = Town::new().await;
    let mut apps = Vec::new();
    for number in 0..50 {
        apps.push(
            town.driver_at(&format!("d{number}"), number % 10, number / 10)
                .await,
        );
    }
    let calls = (0..200).map(|rider| {
        let (mut client, request) = (
            town.client(),
            town.as_rider(&format!("r{rider}"), wish("key")),
        );
        tokio::spawn(async move { client.match_driver(request).await })
    });
    let mut drivers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(booking) => drivers.push(booking.into_inner().driver_id),
            Err(refused) => assert_eq!(Code::of(&refused), Some(Code::NoDriver)),
        }
    }
    let distinct: HashSet<&String> = drivers.iter().collect();
    assert_eq!((drivers.len(), distinct.len()), (50, 50), "everybody once");
}
