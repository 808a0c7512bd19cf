//! The calls that answer once, and the ones that watch.

use futures::StreamExt;
use jitney_platform::auth::Role;
use jitney_proto::{
    Code,
    common::v1::{BoundingBox, Point, Route, RouteStep},
    matching::v1::{self as wire, DriverState},
    trips::v1::TripEventKind,
};

use super::support::{Town, corner, trip};

#[tokio::test]
async fn drivers_see_themselves_and_staff_see_all() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 1).await;
    let get = |id: &str| wire::GetDriverRequest {
        driver_id: id.into(),
    };
    let own = town.request(Role::Driver, "anna", get("anna"));
    let driver = town
        .client()
        .get_driver(own)
        .await
        .unwrap()
        .into_inner()
        .driver
        .unwrap();
    assert_eq!(
        (driver.driver_id.as_str(), driver.state()),
        ("anna", DriverState::Idle)
    );
    for (role, caller, id) in [
        (Role::Driver, "ben", "anna"),
        (Role::Operator, "olga", "ben"),
        (Role::Driver, "ben", "ben"),
    ] {
        let refused = town
            .client()
            .get_driver(town.request(role, caller, get(id)))
            .await;
        assert_eq!(
            Code::of(&refused.unwrap_err()),
            Some(Code::NotFound),
            "{caller} asks for {id}"
        );
    }
}

#[tokio::test]
async fn shifts_by_call() {
    let town = Town::new().await;
    let set = |id: &str, available, products: &[&str]| wire::SetAvailabilityRequest {
        driver_id: id.into(),
        available,
        products: products.iter().map(ToString::to_string).collect(),
        vehicle: Some(wire::Vehicle {
            plate: "X".into(),
            description: String::new(),
        }),
        destination_filter: None,
    };
    let mut app = town.connect("anna", wire::Hello::default()).await;
    app.welcome().await;
    let call = town.request(Role::Driver, "anna", set("anna", true, &["van"]));
    let driver = town
        .client()
        .set_availability(call)
        .await
        .unwrap()
        .into_inner()
        .driver
        .unwrap();
    assert_eq!(
        (driver.state(), driver.products),
        (DriverState::Idle, vec!["van".to_owned()])
    );
    assert_eq!(
        app.updated().await,
        DriverState::Idle,
        "the app hears of it, too"
    );
    let call = town.request(Role::Operator, "olga", set("anna", true, &[]));
    let driver = town
        .client()
        .set_availability(call)
        .await
        .unwrap()
        .into_inner()
        .driver
        .unwrap();
    assert_eq!(driver.products, ["van"], "none said keeps what was known");

    let refused = async |role, caller: &str, request| {
        let call = town.request(role, caller, request);
        Code::of(&town.client().set_availability(call).await.unwrap_err())
    };
    let others = set("anna", false, &[]);
    assert_eq!(
        refused(Role::Driver, "ben", others).await,
        Some(Code::NotFound)
    );
    let unknown = set("anna", true, &["yacht"]);
    assert_eq!(
        refused(Role::Driver, "anna", unknown).await,
        Some(Code::UnknownProduct)
    );
    let mut long = set("anna", true, &[]);
    long.vehicle = Some(wire::Vehicle {
        plate: "x".repeat(17),
        ..Default::default()
    });
    assert_eq!(
        refused(Role::Driver, "anna", long).await,
        Some(Code::InvalidRequest)
    );
}

