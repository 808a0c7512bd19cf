//! MeasureTrip: how far riders were driven.

use std::sync::Arc;

use jitney_proto::{Code, ids::IdError, matching::v1 as wire};
use tonic::Status;

use crate::service::Service;

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
    let driven = way.and_then(|way| way.measure(&ground.nearest));
    let driven = driven.ok_or_else(|| Code::NotFound.status("the trip was not followed"))?;
    Ok(wire::MeasureTripResponse {
        distance_meters: driven.distance_m,
        positions: u32::try_from(driven.positions).unwrap_or(u32::MAX),
        gap_ms: driven.gap_ms,
    })
}
