//! Matching: who drives whom.
//!
//! Matching knows where drivers are and what each is doing, answers who is nearest by road travel
//! time, and makes offers to drivers on behalf of trips. It never decides who got the ride: the trip
//! service's database does, when a driver accepts, and matching hears of it by
//! [`ApplyTripEvents`](jitney_proto::matching::v1::ApplyTripEventsRequest).
//!
//! | to know | open |
//! | --- | --- |
//! | what a driver may be doing, and what moves them from one to the next | [`standing`], [`rides`] |
//! | who the drivers are and where | [`fleet`], [`index`], [`ping`] |
//! | how the nearest are found | [`nearest`] |
//! | how a trip finds its driver | [`search`], [`offer`], [`dispatch`] |
//! | how a round decides who is offered what | [`policy`], [`round`], [`assignment`], [`zone`], [`sharing`] |
//! | where riders wait and cars are free | [`demand`] |
//! | how fast the roads are driven now | [`traffic`] |
//! | what an app that lost its connection is sent again | [`session`], [`outbound`] |
//! | what survives a restart | [`store`] and the migrations |
//!
//! One lock, in [`service`], is around everything that changes; nothing waits under it. Calls come in
//! through the handlers of `grpc`, which translate and decide nothing.

// A status is what every handler answers; boxing it would only move the cost.
#![allow(clippy::result_large_err)]

pub mod assignment;
pub mod config;
pub mod demand;
pub mod dispatch;
pub mod error;
pub mod fleet;
mod grpc;
pub mod index;
mod meter;
mod metrics;
pub mod nearest;
pub mod news;
pub mod offer;
pub mod outbound;
pub mod ping;
pub mod policy;
pub mod privacy;
pub mod product;
pub mod reservation;
pub mod rides;
pub mod round;
pub mod search;
pub mod service;
pub mod session;
pub mod sharing;
pub mod standing;
pub mod store;
pub mod tiles;
pub mod traces;
pub mod traffic;
pub mod wire;
pub mod zone;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context as _;
use jitney_platform::{Platform, serve::Rpcs};
use jitney_proto::matching::v1::matching_service_server::MatchingServiceServer;
use jitney_roads::RoadNetwork;

pub use config::Config;
pub use store::statements;

use crate::{dispatch::Ground, service::Service, store::Store};

/// The service's Postgres schema.
pub const SCHEMA: &str = "matching";

/// What makes the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Opens the configured map, at every call anew. It may take as long as an import.
pub type OpenMap = Arc<dyn Fn() -> anyhow::Result<RoadNetwork> + Send + Sync>;

/// What the service is built on.
pub struct Needs {
    /// Clock, database, keys, shutdown.
    pub platform: Platform,
    /// The city.
    pub roads: Arc<RoadNetwork>,
    /// Opens the city's map again.
    pub open_map: OpenMap,
    /// Where chance comes from: ids, aliases, blur. Keep it secret where riders see nearby drivers.
    pub seed: u64,
}

/// The matching service, running.
pub struct Matching {
    service: Arc<Service>,
}

impl Matching {
    /// Opens the schema, brings the fleet back as it was, and starts what happens by itself.
    ///
    /// # Errors
    /// When the configuration contradicts itself or the database cannot be used.
    pub async fn build(config: Config, needs: Needs) -> anyhow::Result<Self> {
        config.check()?;
        let Needs {
            platform,
            roads,
            open_map,
            seed,
        } = needs;
        let pool = platform.database.open(SCHEMA, &MIGRATOR).await?;
        let ground = Arc::new(Ground::new(config, roads));
        let service = Service::restore(ground, open_map, seed, Store::new(pool), &platform)
            .await
            .context("the fleet cannot be restored from the database")?;
        let service = Arc::new(service);
        service.start(&platform);
        metrics::start(&service);
        Ok(Self { service })
    }

    /// The service's rpcs; guard them before they are served.
    pub fn rpcs(&self) -> impl Rpcs + use<> {
        MatchingServiceServer::new(grpc::Handlers::new(Arc::clone(&self.service)))
    }
}
