//! A living city: riders and drivers who use the public gateway as their apps would — REST,
//! server-sent events, WebSockets — and checkers that look at everything they are told.
//!
//! ```no_run
//! # async fn example(roads: std::sync::Arc<jitney_roads::RoadNetwork>) -> anyhow::Result<()> {
//! use jitney_sim::{Config, TokenSource, Until, run};
//!
//! let config = Config { drivers: 50, until: Until::Requests(200), ..Config::default() };
//! let tokens = TokenSource::new(|role, id| Ok(format!("a token of {role:?} {id}")));
//! let report = run(config, roads, tokens, tokio_util::sync::CancellationToken::new()).await?;
//! println!("{report}");
//! assert!(report.ok());
//! # Ok(())
//! # }
//! ```
//!
//! The simulation knows nothing of the server but its API and its map, so it can drive a deployment
//! anywhere. A seed fixes who asks for which ride after how long and what every driver answers to
//! the offers they get; who gets which offer is the server's doing. The server may be stopped, killed
//! and started again while a city lives: everybody tries again, connects again, and goes on with the
//! ride they were on. A simulation that was killed is carried on by the next one of the same
//! `name_prefix`.
//!
//! What counts as a failure, and what does not, is said at the head of `audit.rs`.

mod api;
mod audit;
mod chance;
mod chronicle;
mod city;
mod config;
mod demand;
mod driver;
mod json;
mod kerb;
mod link;
mod lookup;
mod movement;
pub mod offline;
mod progress;
mod refusal;
mod report;
mod rider;
mod streets;
mod world;

pub use audit::{Rule, Violation};
pub use city::run;
pub use config::{Config, GROUND_SPEED_MAX_MPS, ProductShare, SPEED_MAX, TokenSource, Until};
pub use jitney_proto::common::v1::Role;
pub use report::{Connections, Fares, LedgerCheck, Offers, Pings, Report, Rides, Waits};