#[tokio::test]
async fn riders_see_nearby_drivers_through_a_veil() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 0).await;
    let _ben = town.driver_at("ben", 0, 3).await;
    let _carl = town.driver_at("carl", 9, 9).await;
    town.tell(town.event(1, 3, TripEventKind::Assigned, "carl"))
        .await;
    let ask = wire::NearbyDriversRequest {
        location: Some(corner(0, 0)),
        ..Default::default()
    };
    let call = town.as_service(ask.clone());
    let real = town
        .client()
        .nearby_drivers(call)
        .await
        .unwrap()
        .into_inner()
        .drivers;
    let ids: Vec<_> = real
        .iter()
        .map(|driver| driver.driver_id.as_str())
        .collect();
    assert_eq!(ids, ["anna", "ben"], "carl is busy");
    assert_eq!(real[1].location, Some(corner(0, 3)));
    assert!((60_000..61_000).contains(&real[1].duration_ms), "{real:?}");
    assert!((600..=602).contains(&real[1].distance_meters));

    let call = town.as_rider("rita", ask.clone());
    let veiled = town
        .client()
        .nearby_drivers(call)
        .await
        .unwrap()
        .into_inner()
        .drivers;
    assert_eq!(veiled.len(), 2);
    for (veiled, real) in veiled.iter().zip(&real) {
        let half_minutes = (real.duration_ms + 29_999) / 30_000;
        assert_eq!(veiled.duration_ms, half_minutes * 30_000, "{real:?}");
        let hundreds = (real.distance_meters + 99) / 100;
        assert_eq!(veiled.distance_meters, hundreds * 100, "{real:?}");
    }
    assert!(
        veiled
            .iter()
            .all(|driver| driver.driver_id.starts_with("car-"))
    );
    assert_ne!(veiled[1].location, real[1].location);

    let within = |max_duration_ms| wire::NearbyDriversRequest {
        max_duration_ms,
        ..ask.clone()
    };
    let count = async |call| {
        let answer = town.client().nearby_drivers(call).await.unwrap();
        answer.into_inner().drivers.len()
    };
    let (exact, seen) = (real[1].duration_ms, veiled[1].duration_ms);
    for (bound, drivers) in [(exact, 2), (exact - 1, 1), (i64::MAX, 2), (1, 0)] {
        assert_eq!(
            count(town.as_service(within(bound))).await,
            drivers,
            "{bound}"
        );
    }
    // What a rider is not shown, a bound does not tell.
    for (bound, drivers) in [(seen, 2), (seen - 1, 1), (exact, 1), (29_999, 0)] {
        assert_eq!(
            count(town.as_rider("rita", within(bound))).await,
            drivers,
            "{bound}"
        );
    }

    let refused = async |request| {
        let call = town.as_rider("rita", request);
        Code::of(&town.client().nearby_drivers(call).await.unwrap_err())
    };
    let many = wire::NearbyDriversRequest {
        limit: 101,
        ..ask.clone()
    };
    assert_eq!(refused(many).await, Some(Code::InvalidRequest));
    assert_eq!(refused(within(-1)).await, Some(Code::InvalidRequest));
    let yacht = wire::NearbyDriversRequest {
        product: "yacht".into(),
        ..ask.clone()
    };
    assert_eq!(refused(yacht).await, Some(Code::UnknownProduct));
    let far = wire::NearbyDriversRequest {
        location: Some(Point::new(9.0, 9.0)),
        ..ask
    };
    assert_eq!(refused(far).await, Some(Code::OutsideMap));
    assert_eq!(
        refused(Default::default()).await,
        Some(Code::InvalidRequest)
    );
}

#[tokio::test]
async fn routes_go_through_all_points() {
    let town = Town::new().await;
    let compute = async |points: Vec<Point>, omit_line| {
        let call = town.as_rider("rita", wire::ComputeRouteRequest { points, omit_line });
        town.client()
            .compute_route(call)
            .await
            .map(|answer| answer.into_inner().route.unwrap())
    };
    let route = compute(vec![corner(0, 0), corner(3, 0), corner(3, 2)], false)
        .await
        .unwrap();
    assert!((999..=1_002).contains(&route.distance_meters), "{route:?}");
    assert!((100_000..101_000).contains(&route.duration_ms));
    assert!(route.line.len() >= 6, "every corner on the way");
    assert!(
        route.line.windows(2).all(|places| places[0] != places[1]),
        "none twice in a row"
    );
    let steps = &route.steps;
    let whole: i64 = steps.iter().map(|step| step.distance_meters).sum();
    assert!((whole - route.distance_meters).abs() <= 2, "{steps:?}");
    assert!(steps.len() >= 2, "it turns at least once: {steps:?}");
    assert_eq!(steps[0].line_start, 0);
    assert!(steps.is_sorted_by_key(|step| step.line_start), "{steps:?}");
    let second_leg = |step: &&RouteStep| step.street == "Column 3";
    let turn = steps.iter().find(second_leg).unwrap();
    let begin = route.line[turn.line_start as usize];
    let turned = corner(3, 0);
    let away = (begin.latitude - turned.latitude).hypot(begin.longitude - turned.longitude);
    assert!(away < 1e-4, "the second leg is at its place in the line");
    let bare = compute(vec![corner(0, 0), corner(3, 0), corner(3, 2)], true)
        .await
        .unwrap();
    assert!(bare.line.is_empty() && bare.steps.is_empty());
    assert_eq!(
        (bare.distance_meters, bare.duration_ms),
        (route.distance_meters, route.duration_ms)
    );
    let code = |refused: Result<Route, _>| Code::of(&refused.unwrap_err());
    assert_eq!(
        code(compute(vec![corner(0, 0)], false).await),
        Some(Code::InvalidRequest)
    );
    assert_eq!(
        code(compute(vec![corner(0, 0); 13], false).await),
        Some(Code::InvalidRequest)
    );
    let outside = compute(vec![corner(0, 0), Point::new(5.0, 5.0)], false).await;
    assert_eq!(code(outside), Some(Code::OutsideMap));
}

