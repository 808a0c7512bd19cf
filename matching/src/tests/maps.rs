//! Another map while everything runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::StreamExt;
use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    matching::v1::{
        self as wire, DriverState, MatchEndReason, stream_driver_request::Message as Say,
        stream_driver_response::Message as Told,
    },
    trips::v1::TripEventKind,
};
use tokio::task::JoinSet;
use tonic::Status;

use super::support::{App, Town, corner, trip};
use crate::Config;

impl Town {
    async fn reload_map(&self) -> Result<wire::ReloadMapResponse, Status> {
        let request = self.request(Role::Operator, "olga", wire::ReloadMapRequest {});
        let answer = self.client().reload_map(request).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn map_id(&self) -> String {
        let request = self.as_service(wire::GetServiceAreaRequest {});
        let answer = self.client().get_service_area(request).await;
        answer.unwrap().into_inner().map_id
    }

    /// The nearest drivers of a corner, and their times in seconds.
    async fn nearby(&self, x: u32, y: u32) -> Result<Vec<(String, i64)>, Status> {
        let request = self.as_service(wire::NearbyDriversRequest {
            location: Some(corner(x, y)),
            ..Default::default()
        });
        let answer = self.client().nearby_drivers(request).await?.into_inner();
        let found = answer.drivers.into_iter();
        Ok(found
            .map(|driver| (driver.driver_id, driver.duration_ms / 1_000))
            .collect())
    }
}

#[tokio::test]
async fn everybody_is_put_on_the_new_map_where_they_are() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 2, 0).await;
    let _ben = town.driver_at("ben", 9, 9).await;
    let mut carl = town.driver_at("carl", 1, 3).await;
    town.tell(town.event(9, 1, TripEventKind::Assigned, "carl"))
        .await;
    carl.assignment().await;
    // One search whose pick-up stays on the map and one whose does not. Nobody serves them yet.
    let limousine = |number, place| wire::RequestMatchRequest {
        pickup: Some(place),
        rider_id: format!("rita-{number}"),
        product: "van".into(),
        ..town.match_request(number)
    };
    for (name, app) in [("anna", &mut anna)] {
        app.begin_shift(&["comfort"]).await;
        town.becomes(name, DriverState::Idle).await;
    }
    let mut ben = town.connect("ben", wire::Hello::default()).await;
    ben.welcome().await;
    ben.begin_shift(&["comfort"]).await;
    let mut near = town.search_with(limousine(1, corner(2, 1))).await;
    let mut far = town.search_with(limousine(2, corner(8, 9))).await;

    let before = town.map_id().await;
    town.replace_map(Some((5, 5)));
    let reloaded = town.reload_map().await.unwrap();
    assert!(reloaded.is_changed);
    assert_eq!(reloaded.map_id, town.map_id().await);
    assert_ne!(reloaded.map_id, before);
    assert_eq!((reloaded.drivers_off_map, reloaded.searches_ended), (1, 1));
    assert_eq!(far.ended().await, MatchEndReason::NoDriver);

    // Anna stands where she stood; Ben has no position until he reports one that is on the map.
    assert_eq!(town.nearby(0, 0).await.unwrap(), [("anna".into(), 40)]);
    assert!(town.driver("ben").await.location.is_none());
    assert_eq!(town.state("carl").await, DriverState::EnRoute);
    ben.ping(corner(4, 4)).await;
    let all = [("anna".into(), 40), ("ben".into(), 160)];
    assert_eq!(town.nearby(0, 0).await.unwrap(), all);
    // The search that stayed goes on where it was.
    anna.begin_shift(&["van"]).await;
    let made = town.until(near.made()).await;
    assert_eq!(made.driver_id, "anna");
    assert!(
        (20_000..21_000).contains(&made.pickup_duration_ms),
        "{made:?}"
    );

    // The same map again is no other map, and one that cannot be opened changes nothing.
    let again = town.reload_map().await.unwrap();
    assert_eq!(
        (again.is_changed, again.map_id),
        (false, reloaded.map_id.clone())
    );
    town.replace_map(None);
    let refused = town.reload_map().await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::MapUnusable));
    assert!(refused.message().contains("the map is burnt"), "{refused}");
    assert_eq!(town.map_id().await, reloaded.map_id);
    // And back.
    town.replace_map(Some((10, 10)));
    assert_eq!(town.reload_map().await.unwrap().map_id, before);
    assert_eq!(town.nearby(3, 4).await.unwrap(), [("ben".into(), 20)]);
}

/// What a caller may be told while maps come and go.
fn known<T>(answer: Result<T, Status>) -> Option<T> {
    let expected = [Code::OutsideMap, Code::NoDriver];
    match answer {
        Ok(answer) => Some(answer),
        Err(status) if Code::of(&status).is_some_and(|code| expected.contains(&code)) => None,
        Err(status) => panic!("{status:?}"),
    }
}

