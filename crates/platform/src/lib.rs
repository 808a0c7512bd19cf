//! What every service stands on: time, the database, identity, telemetry, serving and calling.
//!
//! Nothing here knows a trip from a fare. A service is handed a [`Platform`], builds itself on it and
//! gives its routes to [`serve`]; the program (`crates/cli`) and the tests do that in the same way.

pub mod auth;
pub mod client;
pub mod clock;
pub mod config;
pub mod db;
pub mod embedded_postgres;
pub mod lease;
pub mod line;
pub mod outbox;
pub mod platform;
pub mod serve;
pub mod status;
pub mod telemetry;
pub mod testing;
pub mod tls;

mod rpc;

pub use platform::Platform;
