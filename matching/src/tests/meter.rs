//! How far riders were driven.

use jitney_proto::{Code, common::v1::Point, matching::v1 as wire, trips::v1::TripEventKind};
use tonic::Status;

use super::support::{Town, corner, trip};

async fn measured(town: &Town, number: u32) -> Result<wire::MeasureTripResponse, Status> {
    let request = wire::MeasureTripRequest {
        trip_id: trip(number),
    };
    let answer = town.client().measure_trip(town.as_service(request)).await;
    answer.map(tonic::Response::into_inner)
}

async fn by_road(town: &Town, points: Vec<Point>) -> i64 {
    let request = wire::ComputeRouteRequest {
        points,
        omit_line: true,
    };
    let answer = town.client().compute_route(town.as_service(request)).await;
    answer.unwrap().into_inner().route.unwrap().distance_meters
}

#[tokio::test]
async fn a_ride_is_measured_from_boarding_to_its_end() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 0, 0).await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "anna"))
        .await;
    anna.assignment().await;
    // The way to the rider is not the rider's.
    town.pass(20).await;
    anna.ping(corner(1, 0)).await;
    let none = measured(&town, 1).await.unwrap_err();
    assert_eq!(Code::of(&none), Some(Code::NotFound));
    town.tell(town.event(1, 4, TripEventKind::Started, "anna"))
        .await;
    let way = [(1, 1), (1, 2), (2, 2), (3, 2)];
    for (x, y) in way {
        town.pass(20).await;
        anna.ping(corner(x, y)).await;
    }
    town.tell(town.event(1, 5, TripEventKind::Completed, "anna"))
        .await;
    anna.assignment_ended().await;
    let driven = measured(&town, 1).await.unwrap();
    let corners = [(1, 0)].into_iter().chain(way);
    let whole = by_road(&town, corners.map(|(x, y)| corner(x, y)).collect()).await;
    assert_eq!((driven.distance_meters, driven.positions), (whole, 5));
    assert_eq!(driven.gap_ms, 20_000);
    let near = |(seen, (x, y)): (&Point, _)| seen.distance_m(corner(x, y)) < 1.0;
    let corners = [(1, 0)].into_iter().chain(way);
    assert!(driven.way.iter().zip(corners).all(near), "{:?}", driven.way);
    assert_eq!(driven.way.len(), 5);

    // What the driver does next is no part of it, and a restart forgets it.
    town.pass(20).await;
    anna.ping(corner(0, 2)).await;
    assert_eq!(measured(&town, 1).await.unwrap(), driven);
    let town = town.restart(true).await;
    assert!(measured(&town, 1).await.is_err());
}