/// A driver's app that goes about the town.
async fn drive(mut app: App, number: u32, over: &AtomicBool) {
    let mut at = number;
    while !over.load(Ordering::Relaxed) {
        at = (at + 1) % 10;
        let ping = wire::Ping {
            location: Some(corner(at, number)),
            ..Default::default()
        };
        let (batch, pings) = (1, vec![ping]);
        app.say(Say::Pings(wire::Pings { batch, pings })).await;
        loop {
            match app.told().await {
                (_, Told::PingReceipt(receipt)) => {
                    let mut reasons = receipt.refused.iter().map(|refused| &*refused.reason);
                    let is_known = reasons.all(|reason| reason == "OUTSIDE_MAP");
                    assert!(is_known, "{receipt:?}");
                    break;
                }
                (0, _) => {}
                (seq, _) => app.ack(seq).await,
            }
        }
    }
}

/// Everything that looks a place up.
async fn ask(town: &Town, start: u32, over: &AtomicBool) {
    let mut client = town.client();
    for number in start.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let place = corner(number % 10, number / 10 % 10);
        known(town.nearby(number % 10, number % 7).await);
        let route = wire::ComputeRouteRequest {
            points: vec![corner(0, 0), place],
            ..Default::default()
        };
        known(client.compute_route(town.as_service(route)).await);
        let watch = wire::WatchDriverRequest {
            driver_id: format!("driver-{}", number % 8),
            target: Some(place),
        };
        let watched = known(client.watch_driver(town.as_service(watch)).await);
        if let Some(mut positions) = watched.map(tonic::Response::into_inner) {
            let soon = std::time::Duration::from_millis(2);
            if let Ok(Some(position)) = tokio::time::timeout(soon, positions.next()).await {
                position.unwrap();
            }
        }
        let booking = wire::MatchDriverRequest {
            pickup: Some(place),
            rider_id: format!("rita-{number}"),
            ..Default::default()
        };
        known(client.match_driver(town.as_service(booking)).await);
        tokio::task::yield_now().await;
    }
}

/// Positions in bulk: long enough to look up for the map to change in between.
async fn report(town: &Town, over: &AtomicBool) {
    let mut client = town.client();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let ping = wire::Ping {
            location: Some(corner(number % 10, number / 10 % 10)),
            ..Default::default()
        };
        let of = |driver| wire::DriverPings {
            driver_id: format!("driver-{driver}"),
            pings: vec![ping; 500],
        };
        let drivers = (0..8).map(of).collect();
        let report = futures::stream::iter([wire::ReportLocationsRequest { drivers }]);
        known(client.report_locations(town.as_service(report)).await);
        tokio::task::yield_now().await;
    }
}

/// Searches, some of which find a driver.
async fn search(town: &Town, over: &AtomicBool) {
    let mut client = town.client();
    for number in 1_000.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let request = wire::RequestMatchRequest {
            pickup: Some(corner(number % 10, number / 10 % 10)),
            ..town.match_request(number)
        };
        let searched = known(client.request_match(town.as_service(request)).await);
        if let Some(mut events) = searched.map(tonic::Response::into_inner) {
            let soon = std::time::Duration::from_millis(20);
            if let Ok(Some(event)) = tokio::time::timeout(soon, events.next()).await {
                event.unwrap();
            }
        }
        let trip_id = trip(number);
        let cancel = wire::CancelMatchRequest { trip_id };
        client.cancel_match(town.as_service(cancel)).await.unwrap();
    }
}

/// Roads of the larger map have numbers that the smaller does not: whoever takes one for the other
/// breaks down or answers nonsense.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_map_changes_under_load() {
    let config = Config {
        // Drivers are where they are said to be, whoever says it.
        ping_noise_m: 1e6,
        ..Config::default()
    };
    let town = Arc::new(Town::with(config).await);
    let over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for number in 0..8 {
        let name = format!("driver-{number}");
        let app = town.driver_at(&name, number, number).await;
        let over = Arc::clone(&over);
        load.spawn(async move { drive(app, number, &over).await });
    }
    for start in [0, 37] {
        let (town, over) = (Arc::clone(&town), Arc::clone(&over));
        load.spawn(async move { ask(&town, start, &over).await });
    }
    let (t, o) = (Arc::clone(&town), Arc::clone(&over));
    load.spawn(async move { report(&t, &o).await });
    let (t, o) = (Arc::clone(&town), Arc::clone(&over));
    load.spawn(async move { search(&t, &o).await });
    for round in 0..60 {
        let is_small = round % 2 == 0;
        town.replace_map(Some(if is_small { (4, 7) } else { (10, 10) }));
        assert!(town.reload_map().await.unwrap().is_changed);
        town.pass(1).await;
    }
    over.store(true, Ordering::Relaxed);
    // Nobody broke down, and after all that everybody is where they say.
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    let _vera = town.driver_at("vera", 3, 2).await;
    let found = town.nearby(3, 2).await.unwrap();
    assert!(found.contains(&("vera".into(), 0)), "{found:?}");
}
