//! Every setting of the program in one documented struct: a TOML file, `JITNEY_*` variables over it,
//! unknown keys refused. `deploy/jitney.toml` shows every key with its default.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use jitney_platform::{
    auth::AuthConfig, db::DatabaseConfig, telemetry::TelemetryConfig, tls::TlsConfig,
};
use serde::{Deserialize, Serialize};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "jitney.toml";

/// Every setting of the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What this is for. Production refuses to start with settings that are unsafe there.
    pub mode: Mode,
    /// Where Jitney keeps what is its own: the development key, the embedded database, imported maps.
    pub data_dir: PathBuf,
    /// A PostgreSQL-compatible database. Absent: a private PostgreSQL is started in the data folder.
    /// The variable DATABASE_URL sets it too. Never printed.
    #[serde(skip_serializing)]
    pub database_url: Option<Secret>,
    /// The folder of `postgres` and `initdb` for the private PostgreSQL. Absent: searched for.
    pub postgres_binaries: Option<PathBuf>,
    /// Makes matching's aliases and its other chances repeatable. Absent: taken from the system.
    pub seed: Option<u64>,
    /// How long open calls and background work may take to finish after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub drain_max: Duration,
    /// The road map.
    pub map: MapConfig,
    /// The addresses to serve on.
    pub listen: Listen,
    /// Where the other services are, for a service that runs on its own.
    pub services: Services,
    /// The certificate of the gRPC ports and of the calls between services.
    pub tls: TlsConfig,
    /// Whose tokens are taken.
    pub auth: AuthConfig,
    /// Connections and their time limits.
    pub database: DatabaseConfig,
    /// Traces and logs.
    pub telemetry: TelemetryConfig,
    /// Who drives whom.
    pub matching: jitney_matching::Config,
    /// Where a ride stands.
    pub trips: jitney_trips::Config,
    /// Who owes whom.
    pub billing: jitney_billing::Config,
    /// REST and live updates.
    pub gateway: jitney_gateway::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            data_dir: PathBuf::from(".jitney"),
            database_url: None,
            postgres_binaries: None,
            seed: None,
            drain_max: Duration::from_secs(15),
            map: MapConfig::default(),
            listen: Listen::default(),
            services: Services::default(),
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            database: DatabaseConfig::default(),
            telemetry: TelemetryConfig::default(),
            matching: jitney_matching::Config::default(),
            trips: jitney_trips::Config::default(),
            billing: jitney_billing::Config::default(),
            gateway: jitney_gateway::Config::default(),
        }
    }
}

/// What a program is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One machine and people who know each other: there is a login whose codes are in the log.
    #[default]
    Development,
    /// A city.
    Production,
}

/// The road map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapConfig {
    /// An OpenStreetMap extract (`.osm.pbf`) or an imported map (`.roads`). Absent: the built-in city.
    pub file: Option<PathBuf>,
}

/// The addresses to serve on, `host:port`; port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// REST, SSE and WebSocket.
    pub gateway: String,
    /// Matching's gRPC.
    pub matching: String,
    /// Trips' gRPC.
    pub trips: String,
    /// Billing's gRPC.
    pub billing: String,
    /// What is measured in this process, for Prometheus: `/metrics`, without TLS and for whoever can reach
    /// it. Empty: nowhere. The default is left to the first process on a machine.
    pub metrics: String,
}

/// Where a process tells what is measured unless it is told otherwise.
pub const METRICS_DEFAULT: &str = "127.0.0.1:9464";

impl Default for Listen {
    fn default() -> Self {
        Self {
            gateway: "127.0.0.1:8080".into(),
            matching: "127.0.0.1:50051".into(),
            trips: "127.0.0.1:50052".into(),
            billing: "127.0.0.1:50053".into(),
            metrics: METRICS_DEFAULT.into(),
        }
    }
}

/// Where the other services are, for a service that runs on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// Matching's gRPC, as a URL.
    pub matching: String,
    /// Trips' gRPC, as a URL.
    pub trips: String,
    /// Billing's gRPC, as a URL.
    pub billing: String,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            matching: "http://127.0.0.1:50051".into(),
            trips: "http://127.0.0.1:50052".into(),
            billing: "http://127.0.0.1:50053".into(),
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Config {
    /// Whether what is measured is told to whoever asks.
    pub fn is_scraped(&self) -> bool {
        !self.listen.metrics.is_empty()
    }

    /// The settings in force: defaults, then the file, then the environment.
    ///
    /// # Errors
    /// A file that was named but cannot be read, a key that is not known, a value of the wrong kind.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let default = Path::new(DEFAULT_FILE);
        let file = file.or_else(|| default.exists().then_some(default));
        let mut config: Self = jitney_platform::config::load(file)?;
        if let Ok(url) = std::env::var("DATABASE_URL") {
            config.database_url = Some(url.into());
        }
        Ok(config)
    }

    /// Where the sessions of the development login are kept.
    pub fn sessions_file(&self) -> PathBuf {
        self.data_dir.join("sessions.jsonl")
    }

    /// Where the development key is kept.
    pub fn key_folder(&self) -> PathBuf {
        self.data_dir.join("keys")
    }

    /// The data folder, made if it is not there.
    pub fn make_data_dir(&self) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&self.data_dir)
            .and_then(|()| self.data_dir.canonicalize())
            .with_context(|| format!("cannot make the data folder {}", self.data_dir.display()))
    }
}
