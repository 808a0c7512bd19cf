//! A running [`App`] with all it stands on: the database (embedded if none is given), the map, the
//! key, the signals that stop it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use jitney_platform::{
    auth::TokenKeys,
    clock::Clock,
    db::Database,
    embedded_postgres::{EmbeddedOptions, EmbeddedPostgres},
};
use jitney_roads::RoadNetwork;
use sqlx::postgres::PgConnectOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{App, Config, Parts, Which, agreement, app::Addresses, progress::Progress, safety};

/// The built-in city, made by `jitney map import`; `data/README.md` says from what.
const BUILT_IN_CITY: &[u8] = include_bytes!("../../../data/monaco.roads");

/// A program that is ready to serve.
pub struct Program {
    app: App,
    postgres: Option<EmbeddedPostgres>,
    shutdown: CancellationToken,
    drain_max: Duration,
    /// Checks and makes tokens.
    pub keys: Arc<TokenKeys>,
    /// The time.
    pub clock: Clock,
    /// The road map, when this process needs it.
    pub roads: Option<Arc<RoadNetwork>>,
}

impl Program {
    /// Starts what the services need, then builds them.
    ///
    /// # Errors
    /// As [`App::build`]; also a map that cannot be read and a PostgreSQL that cannot be started.
    pub async fn start(config: &Config, which: Which) -> anyhow::Result<Self> {
        safety::check(config, which)?;
        if which == Which::All {
            agreement::check(config)?;
        }
        config.make_data_dir()?;
        let keys = TokenKeys::load_or_create(&config.key_folder())?;
        let keys = Arc::new(keys.trusting(&config.auth)?);
        let clock = Clock::system();
        let shutdown = CancellationToken::new();
        // The map and the database need nothing of each other.
        let map = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || {
                which.needs_roads().then(|| open_roads(&config)).transpose()
            })
        };
        let (postgres, database) = if which.needs_database() {
            open_database(config).await?
        } else {
            // The gateway never connects.
            (
                None,
                Database::new(PgConnectOptions::new(), config.database.clone()),
            )
        };
        let roads = map
            .await
            .context("reading the map panicked")??
            .map(Arc::new);
        let parts = Parts {
            clock: clock.clone(),
            keys: keys.clone(),
            database,
            roads: roads.clone(),
            sessions: Some(config.sessions_file()),
            shutdown: shutdown.clone(),
        };
        let app = App::build(config, which, parts).await?;
        Ok(Self {
            app,
            postgres,
            shutdown,
            drain_max: config.drain_max,
            keys,
            clock,
            roads,
        })
    }

    /// Where the services of this process are.
    pub fn addresses(&self) -> Addresses {
        self.app.addresses()
    }

    /// Cancelled when the program is to stop.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Serves until SIGTERM, SIGINT or the shutdown token, then drains within the grace period. A
    /// second signal ends the program at once.
    ///
    /// # Errors
    /// A listener that fails, and a drain that takes too long.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.shutdown.clone();
        let mut running = tokio::spawn(self.app.run());
        let early = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            () = shutdown.cancelled() => None,
            ended = &mut running => Some(ended),
        };
        shutdown.cancel();
        let outcome = match early {
            Some(ended) => ended.context("the program panicked")?,
            None => {
                tracing::info!("draining");
                tokio::select! {
                    ended = &mut running => ended.context("the program panicked")?,
                    () = tokio::time::sleep(self.drain_max) => Err(anyhow::anyhow!(
                        "draining took longer than drain_max ({:?}); stopped anyway", self.drain_max
                    )),
                    _ = terminate.recv() => Err(anyhow::anyhow!("stopped by a second signal")),
                    _ = interrupt.recv() => Err(anyhow::anyhow!("stopped by a second signal")),
                }
            }
        };
        if let Some(postgres) = self.postgres {
            postgres.stop().await?;
        }
        outcome
    }
}

/// The database of the configuration: the one named, or the private one of the data folder.
///
/// # Errors
/// A URL that is none, or a PostgreSQL that cannot be found or started.
pub async fn open_database(
    config: &Config,
) -> anyhow::Result<(Option<EmbeddedPostgres>, Database)> {
    if let Some(url) = &config.database_url {
        let options: PgConnectOptions = url
            .reveal()
            .parse()
            .context("DATABASE_URL is not a PostgreSQL URL")?;
        return Ok((None, Database::new(options, config.database.clone())));
    }
    let data_dir = config.make_data_dir()?;
    let options = EmbeddedOptions {
        binaries: config.postgres_binaries.clone(),
        ..EmbeddedOptions::default()
    };
    let postgres = EmbeddedPostgres::start(&data_dir, options).await?;
    let database = Database::new(postgres.options(), config.database.clone());
    Ok((Some(postgres), database))
}

/// The map of the configuration: the file named, or the built-in city.
///
/// # Errors
/// A file that is not a map; see [`jitney_roads::RoadsError`].
pub fn open_roads(config: &Config) -> anyhow::Result<RoadNetwork> {
    match &config.map.file {
        None => RoadNetwork::from_bytes(BUILT_IN_CITY).context("the built-in city is broken"),
        Some(file) => {
            let mut progress = Progress::import(file);
            let cache = config.data_dir.join("maps");
            let opened =
                jitney_roads::open_map_telling(file, &cache, &mut |now| progress.told(now))?;
            drop(progress);
            for note in &opened.notes {
                tracing::warn!(map = %file.display(), "{note}");
            }
            Ok(opened.network)
        }
    }
}
