//! A PostgreSQL of our own for one machine, started as a child process from the binaries found there.
//!
//! It listens on a Unix socket in a folder that only its user may enter, never on a port. It ends with
//! the program that started it, even when that is killed: a small shell holds the reading end of a
//! pipe and shuts the server down when the pipe breaks. For a database that outlives the program, or
//! that others share, set `DATABASE_URL` instead; then nothing here is used.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use sqlx::postgres::PgConnectOptions;

mod account;
mod binaries;
mod cluster;
mod folder;
mod server;

use account::Account;
use folder::Folder;
use server::Server;

/// How the server is run.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Where `postgres` and `initdb` are; searched for when absent.
    pub binaries: Option<PathBuf>,
    /// Whether a commit waits for the disk. Without, the data does not survive a power failure.
    pub fsync: bool,
    /// Connections, at most.
    pub connections_max: u32,
    /// How long starting may take, recovery after a crash included.
    pub start_timeout: Duration,
    /// Whether everything is removed when the server ends. For tests.
    pub ephemeral: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            binaries: None,
            fsync: true,
            connections_max: 200,
            start_timeout: Duration::from_secs(60),
            ephemeral: false,
        }
    }
}

impl EmbeddedOptions {
    /// Fast and forgetful, as tests like it.
    pub fn for_tests() -> Self {
        Self {
            fsync: false,
            connections_max: 300,
            ephemeral: true,
            ..Self::default()
        }
    }
}

/// The folder of PostgreSQL's programs: the one given, or the first that is found.
///
/// # Errors
/// When there is none, or it is not one.
pub fn programs(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let postgres = binaries::find(given, None)?.postgres();
    Ok(postgres.parent().map_or_else(PathBuf::new, Path::to_owned))
}

/// A running server. It stops when this is dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    server: Server,
    programs: PathBuf,
    // Held as long as the server runs: a second one on the same folder is refused.
    _folder: Folder,
}

impl EmbeddedPostgres {
    /// Starts the server whose data is in `data_dir`, making the data at the first start. Returns when
    /// it takes connections.
    ///
    /// # Errors
    /// When PostgreSQL is not installed (the message says how), another process uses the folder, the
    /// data was made by another major version, or the server does not start (with what it logged).
    pub async fn start(data_dir: &Path, options: EmbeddedOptions) -> anyhow::Result<Self> {
        let account = Account::choose()?;
        let prepared = tokio::task::spawn_blocking({
            let data_dir = data_dir.to_owned();
            move || prepare(&data_dir, &account, &options)
        });
        let (folder, server, programs) = prepared
            .await
            .context("starting PostgreSQL was interrupted")??;
        server.ready().await?;
        Ok(Self {
            server,
            programs,
            _folder: folder,
        })
    }

    /// How to connect to it.
    pub fn options(&self) -> PgConnectOptions {
        self.server.options(server::DATABASE)
    }

    /// The server's process id.
    pub fn pid(&self) -> Option<u32> {
        cluster::postmaster(self.server.cluster())
    }

    /// The folder of the programs it runs from, where its tools are too.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Where the server's log is.
    pub fn log(&self) -> &Path {
        self.server.log()
    }

    /// Shuts the server down: transactions under way are rolled back, the data is left tidy.
    ///
    /// # Errors
    /// When it does not end within 30 seconds.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.server.stop().await
    }
}

/// Everything up to the running process; it blocks.
fn prepare(
    data_dir: &Path,
    account: &Account,
    options: &EmbeddedOptions,
) -> anyhow::Result<(Folder, Server, PathBuf)> {
    let folder = Folder::claim(data_dir, account, options.ephemeral)?;
    let made_by = cluster::made_by(&folder.cluster())?;
    let binaries = binaries::find(options.binaries.as_deref(), made_by)?;
    match made_by {
        Some(major) if major != binaries.major => bail!(
            "the data in {} was made by PostgreSQL {major}, but only PostgreSQL {} was found (in \
             {}): install postgresql-{major}, or move the folder away to begin anew, or use \
             pg_upgrade",
            folder.cluster().display(),
            binaries.major,
            binaries.folder.display(),
        ),
        Some(_) => cluster::wait_until_free(&folder.cluster(), options.start_timeout)?,
        None => cluster::create(&folder, account, &binaries, options)?,
    }
    let server = Server::spawn(&folder, account, &binaries, options)?;
    Ok((folder, server, binaries.folder))
}

#[cfg(test)]
mod tests;