#[tokio::test]
async fn the_service_area_is_the_map_and_the_products() {
    let town = Town::new().await;
    let call = town.as_rider("rita", wire::GetServiceAreaRequest {});
    let area = town
        .client()
        .get_service_area(call)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(area.map_name, "grid");
    assert_eq!(area.map_id.len(), 16);
    let products: Vec<_> = area
        .products
        .iter()
        .map(|product| product.product.as_str())
        .collect();
    assert_eq!(products, ["economy", "comfort", "van", "shared"]);
    let north_east = area.area.unwrap().north_east.unwrap();
    assert!((north_east.latitude - corner(9, 9).latitude).abs() < 1e-6);
}

#[tokio::test]
async fn one_driver_watched() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 3, 0).await;
    let watch = wire::WatchDriverRequest {
        driver_id: "anna".into(),
        target: Some(corner(0, 0)),
    };
    let call = town.as_service(watch);
    let mut seen = town.client().watch_driver(call).await.unwrap().into_inner();
    let first = seen.next().await.unwrap().unwrap();
    assert_eq!(first.location, Some(corner(3, 0)));
    assert!(
        (60_000..61_000).contains(&first.eta_ms.unwrap()),
        "{first:?}"
    );
    town.pass(20).await;
    anna.ping(corner(2, 0)).await;
    let second = seen.next().await.unwrap().unwrap();
    assert_eq!(second.location, Some(corner(2, 0)));
    assert!(
        (40_000..41_000).contains(&second.eta_ms.unwrap()),
        "{second:?}"
    );
    let nobody = wire::WatchDriverRequest {
        driver_id: "zoe".into(),
        target: None,
    };
    let refused = town
        .client()
        .watch_driver(town.as_service(nobody))
        .await
        .unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::NotFound));
}

#[tokio::test]
async fn the_fleet_watched() {
    let town = Town::new().await;
    let mut anna = town.driver_at("anna", 1, 1).await;
    let _ben = town.driver_at("ben", 5, 5).await;
    let area = BoundingBox {
        south_west: Some(corner(0, 0)),
        north_east: Some(corner(3, 3)),
    };
    let watch = async |area| {
        let request = wire::WatchFleetRequest {
            interval_ms: 1_000,
            area,
            compact: false,
        };
        town.client()
            .watch_fleet(town.as_service(request))
            .await
            .unwrap()
            .into_inner()
    };
    let (mut all, mut some) = (watch(None).await, watch(Some(area)).await);
    let seen = |message: Option<Result<wire::WatchFleetResponse, _>>| {
        let message: wire::WatchFleetResponse = message.unwrap().unwrap();
        let ids: Vec<_> = message
            .drivers
            .iter()
            .map(|driver| driver.driver_id.clone())
            .collect();
        (message.snapshot, ids, message.gone_driver_ids)
    };
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        seen(all.next().await),
        (true, ids(&["anna", "ben"]), ids(&[]))
    );
    assert_eq!(seen(some.next().await), (true, ids(&["anna"]), ids(&[])));

    // Anna drives out of the area; what happens in between is one message.
    assert_eq!(
        seen(town.until(all.next()).await),
        (false, ids(&[]), ids(&[]))
    );
    for x in 2..5 {
        town.pass(5).await;
        anna.ping(corner(x, 1)).await;
    }
    assert_eq!(
        seen(town.until(all.next()).await),
        (false, ids(&["anna"]), ids(&[]))
    );
    assert_eq!(
        seen(town.until(some.next()).await),
        (false, ids(&[]), ids(&["anna"]))
    );

    let hasty = wire::WatchFleetRequest {
        interval_ms: 100,
        ..Default::default()
    };
    let refused = town
        .client()
        .watch_fleet(town.as_service(hasty))
        .await
        .unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::InvalidRequest));
}

#[tokio::test]
async fn events_that_cannot_be_are_refused() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 1).await;
    let _ben = town.driver_at("ben", 2, 2).await;
    let events = vec![
        town.event(1, 0, TripEventKind::Assigned, "anna"),
        town.event(2, 1, TripEventKind::Assigned, "ben"),
        town.event(1, 1, TripEventKind::Assigned, "anna"),
    ];
    let outcomes = town.tell_all(events.clone()).await.unwrap();
    assert!(outcomes[0].problem.contains("trip_version"), "{outcomes:?}");
    assert_eq!(
        (outcomes[1].applied, outcomes[1].problem.as_str()),
        (true, "")
    );
    assert!(
        outcomes[2].problem.contains("earlier event"),
        "{outcomes:?}"
    );
    assert!(!outcomes[0].applied && !outcomes[2].applied);
    assert_eq!(town.state("anna").await, DriverState::Idle);
    assert_eq!(town.state("ben").await, DriverState::EnRoute);
    let refused = town
        .tell_all(vec![events[1].clone(); 1_001])
        .await
        .unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::InvalidRequest));
    let cancel = wire::CancelMatchRequest { trip_id: trip(1) };
    let call = town.as_rider("rita", cancel);
    let refused = town.client().cancel_match(call).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::PermissionDenied));
}

