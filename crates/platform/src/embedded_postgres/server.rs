//! The server process and the shell that ends it when we are gone.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{EmbeddedOptions, account::Account, binaries::Binaries, folder::Folder};

/// The database user; its own machine's socket is all the proof it needs.
pub(super) const USER: &str = "jitney";
/// The database.
pub(super) const DATABASE: &str = "jitney";
/// The database that every cluster has.
const FIRST_DATABASE: &str = "postgres";
/// How long the server has to end.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How much of the log goes into an error.
const LOG_TAIL_BYTES: u64 = 4000;
/// A log longer than this is set aside at the next start.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Runs the server ("$@") and ends it when standard input does, that is, when whoever holds the other
/// end of the pipe has closed it or died of whatever. Removes $1, if it is not empty, afterwards.
///
/// SIGINT asks for a fast shutdown: transactions are rolled back, the data is left tidy.
const GUARDIAN: &str = r#"
remove=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- & server=$!
( read -r _ <&3; kill -INT "$server" ) 2>/dev/null & watch=$!
exec 3<&-
wait "$server"; ended=$?
kill "$watch" 2>/dev/null
if [ -n "$remove" ]; then cd /; rm -rf "$remove"; fi
exit "$ended"
"#;

/// The running server.
#[derive(Debug)]
pub(super) struct Server {
    // Dropping its standard input ends the server.
    guardian: Option<Child>,
    cluster: PathBuf,
    run: PathBuf,
    log: PathBuf,
    log_begin: u64,
    start_timeout: Duration,
}

impl Server {
    /// Starts the process; it takes connections a moment later.
    pub(super) fn spawn(
        folder: &Folder,
        account: &Account,
        binaries: &Binaries,
        options: &EmbeddedOptions,
    ) -> anyhow::Result<Self> {
        let (log, log_begin) = open_log(&folder.log())?;
        let remove = if options.ephemeral {
            folder.data_dir()
        } else {
            Path::new("")
        };
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARDIAN, "jitney-postgres"])
            .arg(remove);
        if let Some(setpriv) = setpriv() {
            // Should the shell itself be killed, the system tells the server.
            command.arg(setpriv).args(["--pdeathsig", "INT", "--"]);
        }
        command
            .arg(binaries.postgres())
            .arg("-D")
            .arg(folder.cluster());
        for setting in settings(folder.run(), options) {
            command.arg("-c").arg(setting);
        }
        forget_environment(&mut command);
        account.apply(&mut command);
        command
            .current_dir(folder.base())
            // Out of the terminal's reach: Ctrl-C is for us, and we end the server last.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("cannot share the log file")?)
            .stderr(log);
        let guardian = command.spawn().context("cannot run /bin/sh")?;
        Ok(Self {
            guardian: Some(guardian),
            cluster: folder.cluster(),
            run: folder.run().to_owned(),
            log: folder.log(),
            log_begin,
            start_timeout: options.start_timeout,
        })
    }

    pub(super) fn cluster(&self) -> &Path {
        &self.cluster
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    #[cfg(test)]
    pub(super) fn guardian_pid(&self) -> Pid {
        Pid::from_raw(self.guardian.as_ref().unwrap().id().try_into().unwrap())
    }

    pub(super) fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.run)
            .port(5432)
            .username(USER)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Returns once connections are taken and the database is there.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let options = self.options(FIRST_DATABASE).disable_statement_logging();
        let mut connection = loop {
            let error = match PgConnection::connect_with(&options).await {
                Ok(connection) => break connection,
                Err(error) => error,
            };
            if self.has_ended() {
                bail!(
                    "PostgreSQL did not start; it logged ({}):\n{}",
                    self.log.display(),
                    self.tail()
                );
            }
            if begin.elapsed() > self.start_timeout {
                bail!(
                    "PostgreSQL takes no connections after {:?} ({error}); it logged ({}):\n{}",
                    self.start_timeout,
                    self.log.display(),
                    self.tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(DATABASE)
            .fetch_optional(&mut connection)
            .await
            .context("PostgreSQL cannot be asked for its databases")?;
        if there.is_none() {
            connection
                .execute(sqlx::raw_sql("CREATE DATABASE jitney"))
                .await
                .context("the database cannot be made")?;
        }
        // A courtesy; the connection is gone either way.
        let _ = connection.close().await;
        Ok(())
    }

    /// Whether the guardian, and so the server, has ended.
    fn has_ended(&self) -> bool {
        let Some(guardian) = &self.guardian else {
            return true;
        };
        let pid = Pid::from_raw(i32::try_from(guardian.id()).unwrap_or(i32::MAX));
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        // Looks without reaping, which `stop` does.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(pid), look), Ok(WaitStatus::StillAlive))
    }

    /// The end of what was logged since this start.
    fn tail(&self) -> String {
        tail(&self.log, self.log_begin)
            .unwrap_or_else(|error| format!("(the log cannot be read: {error})"))
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let Some(mut guardian) = self.guardian.take() else {
            return Ok(());
        };
        drop(guardian.stdin.take());
        let begin = Instant::now();
        loop {
            if guardian
                .try_wait()
                .context("the server cannot be waited for")?
                .is_some()
            {
                return Ok(());
            }
            if begin.elapsed() > STOP_MAX {
                let group = Pid::from_raw(i32::try_from(guardian.id()).unwrap_or(i32::MAX));
                // It has ended in the meantime if this fails.
                let _ = killpg(group, Signal::SIGQUIT);
                bail!("PostgreSQL did not end within {STOP_MAX:?} and was cut off");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The server's settings, as `-c` takes them.
fn settings(run: &Path, options: &EmbeddedOptions) -> Vec<String> {
    // The list of folders is split at commas unless quoted.
    let run = run.display().to_string().replace('"', "\"\"");
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories=\"{run}\""),
        "unix_socket_permissions=0700".to_owned(),
        "port=5432".to_owned(),
        format!("max_connections={}", options.connections_max),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "log_line_prefix=%m [%p] %q%a ".to_owned(),
        // Compiling a plan takes longer than any statement of ours runs.
        "jit=off".to_owned(),
    ];
    if !options.fsync {
        settings.extend(
            [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ]
            .map(str::to_owned),
        );
    }
    settings
}

/// Keeps the user's own PostgreSQL settings, and their language, away from ours.
pub(super) fn forget_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("LC_") || text == "LANG" {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C");
}

/// `setpriv` of util-linux, which knows `--pdeathsig`; other systems have none.
fn setpriv() -> Option<PathBuf> {
    let path = ["/usr/bin/setpriv", "/bin/setpriv"].map(PathBuf::from);
    let found = path.into_iter().find(|path| path.is_file())?;
    // Some minimal systems have one that knows less.
    let minimal = fs::canonicalize(&found).is_ok_and(|path| path.ends_with("busybox"));
    (!minimal).then_some(found)
}

fn open_log(path: &Path) -> anyhow::Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))
            .with_context(|| format!("cannot set {} aside", path.display()))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let begin = file
        .metadata()
        .with_context(|| format!("cannot look at {}", path.display()))?;
    Ok((file, begin.len()))
}

fn tail(path: &Path, begin: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(
        begin.max(end.saturating_sub(LOG_TAIL_BYTES)),
    ))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
