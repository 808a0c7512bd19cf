//! DemandMap: where riders wait and cars are free.

use jitney_proto::{common::v1::BoundingBox, matching::v1 as wire, time::timestamp};
use tonic::Status;

use super::traffic::area;
use crate::{demand::Shown, error::Refusal, service::Service, wire as words};

/// The cells, or the one of a place.
pub fn map(
    service: &Service,
    request: &wire::DemandMapRequest,
) -> Result<wire::DemandMapResponse, Status> {
    let place = request.at.as_ref();
    let place = place.map(|at| words::place(Some(at), "at")).transpose()?;
    let area = request.area.as_ref().map(area).transpose()?;
    if place.is_some() && area.is_some() {
        return Err(Refusal::bad_field("at", "and area exclude each other").into());
    }
    let dispatch = service.look();
    let demand = dispatch.demand();
    let cells = match place {
        Some(place) => vec![demand.at(place)],
        None => demand.cells(area),
    };
    Ok(wire::DemandMapResponse {
        taken_at: Some(timestamp(service.clock.now())),
        cells: cells.into_iter().map(cell).collect(),
    })
}

fn cell(shown: Shown) -> wire::DemandCell {
    wire::DemandCell {
        area: Some(BoundingBox {
            south_west: Some(words::point(shown.area.south_west)),
            north_east: Some(words::point(shown.area.north_east)),
        }),
        waiting: shown.level.waiting,
        idle_drivers: shown.level.idle,
        surge_percent: shown.surge_percent,
    }
}
