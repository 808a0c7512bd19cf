//! The database: one schema per service, pools that hand out clean connections, and transactions that
//! outlive the request which asked for them.
//!
//! Any server that speaks PostgreSQL's language will do. The schema and the time limits are given when a
//! connection is made, so a pooler in between has to keep sessions apart (session mode).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::KeyValue;
use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::telemetry::meters;

mod error;
mod schema;
#[cfg(test)]
mod tests;
mod transaction;

pub use error::{DbError, Retryable, is_unavailable, violated_constraint};
pub use transaction::transaction;

/// How connections are made and how long they may take. Times are written as in `"5s"`, `"250ms"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// Connections per schema, at most.
    pub connections_max: u32,
    /// How long a request waits for a free connection before it is refused as UNAVAILABLE.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// How long one statement may run before the database ends it.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// How long one statement may wait for a lock before the database ends it.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// How long a transaction may sit idle, holding its locks, before the database ends it.
    #[serde(with = "humantime_serde")]
    pub idle_in_transaction_timeout: Duration,
    /// Has the database plan each statement once and not for every call (`plan_cache_mode`): ours are the
    /// same few all the time, and planning some takes as long as running them. Turn it off for a
    /// database that does not know the setting.
    pub plan_once: bool,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            connections_max: 16,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(3),
            idle_in_transaction_timeout: Duration::from_secs(10),
            plan_once: true,
        }
    }
}

/// A PostgreSQL, or what speaks its language. Connections are made by [`Database::open`].
#[derive(Clone, Debug)]
pub struct Database {
    options: PgConnectOptions,
    config: DatabaseConfig,
    /// Every pool that was made, to be closed at the end.
    pools: Arc<Mutex<Vec<PgPool>>>,
}

impl Database {
    /// The database that `options` lead to. Nothing is connected yet.
    pub fn new(options: PgConnectOptions, config: DatabaseConfig) -> Self {
        // Every statement at debug level would drown the log; slow ones still warn.
        let options = options.log_statements(tracing::log::LevelFilter::Trace);
        Self {
            options,
            config,
            pools: Arc::default(),
        }
    }

    /// How to connect, without a schema.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Makes `schema` if it is not there, brings it up to date, and gives a pool of connections that
    /// see it and nothing else. Processes that open the same schema at once wait for each other.
    ///
    /// # Errors
    /// When the database cannot be reached, the schema's name is not plain lower case, or a
    /// migration fails; the message says which.
    pub async fn open(&self, schema: &str, migrator: &Migrator) -> Result<PgPool, DbError> {
        schema::prepare(&self.options, schema, migrator).await?;
        self.connect(schema).await
    }

    /// A pool for a schema that is up to date already.
    ///
    /// # Errors
    /// When the database cannot be reached or the schema's name is not plain lower case.
    pub async fn connect(&self, schema: &str) -> Result<PgPool, DbError> {
        schema::check_name(schema)?;
        let config = &self.config;
        let mut options = self
            .options
            .clone()
            .application_name(&format!("jitney-{schema}"))
            .options([("search_path", schema)])
            .options([
                ("statement_timeout", config.statement_timeout.as_millis()),
                ("lock_timeout", config.lock_timeout.as_millis()),
                (
                    "idle_in_transaction_session_timeout",
                    config.idle_in_transaction_timeout.as_millis(),
                ),
            ]);
        if config.plan_once {
            options = options.options([("plan_cache_mode", "force_generic_plan")]);
        }
        let pool = PgPoolOptions::new()
            .max_connections(config.connections_max)
            .acquire_timeout(config.acquire_timeout)
            .after_release(|connection, _| Box::pin(transaction::leave(connection)))
            .connect_with(options)
            .await
            .map_err(DbError::Connect)?;
        self.pools().push(pool.clone());
        measure(schema, &pool);
        Ok(pool)
    }

    /// Ends every connection, once what is under way on it is through. Before the server itself is
    /// stopped: it would cut them off.
    pub async fn close(&self) {
        let pools = std::mem::take(&mut *self.pools());
        futures::future::join_all(pools.iter().map(PgPool::close)).await;
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, Vec<PgPool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a pool's connections counted, in use and idle, at every look.
fn measure(schema: &str, pool: &PgPool) {
    let (schema, pool) = (schema.to_owned(), pool.clone());
    let labels = move |state| {
        [
            KeyValue::new("db.client.connection.pool.name", schema.clone()),
            KeyValue::new("db.client.connection.state", state),
        ]
    };
    meters::meter()
        .u64_observable_gauge("db.client.connection.count")
        .with_unit("{connection}")
        .with_description("Connections to the database, by what they are at")
        .with_callback(move |gauge| {
            let (all, idle) = (u64::from(pool.size()), pool.num_idle() as u64);
            gauge.observe(all.saturating_sub(idle), &labels("used"));
            gauge.observe(idle, &labels("idle"));
        })
        .build();
}

/// The span of one statement that runs by itself in a schema.
pub fn span(schema: &'static str, statement: &'static str) -> tracing::Span {
    tracing::info_span!(
        "sql",
        otel.kind = "client",
        otel.name = statement,
        db.system.name = "postgresql",
        db.namespace = schema,
        db.operation.name = statement,
    )
}

/// Declares SQL statements: a constant each, and `ALL` with every name and text, so that a test can
/// ask the database to prepare each of them. Meant for a module of its own.
///
/// ```
/// mod statements {
///     jitney_platform::statements! {
///         /// What time the database has.
///         NOW = "-- now: the database's time\nSELECT now()";
///     }
/// }
/// assert_eq!(statements::ALL[0], ("NOW", statements::NOW));
/// ```
#[macro_export]
macro_rules! statements {
    ($( $(#[$doc:meta])* $name:ident = $sql:expr; )*) => {
        $( $(#[$doc])* pub const $name: &str = $sql; )*

        /// Every statement: its name and its text. Read by a test that prepares each.
        #[allow(dead_code)]
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
