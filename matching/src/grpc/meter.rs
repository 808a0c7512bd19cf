//! MeasureTrip: how far riders were driven.

use std::sync::Arc;

use jitney_proto::{Code, ids::IdError, matching::v1 as wire};
use tonic::Status;

use crate::{service::Service, wire as words};

/// What was driven of a trip so far.
#[allow(clippy::result_large_err)] // Status is what every handler answers.
pub fn measure(
    service: &Arc<Service>,
    request: &wire::MeasureTripRequest,
) -> Result<wire::MeasureTripResponse, Status> {
    let trip = request.trip_id.parse();
    let trip = trip.map_err(|error: IdError| error.status("trip_id"))?;
    let (way, ground) = {
        let dispatch = service.look();
        (dispatch.meters().way(trip), Arc::clone(dispatch.ground()))
    };
    let not_followed = || Code::NotFound.status("the trip was not followed");
    let way = way.ok_or_else(not_followed)?;
    let driven = way.measure(&ground.nearest).ok_or_else(not_followed)?;
    Ok(wire::MeasureTripResponse {
        distance_meters: driven.distance_m,
        positions: u32::try_from(driven.positions).unwrap_or(u32::MAX),
        gap_ms: driven.gap_ms,
        way: way.places().map(words::point).collect(),
    })
}
