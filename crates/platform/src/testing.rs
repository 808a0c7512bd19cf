//! For tests: a database for each of them, on one server that the test process shares; and a collector of
//! what is exported.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::OnceCell;

pub mod collector;

use crate::{
    Platform,
    auth::TokenKeys,
    clock::Clock,
    db::{Database, DatabaseConfig},
    embedded_postgres::{EmbeddedOptions, EmbeddedPostgres},
};

/// An empty database that is dropped with this. The first one of a process starts the server, which
/// ends with the process and leaves nothing behind.
#[derive(Debug)]
pub struct TestDatabase {
    admin: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// A fresh database.
    ///
    /// # Panics
    /// When the server cannot be started; the message says why.
    #[allow(clippy::new_without_default)] // It is async.
    pub async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let admin = server().await.options();
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        run(&admin, &format!("CREATE DATABASE {name}"))
            .await
            .expect("a database can be made");
        Self { admin, name }
    }

    /// How to connect to it.
    pub fn options(&self) -> PgConnectOptions {
        self.admin.clone().database(&self.name)
    }

    /// It, as services are given it.
    pub fn database(&self) -> Database {
        let config = DatabaseConfig {
            connections_max: 8,
            ..DatabaseConfig::default()
        };
        Database::new(self.options(), config)
    }

    /// Surroundings with this database, the system's clock and keys of their own.
    pub fn platform(&self) -> Platform {
        Platform::new(
            Clock::system(),
            self.database(),
            Arc::new(TokenKeys::generate()),
        )
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), std::mem::take(&mut self.name));
        // A runtime of its own: the test's may be ending. FORCE ends connections that are left.
        let dropping = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            if let Err(error) = runtime.block_on(run(&admin, &statement)) {
                eprintln!("{name} is left behind: {error}");
            }
        });
        let _ = dropping.join();
    }
}

async fn run(admin: &PgConnectOptions, statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(admin).await?;
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())))
        .await?;
    connection.close().await
}

/// The server of this process.
async fn server() -> &'static EmbeddedPostgres {
    static SERVER: OnceCell<EmbeddedPostgres> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let name = format!("jitney-test-{}", uuid::Uuid::new_v4().simple());
            let dir = std::env::temp_dir().join(name);
            EmbeddedPostgres::start(&dir, EmbeddedOptions::for_tests())
                .await
                .expect("PostgreSQL starts")
        })
        .await
}

/// Has the database prepare every statement of a `statements!` block, without running any.
///
/// # Panics
/// When one is refused; the message has its name and the reason.
pub async fn prepare_all(pool: &PgPool, statements: &'static [(&'static str, &'static str)]) {
    let mut connection = pool.acquire().await.expect("a connection");
    for (name, statement) in statements {
        assert!(
            statement.trim_start().starts_with("-- "),
            "{name} does not begin with `-- name: what it does`"
        );
        if let Err(error) = (&mut *connection)
            .prepare(sqlx::SqlStr::from_static(statement))
            .await
        {
            panic!("{name} is refused: {error}");
        }
    }
}

/// Waits until `condition` holds, looking again every few milliseconds.
///
/// # Panics
/// When it does not within ten seconds; the message names `what` was waited for.
pub async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let patience = Duration::from_secs(10);
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(patience, waiting).await.is_err() {
        panic!("{what} did not happen within {patience:?}");
    }
}