#[tokio::test]
async fn a_back_end_reports_positions_of_many_drivers() {
    let town = Town::new().await;
    let _anna = town.driver_at("anna", 1, 1).await;
    let _ben = town.driver_at("ben", 2, 2).await;
    town.pass(30).await;
    let at = |x, y| wire::Ping {
        location: Some(corner(x, y)),
        ..Default::default()
    };
    let of = |id: &str, pings: Vec<wire::Ping>| wire::DriverPings {
        driver_id: id.into(),
        pings,
    };
    let nowhere = wire::Ping {
        location: Some(Point::new(f64::NAN, 0.0)),
        ..Default::default()
    };
    let messages = [
        wire::ReportLocationsRequest {
            drivers: vec![
                of("anna", vec![at(2, 1), nowhere]),
                of("ghost", vec![at(0, 0); 3]),
            ],
        },
        wire::ReportLocationsRequest {
            // Ben jumps across town; no name is no driver.
            drivers: vec![of("ben", vec![at(2, 3), at(9, 9)]), of("", vec![at(0, 0)])],
        },
    ];
    let stream = tokio_stream::iter(messages.clone());
    let answer = town
        .client()
        .report_locations(town.as_service(stream))
        .await;
    let answer = answer.unwrap().into_inner();
    let refused: Vec<_> = answer
        .refused
        .iter()
        .map(|refused| (refused.reason.as_str(), refused.count))
        .collect();
    assert_eq!(answer.accepted, 2);
    assert_eq!(
        refused,
        [("JUMP", 1), ("OUT_OF_RANGE", 1), ("UNKNOWN_DRIVER", 4)]
    );
    assert_eq!(town.driver("anna").await.location, Some(corner(2, 1)));
    assert_eq!(town.driver("ben").await.location, Some(corner(2, 3)));
    let stream = tokio_stream::iter(messages);
    let refused = town
        .client()
        .report_locations(town.as_rider("rita", stream))
        .await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn the_demand_map_shows_who_waits_and_who_is_idle() {
    let config = crate::Config {
        demand: crate::demand::DemandConfig {
            surge: crate::demand::SurgeConfig {
                percent_per_rider: 20,
                ..Default::default()
            },
            ..Default::default()
        },
        ..crate::Config::default()
    };
    let town = Town::with(config).await;
    let _anna = town.driver_at("anna", 9, 9).await;
    // Nobody drives vans.
    let mut searches = Vec::new();
    for number in 1..=6 {
        let request = wire::RequestMatchRequest {
            product: "van".into(),
            rider_id: format!("rita-{number}"),
            ..town.match_request(number)
        };
        let anna = "anna".to_owned();
        let excluded_driver_ids = vec![anna];
        searches.push(
            town.search_with(wire::RequestMatchRequest {
                excluded_driver_ids,
                ..request
            })
            .await,
        );
    }
    town.pass(10).await;
    let map = async |request| {
        let request = town.request(Role::Driver, "anna", request);
        let answer = town.client().demand_map(request).await;
        answer.map(|answer| answer.into_inner().cells)
    };
    let all = map(wire::DemandMapRequest::default()).await.unwrap();
    assert_eq!(all.len(), 2, "{all:?}");
    let near = |x: f64, y: f64| (x - y).abs() < 1e-6;
    assert!(
        all.iter()
            .any(|cell| near(cell.waiting, 6.0) && cell.idle_drivers < 1e-6)
    );
    assert!(
        all.iter()
            .any(|cell| near(cell.idle_drivers, 1.0) && cell.waiting < 1e-6)
    );
    let at = |x, y| wire::DemandMapRequest {
        at: Some(corner(x, y)),
        area: None,
    };
    // Six riders and, within reach, no driver.
    let here = map(at(0, 0)).await.unwrap();
    assert_eq!((here.len(), here[0].surge_percent), (1, 200));
    let there = map(at(9, 9)).await.unwrap();
    assert_eq!((there.len(), there[0].surge_percent), (1, 100));
    let both = wire::DemandMapRequest {
        area: Some(BoundingBox {
            south_west: Some(corner(0, 0)),
            north_east: Some(corner(1, 1)),
        }),
        ..at(0, 0)
    };
    assert_eq!(
        Code::of(&map(both).await.unwrap_err()),
        Some(Code::InvalidRequest)
    );
    let rider = town.as_rider("rita", wire::DemandMapRequest::default());
    let refused = town.client().demand_map(rider).await.unwrap_err();
    assert_eq!(Code::of(&refused), Some(Code::PermissionDenied));
}
