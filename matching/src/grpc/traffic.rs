//! TrafficSnapshot: how fast the roads are driven, for a map.

use jitney_proto::{matching::v1 as wire, time::timestamp};
use jitney_roads::{ArcId, BoundingBox, LatLon, RoadArc, RoadNetwork};
use tonic::Status;

use crate::{
    error::Refusal,
    service::{City, Service},
    traffic::millis,
    wire as words,
};

/// Of which so many whole cars' worth is known, at least.
const WEIGHT_MIN: f64 = 0.25;

/// The roads that were observed lately, those best known first.
pub fn snapshot(
    service: &Service,
    request: &wire::TrafficSnapshotRequest,
) -> Result<wire::TrafficSnapshotResponse, Status> {
    let City { ground, traffic } = service.city();
    let config = &ground.config.traffic;
    let area = request.area.as_ref().map(area).transpose()?;
    let limit = match request.limit as usize {
        0 => config.snapshot_max,
        limit if limit <= config.snapshot_max => limit,
        _ => {
            let problem = format!("must be at most {}", config.snapshot_max);
            return Err(Refusal::bad_field("limit", problem).into());
        }
    };
    let now = service.clock.now();
    let mut roads = Vec::new();
    if config.enabled {
        let traffic = traffic.look();
        let is_inside = |arc: ArcId| {
            let ends = [ground.roads.arc(arc).tail, ground.roads.arc(arc).head];
            area.is_none_or(|area| {
                ends.iter()
                    .any(|&end| area.contains(ground.roads.node_position(end)))
            })
        };
        let observed = traffic.observed(WEIGHT_MIN, millis(now));
        let mut observed: Vec<(ArcId, f64)> = observed
            .filter(|&arc| is_inside(arc))
            .map(|arc| (arc, traffic.weight_at(arc, millis(now))))
            .collect();
        observed.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        observed.truncate(limit);
        roads.extend(observed.into_iter().map(|(arc, weight)| {
            let slowness = traffic.slowness(arc, millis(now));
            road(&ground.roads, arc, slowness, weight, !request.omit_lines)
        }));
    }
    Ok(wire::TrafficSnapshotResponse {
        map_id: ground.roads.id().to_string(),
        is_enabled: config.enabled,
        taken_at: Some(timestamp(now)),
        roads,
    })
}

fn road(
    roads: &RoadNetwork,
    arc: ArcId,
    slowness: f64,
    weight: f64,
    is_drawn: bool,
) -> wire::TrafficRoad {
    let RoadArc {
        forward,
        segment: number,
        ..
    } = roads.arc(arc);
    let segment = roads.segment(number);
    let shown = segment.filter(|_| is_drawn);
    let mut line: Vec<_> = shown
        .map(|segment| segment.line().map(words::point).collect())
        .unwrap_or_default();
    if !forward {
        line.reverse();
    }
    let length_m = segment.map_or(0.0, |segment| segment.length_m());
    let free_kmh = length_m / f64::from(roads.arc_time_ms(arc).max(1)) * 3600.0;
    wire::TrafficRoad {
        line,
        street: shown
            .and_then(|segment| segment.street())
            .unwrap_or_default()
            .to_owned(),
        speed_kmh: free_kmh / slowness,
        free_speed_kmh: free_kmh,
        weight,
        segment: number.0,
        forward,
    }
}

/// A request's area.
pub fn area(wanted: &jitney_proto::common::v1::BoundingBox) -> Result<BoundingBox, Refusal> {
    let corner = |point, field: &str| -> Result<LatLon, Refusal> { words::place(point, field) };
    let area = BoundingBox {
        south_west: corner(wanted.south_west.as_ref(), "area.south_west")?,
        north_east: corner(wanted.north_east.as_ref(), "area.north_east")?,
    };
    let is_upright = area.south_west.lat() <= area.north_east.lat()
        && area.south_west.lon() <= area.north_east.lon();
    if !is_upright {
        return Err(Refusal::bad_field(
            "area",
            "its corners are the wrong way round",
        ));
    }
    Ok(area)
}
