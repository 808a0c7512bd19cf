//! Travel times that follow what drivers' positions tell of the traffic.

use std::time::Duration;

use jitney_proto::{
    common::v1::{BoundingBox, Point},
    matching::v1::{self as wire},
    time::timestamp,
};
use tonic::{Code, Status};

use super::support::{App, Town, corner};
use crate::{Config, traffic::TrafficConfig};

/// Driving time along the southern street, from its third corner to its fifth, milliseconds.
async fn along_ms(town: &Town) -> i64 {
    let request = wire::ComputeRouteRequest {
        points: vec![corner(2, 0), corner(4, 0)],
        ..Default::default()
    };
    let answer = town.client().compute_route(town.as_service(request)).await;
    answer.unwrap().into_inner().route.unwrap().duration_ms
}

async fn snapshot(town: &Town) -> wire::TrafficSnapshotResponse {
    ask(town, None, 0).await.unwrap()
}

/// The roads of an area, between two corners, of the whole town without one.
async fn ask(
    town: &Town,
    area: Option<[Point; 2]>,
    limit: u32,
) -> Result<wire::TrafficSnapshotResponse, Status> {
    let area = area.map(|[south_west, north_east]| BoundingBox {
        south_west: Some(south_west),
        north_east: Some(north_east),
    });
    let request = wire::TrafficSnapshotRequest {
        area,
        limit,
        omit_lines: false,
    };
    let request = town.as_rider("rita", request);
    let answer = town.client().traffic_snapshot(request).await?;
    Ok(answer.into_inner())
}

/// Cars creep along that street at a sixth of its speed: 50 m in 30 s.
async fn jam(town: &Town, app: &mut App) {
    for step in 0..10 {
        town.pass(30).await;
        let degrees = |metres: f64| metres / 111_195.0;
        let ping = wire::Ping {
            location: Some(Point::new(0.0, degrees(390.0 + f64::from(step) * 50.0))),
            heading_degrees: Some(90.0),
            speed_mps: Some(2.5),
            recorded_at: Some(timestamp(town.now())),
        };
        let receipt = app.pings(1, vec![ping]).await;
        assert_eq!(receipt.accepted, 1, "{receipt:?}");
    }
}

#[tokio::test]
async fn a_jam_makes_the_way_longer_and_is_shown_and_survives_a_restart() {
    let config = Config {
        traffic: TrafficConfig {
            half_life: Duration::from_secs(100),
            ..TrafficConfig::default()
        },
        ..Config::default()
    };
    let town = Town::with(config).await;
    let free_ms = along_ms(&town).await;
    assert!(snapshot(&town).await.roads.is_empty());
    let mut anna = town.driver_at("anna", 1, 0).await;
    jam(&town, &mut anna).await;
    town.pass(61).await;
    let jammed_ms = along_ms(&town).await;
    assert!(jammed_ms > free_ms * 5 / 4, "{jammed_ms} against {free_ms}");
    let shown = snapshot(&town).await;
    assert!(shown.is_enabled && !shown.roads.is_empty());
    let road = &shown.roads[0];
    assert!(road.speed_kmh < road.free_speed_kmh * 0.8, "{road:?}");
    let (first, last) = (&road.line[0], &road.line[road.line.len() - 1]);
    assert!(first.longitude < last.longitude, "the cars drove east");

    let town = town.restart(false).await;
    let restored_ms = along_ms(&town).await;
    assert!(
        restored_ms > free_ms * 6 / 5,
        "{restored_ms} against {free_ms}"
    );
    // Nobody drives there any more, and it dissolves.
    town.pass(900).await;
    assert!(along_ms(&town).await < free_ms * 21 / 20);
}

/// A car drives east along that street at `mps` metres a second for `seconds`, and reports as it does.
async fn drive(town: &Town, app: &mut App, mps: f64, seconds: u32) {
    for second in 0..seconds {
        town.pass(1).await;
        let east_m = 410.0 + f64::from(second) * mps;
        let ping = wire::Ping {
            location: Some(Point::new(0.0, east_m / 111_195.0)),
            heading_degrees: Some(90.0),
            speed_mps: Some(mps as f32),
            recorded_at: Some(timestamp(town.now())),
        };
        let receipt = app.pings(1, vec![ping]).await;
        assert_eq!(receipt.accepted, 1, "{receipt:?}");
    }
}

#[tokio::test]
async fn a_jam_of_cars_that_report_every_second_is_seen() {
    let town = Town::new().await;
    let free_ms = along_ms(&town).await;
    let mut anna = town.driver_at("anna", 2, 0).await;
    drive(&town, &mut anna, 2.5, 140).await;
    town.pass(11).await;
    let jammed_ms = along_ms(&town).await;
    assert!(jammed_ms > free_ms * 5 / 4, "{jammed_ms} against {free_ms}");
}

#[tokio::test]
async fn a_snapshot_shows_an_area_and_no_more_than_was_asked_for() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    jam(&town, &mut anna).await;
    town.pass(11).await;
    let whole = snapshot(&town).await.roads;
    assert!(whole.len() > 1, "{whole:?}");
    let is_best_first = |pair: &[wire::TrafficRoad]| pair[0].weight >= pair[1].weight;
    assert!(whole.windows(2).all(is_best_first), "{whole:?}");
    let one = ask(&town, None, 1).await.unwrap().roads;
    assert_eq!(one, whole[..1]);
    let around = ask(&town, Some([corner(1, 0), corner(6, 1)]), 0).await;
    assert_eq!(around.unwrap().roads, whole);
    let elsewhere = ask(&town, Some([corner(0, 5), corner(9, 9)]), 0).await;
    assert!(elsewhere.unwrap().roads.is_empty());
    let wrong_way_round = ask(&town, Some([corner(6, 1), corner(1, 0)]), 0).await;
    let too_many = ask(&town, None, u32::MAX).await;
    for refused in [wrong_way_round, too_many] {
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn an_orderly_stop_keeps_what_was_not_written_down_yet() {
    let config = Config {
        traffic: TrafficConfig {
            save_interval: Duration::from_secs(86_400),
            ..TrafficConfig::default()
        },
        ..Config::default()
    };
    let town = Town::with(config).await;
    let free_ms = along_ms(&town).await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    jam(&town, &mut anna).await;
    town.pass(11).await;
    let jammed_ms = along_ms(&town).await;
    assert!(jammed_ms > free_ms * 5 / 4, "{jammed_ms} against {free_ms}");
    drop(anna);
    let town = town.restart(true).await;
    let restored_ms = along_ms(&town).await;
    assert!(
        restored_ms > free_ms * 5 / 4,
        "{restored_ms} against {free_ms}"
    );
}

#[tokio::test]
async fn switched_off_nothing_follows() {
    let config = Config {
        traffic: TrafficConfig {
            enabled: false,
            interval: Duration::from_secs(1),
            ..TrafficConfig::default()
        },
        ..Config::default()
    };
    let town = Town::with(config).await;
    let free_ms = along_ms(&town).await;
    let mut anna = town.driver_at("anna", 1, 0).await;
    jam(&town, &mut anna).await;
    assert_eq!(along_ms(&town).await, free_ms);
    let shown = snapshot(&town).await;
    assert!(!shown.is_enabled && shown.roads.is_empty());
}
