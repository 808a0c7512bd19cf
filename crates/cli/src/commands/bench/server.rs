//! A private PostgreSQL for a measurement, and pgbench against it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use jitney_platform::{
    db::{Database, DatabaseConfig},
    embedded_postgres::{EmbeddedOptions, EmbeddedPostgres},
};
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;

/// A folder that goes with this.
pub struct TempFolder(pub PathBuf);

impl TempFolder {
    /// One of this process, not made yet, for a purpose.
    pub fn named(purpose: &str) -> Self {
        let name = format!("jitney-bench-{purpose}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The server, run as the program runs it; it and its data end with this.
pub struct Server {
    postgres: EmbeddedPostgres,
    folder: TempFolder,
}

impl Server {
    /// Starts it in a new folder.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = TempFolder::named("database");
        let postgres = EmbeddedPostgres::start(&folder.0, EmbeddedOptions::default()).await?;
        Ok(Self { postgres, folder })
    }

    /// How to connect as the owner of everything.
    pub fn options(&self) -> PgConnectOptions {
        self.postgres.options()
    }

    /// It, as services are given it.
    pub fn database(&self) -> Database {
        Database::new(self.options(), DatabaseConfig::default())
    }

    /// Shuts it down.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.postgres.stop().await
    }

    /// Keeps a script for pgbench.
    pub fn script(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.0.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Makes pgbench's own tables, of `scale` branches.
    pub async fn prepare_tpc_b(&self, scale: u32) -> anyhow::Result<()> {
        let arguments = ["--initialize", "--quiet", "--scale"].map(str::to_owned);
        let arguments = arguments.into_iter().chain([scale.to_string()]);
        self.run_pgbench(arguments.collect(), &[]).await.map(drop)
    }

    /// Runs pgbench for `seconds`.
    pub async fn pgbench(&self, load: &Pgbench<'_>) -> anyhow::Result<Transactions> {
        let mut arguments: Vec<String> = vec![
            "--no-vacuum".to_owned(),
            "--protocol=prepared".to_owned(),
            format!("--client={}", load.clients),
            format!("--jobs={}", load.clients.min(2)),
            format!("--time={}", load.seconds),
        ];
        for (name, value) in load.variables {
            arguments.push(format!("--define={name}={value}"));
        }
        if let Some(script) = load.script {
            arguments.push(format!("--file={}", script.display()));
        }
        let text = self.run_pgbench(arguments, load.settings).await?;
        read_transactions(&text).with_context(|| format!("pgbench said:\n{text}"))
    }

    async fn run_pgbench(
        &self,
        mut arguments: Vec<String>,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let options = self.options();
        let socket = options.get_socket().context("the server has no socket")?;
        let user = options.get_username().to_owned();
        arguments.extend([
            format!("--host={}", socket.display()),
            "--port=5432".to_owned(),
            format!("--username={user}"),
            options.get_database().unwrap_or(&user).to_owned(),
        ]);
        let program = pgbench(self.postgres.programs())?;
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| format!("-c {name}={value}"))
            .collect();
        let output = Command::new(&program)
            .args(arguments)
            .env("PGOPTIONS", settings.join(" "))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run {}", program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} failed: {}", program.display(), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The program beside the server's, or beside the file that the server's name is a link to.
fn pgbench(programs: &Path) -> anyhow::Result<PathBuf> {
    let linked = programs.join("postgres").canonicalize().ok();
    let linked = linked.as_deref().and_then(Path::parent);
    let mut folders = [Some(programs), linked].into_iter().flatten();
    let found = folders.find_map(|folder| {
        let path = folder.join("pgbench");
        path.is_file().then_some(path)
    });
    found.with_context(|| {
        let folder = programs.display();
        format!("pgbench is not beside the server's programs ({folder}); install it there")
    })
}

/// What pgbench is to do.
pub struct Pgbench<'a> {
    /// Connections, each with one transaction at a time.
    pub clients: usize,
    /// For how long.
    pub seconds: u64,
    /// The transaction; pgbench's own, like TPC-B, when absent.
    pub script: Option<&'a Path>,
    /// Variables of the script.
    pub variables: &'a [(&'a str, String)],
    /// Settings of the connections.
    pub settings: &'a [(&'a str, &'a str)],
}

/// What pgbench did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transactions {
    /// How many went through.
    pub done: u64,
    /// In a second, connecting left out.
    pub per_s: f64,
}

fn read_transactions(text: &str) -> anyhow::Result<Transactions> {
    let after = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        let word = line.and_then(|rest| rest.split([' ', '/']).find(|word| !word.is_empty()));
        word.with_context(|| format!("there is no line {label:?}"))
    };
    let failed = after("number of failed transactions:").unwrap_or("0");
    anyhow::ensure!(failed == "0", "{failed} transactions failed");
    Ok(Transactions {
        done: after("number of transactions actually processed:")?.parse()?,
        per_s: after("tps =")?.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_read() {
        let text = "transaction type: <builtin: TPC-B (sort of)>\n\
            number of transactions actually processed: 11223\n\
            number of failed transactions: 0 (0.000%)\n\
            latency average = 3.562 ms\n\
            initial connection time = 15.019 ms\n\
            tps = 2246.108640 (without initial connection time)\n";
        let read = read_transactions(text).unwrap();
        assert_eq!(read.done, 11_223);
        assert_eq!(read.per_s, 2_246.108_640);
        let failed = text.replace("transactions: 0 (", "transactions: 3 (");
        assert!(read_transactions(&failed).is_err());
        assert!(read_transactions("").is_err());
    }
}
