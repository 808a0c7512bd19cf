//! ReportLocations: positions of many drivers, as a back end that collects them has them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use jitney_platform::telemetry::TraceContext;
use jitney_proto::{ids::DriverId, matching::v1 as wire};
use tonic::{Status, Streaming};

use crate::{
    dispatch::{Dispatch, Ground},
    error::Refusal,
    metrics,
    ping::{PingRefusal, Sighting},
    service::Service,
};

/// Positions in one message, at most.
const PINGS_MAX: usize = 10_000;
/// Why positions of a driver whom nobody knows are not taken.
const UNKNOWN_DRIVER: &str = "UNKNOWN_DRIVER";

/// Takes positions in until the stream ends, and says what became of them.
pub async fn report(
    service: &Service,
    mut inbound: Streaming<wire::ReportLocationsRequest>,
) -> Result<wire::ReportLocationsResponse, Status> {
    let mut tally = Tally::default();
    while let Some(message) = inbound.message().await? {
        let count: usize = message
            .drivers
            .iter()
            .map(|driver| driver.pings.len())
            .sum();
        if count > PINGS_MAX {
            let problem = format!("must have at most {PINGS_MAX} positions in a message");
            return Err(Refusal::bad_field("drivers", problem).into());
        }
        take_in(service, &message, &mut tally);
    }
    Ok(tally.into_response())
}

fn take_in(service: &Service, message: &wire::ReportLocationsRequest, tally: &mut Tally) {
    let reach_m = service.config.snap_distance_max_m;
    // Looking for the road is the long part.
    let look_up = |ground: &Ground| -> Vec<Vec<Result<Sighting, PingRefusal>>> {
        let of = |driver: &wire::DriverPings| {
            let read = |ping| Sighting::read(ping, &ground.roads, reach_m);
            driver.pings.iter().map(read).collect()
        };
        message.drivers.iter().map(of).collect()
    };
    service.on_the_map(look_up, |dispatch, sightings| {
        take_sightings(dispatch, message, &sightings, service.clock.now(), tally);
    });
}

fn take_sightings(
    dispatch: &mut Dispatch,
    message: &wire::ReportLocationsRequest,
    sightings: &[Vec<Result<Sighting, PingRefusal>>],
    now: DateTime<Utc>,
    tally: &mut Tally,
) {
    let told_in = TraceContext::current().filter(TraceContext::is_sampled);
    for (driver, sightings) in message.drivers.iter().zip(sightings) {
        let id: Option<DriverId> = driver.driver_id.parse().ok();
        let Some(key) = id.and_then(|id| dispatch.known(&id).ok()) else {
            tally.refuse(UNKNOWN_DRIVER, sightings.len());
            metrics::pings_of_nobody(sightings.len());
            continue;
        };
        if let Some(told_in) = &told_in {
            dispatch.traces().seen(key, told_in.clone());
        }
        let refused = dispatch.positions(key, sightings, now);
        tally.accepted += (sightings.len() - refused.len()) as u64;
        for (_, refusal) in refused {
            tally.refuse(refusal.reason(), 1);
        }
    }
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn refuse(&mut self, reason: &'static str, count: usize) {
        *self.refused.entry(reason).or_default() += count as u64;
    }

    fn into_response(self) -> wire::ReportLocationsResponse {
        let refused = self.refused.into_iter();
        wire::ReportLocationsResponse {
            accepted: self.accepted,
            refused: refused
                .map(|(reason, count)| wire::RefusedPings {
                    reason: reason.to_owned(),
                    count,
                })
                .collect(),
        }
    }
}
