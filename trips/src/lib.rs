//! Where every ride stands: the trip machine, its log, the claims on drivers and the events for the
//! other services.
//!
//! Follow one ride: [`quote`] and [`create`] make it, [`booking`] waits for its time, [`saga`] finds it a
//! driver, [`drive`] moves it to its end, [`fare`] says what it costs, [`deliver`] tells
//! the other services, [`payment`] hears what became of the money, [`watch`] shows it
//! meanwhile. What may happen when is decided by [`state`], a pure function; what only the database can
//! decide is in [`store`].

use std::sync::Arc;

use jitney_platform::{Platform, client::Channel, line::Line, outbox::Wake, serve::Rpcs};
use jitney_proto::{
    billing::v1::billing_service_client::BillingServiceClient,
    matching::v1::matching_service_client::MatchingServiceClient,
    trips::v1::trips_service_server::TripsServiceServer,
};
use sqlx::migrate::Migrator;
use tokio::sync::{Semaphore, mpsc};

mod app;
mod booking;
pub mod command;
pub mod config;
mod create;
mod deliver;
mod drive;
mod edit;
pub mod error;
mod events;
mod fare;
mod fields;
mod grpc;
mod hub;
mod jobs;
mod metrics;
mod payment;
mod quote;
mod rating;
mod saga;
mod share;
mod sos;
pub mod state;
pub mod statements;
mod stats;
pub mod store;
mod timers;
pub mod trip;
mod view;
mod watch;

pub use config::Config;

/// The service's schema.
pub const SCHEMA: &str = "trips";

/// The service's full name.
pub const SERVICE: &str = "jitney.trips.v1.TripsService";

/// What brings the schema up to date.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Under which id this service calls the others.
const CALLER: &str = "trips";

/// Prompt words to the searches that may wait; more are found by the recovery of searches.
const HINTS: usize = 4096;

/// What the service stands on.
pub struct Needs {
    /// The surroundings.
    pub platform: Platform,
    /// The way to matching.
    pub matching: Channel,
    /// The way to billing.
    pub billing: Channel,
}

/// The trip service.
pub struct Trips {
    app: Arc<app::App>,
}

impl Trips {
    /// Opens the database and starts the background work, which ends with the platform's shutdown.
    ///
    /// # Errors
    /// When a setting cannot work or the database cannot be opened.
    pub async fn build(config: Config, needs: Needs) -> anyhow::Result<Trips> {
        config.check()?;
        let platform = needs.platform;
        let pool = platform.database.open(SCHEMA, &MIGRATOR).await?;
        let signed = |channel: Channel| {
            channel.with_service_token(platform.keys.clone(), platform.clock.clone(), CALLER)
        };
        let (searches, hints) = mpsc::channel(HINTS);
        let store = store::Store::new(pool);
        let line = Line::new(store.clone(), config.batch.clone(), platform.tasks.clone());
        let app = Arc::new(app::App {
            matching: MatchingServiceClient::new(signed(needs.matching)),
            billing: BillingServiceClient::new(signed(needs.billing)),
            store,
            line: Arc::new(line),
            hub: hub::Hub::default(),
            wake: Wake::new(),
            searches,
            watches: Arc::new(Semaphore::new(config.watch_streams_max)),
            config,
            platform,
        });
        metrics::start(&app);
        jobs::start(&app, hints);
        Ok(Trips { app })
    }

    /// The service's rpcs, to be guarded and served.
    pub fn rpcs(&self) -> impl Rpcs + use<> {
        TripsServiceServer::new(grpc::Grpc::new(Arc::clone(&self.app)))
    }
}
