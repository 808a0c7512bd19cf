//! Where the server's things are: one folder, claimed by one process at a time.
//!
//! ```text
//! <data_dir>/postgres/   the server's user's, closed to all others
//!   cluster/             the data
//!   run/                 the socket (or a shorter folder, when this path is too long for one)
//!   server.log           what the server says
//! <data_dir>/postgres.lock
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::account::Account;

/// Where the data of a folder that the server's user cannot reach is kept instead.
const ELSEWHERE: &str = "/var/lib/jitney";
/// The longest path of a Unix socket, in bytes.
const SOCKET_PATH_MAX: usize = 107;
/// The name the server gives its socket.
const SOCKET: &str = ".s.PGSQL.5432";

/// The claimed folder.
#[derive(Debug)]
pub(super) struct Folder {
    data_dir: PathBuf,
    base: PathBuf,
    run: PathBuf,
    _lock: Lock,
}

impl Folder {
    /// Claims the folder for this process, making it if need be.
    ///
    /// An `ephemeral` one is given to the server's user whole, which will remove it.
    pub(super) fn claim(
        data_dir: &Path,
        account: &Account,
        ephemeral: bool,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(data_dir)
            .with_context(|| format!("cannot make {}", data_dir.display()))?;
        let data_dir = data_dir
            .canonicalize()
            .with_context(|| format!("cannot find {}", data_dir.display()))?;
        let lock = lock(&data_dir)?;
        if ephemeral {
            account.give(&data_dir)?;
        }
        let home = home(&data_dir, account)?;
        let base = home.join("postgres");
        private(&base, account)?;
        let run = run(&base, account)?;
        Ok(Self {
            data_dir,
            base,
            run,
            _lock: lock,
        })
    }

    /// The folder that was claimed.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Everything that is the server's.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The data.
    pub(super) fn cluster(&self) -> PathBuf {
        self.base.join("cluster")
    }

    /// Where the socket is.
    pub(super) fn run(&self) -> &Path {
        &self.run
    }

    /// What the server says.
    pub(super) fn log(&self) -> PathBuf {
        self.base.join("server.log")
    }
}

/// The claim: given up on drop, or by the system when the process ends, however it ends.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Unlocks: closing alone would not while a program that is just being started, on another thread,
    /// still holds a copy of the file.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn lock(data_dir: &Path) -> anyhow::Result<Lock> {
    let path = data_dir.join("postgres.lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            // For people who look; the lock is what counts.
            let _ = file.set_len(0);
            let _ = writeln!(file, "{}", std::process::id());
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            bail!(
                "another jitney (process {}) uses the data folder {}: stop it, give this one \
                 another folder, or set DATABASE_URL so that both share a database",
                holder.trim(),
                data_dir.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// The folder itself, or a stand-in when the server's user cannot get there.
fn home(data_dir: &Path, account: &Account) -> anyhow::Result<PathBuf> {
    if account.reaches(data_dir) {
        return Ok(data_dir.to_owned());
    }
    let home = Path::new(ELSEWHERE).join(digest(data_dir));
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    if !account.reaches(&home) {
        bail!(
            "the user that runs PostgreSQL can enter neither {} nor {}: choose a data folder it can",
            data_dir.display(),
            home.display()
        );
    }
    tracing::info!(
        "the user that runs PostgreSQL cannot enter {}; its data is in {}",
        data_dir.display(),
        home.display()
    );
    Ok(home)
}

/// Where the socket goes: beside the data, or in a shorter place when its path would be too long.
fn run(base: &Path, account: &Account) -> anyhow::Result<PathBuf> {
    let beside = base.join("run");
    let fits = |folder: &Path| folder.join(SOCKET).as_os_str().len() <= SOCKET_PATH_MAX;
    let run = if fits(&beside) {
        beside
    } else {
        let short = Path::new("/tmp").join(format!("jitney-{}", digest(base)));
        tracing::info!(
            "the path {} is long; the socket is in {}",
            base.display(),
            short.display()
        );
        short
    };
    private(&run, account)?;
    Ok(run)
}

/// Makes a folder that is the server's alone, or makes sure that it is.
fn private(path: &Path, account: &Account) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.give(path)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
    if !account.owns_alone(path) {
        bail!(
            "{} is not a folder that only the user running PostgreSQL may enter: was it made by \
             another user? Give it to that user with mode 0700, or remove it",
            path.display()
        );
    }
    Ok(())
}

/// Sixteen characters that stand for a path, the same ones at every start.
fn digest(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let problem = lock(dir.path()).unwrap_err().to_string();
        assert!(
            problem.contains(&format!("process {}", std::process::id())),
            "{problem}"
        );
        // As a program that is being started holds it for a moment.
        let copy = held.0.try_clone().unwrap();
        drop(held);
        lock(dir.path()).unwrap();
        drop(copy);
    }

    #[test]
    fn the_socket_moves_when_its_path_is_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(100));
        fs::create_dir(&long).unwrap();
        let run = run(&long, &Account::Own).unwrap();
        assert!(run.join(SOCKET).as_os_str().len() <= SOCKET_PATH_MAX);
        assert!(Account::Own.owns_alone(&run));
        fs::remove_dir(run).unwrap();
        assert!(
            super::run(dir.path(), &Account::Own)
                .unwrap()
                .starts_with(dir.path())
        );
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(
            private(&open, &Account::Own)
                .unwrap_err()
                .to_string()
                .contains("0700")
        );
    }
}
