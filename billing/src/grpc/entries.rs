//! The rpcs that show operators where the money of a trip went, and where rides cost more.

use jitney_proto::{billing::v1 as pb, common::v1::Point, time::timestamp};
use tonic::{Request, Response, Status};

use super::{
    Grpc, statements,
    wire::{money, trip_id},
};
use crate::{
    Error,
    store::entries::{Entry, Side},
    tariff,
};

impl Grpc {
    pub(super) async fn journal(
        &self,
        request: Request<pb::ListTripEntriesRequest>,
    ) -> Result<Response<pb::ListTripEntriesResponse>, Status> {
        let trip = trip_id(&request.get_ref().trip_id)?;
        let entries = self.0.store.entries(trip).await?;
        Ok(Response::new(pb::ListTripEntriesResponse {
            entries: entries.into_iter().map(entry).collect(),
        }))
    }

    pub(super) fn fare_zones(&self) -> Result<Response<pb::ListFareZonesResponse>, Status> {
        let (config, now) = (&self.0.config, self.0.platform.clock.now());
        let tariff = tariff::in_force(&config.tariffs, now).map_err(Error::from)?;
        let zone = |zone: &crate::surcharge::FareZone| pb::FareZone {
            zone_id: zone.id.clone(),
            centre: Some(Point::new(zone.area.latitude, zone.area.longitude)),
            radius_meters: zone.area.radius_m.round() as i64,
            pickup_fee: money(zone.pickup_minor, config.currency),
            dropoff_fee: money(zone.dropoff_minor, config.currency),
        };
        let gate = |gate: &crate::surcharge::TollGate| pb::TollGate {
            gate_id: gate.id.clone(),
            centre: Some(Point::new(gate.area.latitude, gate.area.longitude)),
            radius_meters: gate.area.radius_m.round() as i64,
            toll: money(gate.toll_minor, config.currency),
        };
        Ok(Response::new(pb::ListFareZonesResponse {
            tariff_version: tariff.version.clone(),
            zones: tariff.zones.iter().map(zone).collect(),
            tolls: tariff.tolls.iter().map(gate).collect(),
        }))
    }
}

fn entry(of: Entry) -> pb::JournalEntry {
    pb::JournalEntry {
        kind: statements::kind(&of.kind).into(),
        number: u32::try_from(of.seq).unwrap_or_default(),
        posted_at: Some(timestamp(of.posted_at)),
        postings: of.sides.into_iter().map(side).collect(),
    }
}

fn side(of: Side) -> pb::EntryPosting {
    pb::EntryPosting {
        account: of.account,
        owner_id: of.owner.unwrap_or_default(),
        amount: money(of.amount_minor, of.currency),
    }
}
