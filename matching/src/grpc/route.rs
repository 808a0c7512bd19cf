//! ComputeRoute, ComputeMatrix and GetServiceArea: what the map alone can answer.

use jitney_proto::{
    common::v1::{BoundingBox, Point, Route, RouteStep},
    matching::v1 as wire,
};
use jitney_roads::{RoadNetwork, Snap, SourceSet};

use crate::{dispatch::Ground, error::Refusal, wire as words};

/// The fastest way through all points.
pub fn compute(ground: &Ground, request: &wire::ComputeRouteRequest) -> Result<Route, Refusal> {
    let most = ground.config.route_points_max;
    if !(2..=most).contains(&request.points.len()) {
        return Err(Refusal::bad_field(
            "points",
            format!("must be 2 to {most} points"),
        ));
    }
    let reach_m = ground.config.snap_distance_max_m;
    let stops = (0..)
        .zip(&request.points)
        .map(|(index, point)| {
            words::on_road(
                &ground.roads,
                reach_m,
                Some(point),
                &format!("points[{index}]"),
            )
        })
        .collect::<Result<Vec<Snap>, _>>()?;
    let mut whole = Route::default();
    for (from, leg) in (0..).zip(stops.windows(2)) {
        let no_route = || Refusal::NoRoute { from, to: from + 1 };
        if request.omit_line {
            let travel = ground
                .nearest
                .travel(&leg[0], &leg[1])
                .ok_or_else(no_route)?;
            whole.distance_meters += i64::from(travel.distance_m);
            whole.duration_ms += i64::from(travel.duration_ms);
        } else {
            let leg = words::route(&ground.nearest, &leg[0], &leg[1]).ok_or_else(no_route)?;
            whole.distance_meters += leg.distance_meters;
            whole.duration_ms += leg.duration_ms;
            // A leg begins where the last one ended.
            let joint = usize::from(
                whole
                    .line
                    .last()
                    .is_some_and(|last| Some(last) == leg.line.first()),
            );
            // Where the leg's line begins in the whole.
            let shift = i32::try_from(whole.line.len() - joint).unwrap_or(i32::MAX);
            whole.line.extend(leg.line.into_iter().skip(joint));
            whole
                .steps
                .extend(leg.steps.into_iter().map(|step| RouteStep {
                    line_start: step.line_start.saturating_add(shift),
                    ..step
                }));
        }
    }
    Ok(whole)
}

/// Times from each of some places to each of others.
pub fn matrix(
    ground: &Ground,
    request: &wire::ComputeMatrixRequest,
) -> Result<wire::ComputeMatrixResponse, Refusal> {
    let on_road = |field: &str, points: &[Point]| {
        if points.is_empty() {
            return Err(Refusal::bad_field(field, "must have at least one point"));
        }
        let reach_m = ground.config.snap_distance_max_m;
        let snap = |(index, point)| {
            let field = format!("{field}[{index}]");
            words::on_road(&ground.roads, reach_m, Some(point), &field)
        };
        points
            .iter()
            .enumerate()
            .map(snap)
            .collect::<Result<Vec<Snap>, _>>()
    };
    let pairs = request
        .origins
        .len()
        .saturating_mul(request.destinations.len());
    let most = ground.config.matrix_pairs_max;
    if pairs > most {
        let problem = format!("{pairs} pairs of origin and destination are more than {most}");
        return Err(Refusal::bad_field("origins", problem));
    }
    let origins = on_road("origins", &request.origins)?;
    let destinations = on_road("destinations", &request.destinations)?;
    let times = SourceSet::new(RoadNetwork::clone(&ground.nearest.roads()), &origins)
        .times_to(&destinations);
    let row = |origin: usize| wire::MatrixRow {
        durations_ms: times
            .iter()
            .map(|column| column[origin].map_or(-1, i64::from))
            .collect(),
    };
    Ok(wire::ComputeMatrixResponse {
        rows: (0..origins.len()).map(row).collect(),
    })
}

/// The map and the products.
pub fn service_area(ground: &Ground) -> wire::GetServiceAreaResponse {
    let bounds = ground.roads.bounds();
    let product = |product: &crate::config::ProductConfig| wire::Product {
        product: product.id.to_string(),
        title: product.title.clone(),
        seats: product.seats,
        shared: product.shared,
    };
    wire::GetServiceAreaResponse {
        map_name: ground.roads.name().to_owned(),
        map_id: ground.roads.id().to_string(),
        area: Some(BoundingBox {
            south_west: Some(words::point(bounds.south_west)),
            north_east: Some(words::point(bounds.north_east)),
        }),
        products: ground.catalogue.products().iter().map(product).collect(),
        attribution: ground.roads.attribution().to_owned(),
        queue_zones: ground.config.zones.iter().map(queue_zone).collect(),
    }
}

fn queue_zone(zone: &crate::config::ZoneConfig) -> wire::QueueZone {
    wire::QueueZone {
        zone_id: zone.id.clone(),
        centre: Some(Point::new(zone.latitude, zone.longitude)),
        radius_meters: zone.radius_m,
    }
}
