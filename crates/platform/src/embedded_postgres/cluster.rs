//! The data: made once, whole or not at all, and used by one server at a time.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{EmbeddedOptions, account::Account, binaries::Binaries, folder::Folder, server};

/// How often a server that is ending is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The major version that made the data; `None` when there is none yet.
pub(super) fn made_by(cluster: &Path) -> anyhow::Result<Option<u32>> {
    let path = cluster.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let major = text.trim().parse();
            major
                .map(Some)
                .with_context(|| format!("{} does not hold a version", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Makes the data. It is made beside its place and moved there, so that a start which was cut off
/// leaves nothing half done.
pub(super) fn create(
    folder: &Folder,
    account: &Account,
    binaries: &Binaries,
    options: &EmbeddedOptions,
) -> anyhow::Result<()> {
    let draft = folder.base().join("cluster.draft");
    if let Err(error) = fs::remove_dir_all(&draft)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("cannot remove {}", draft.display()));
    }
    let mut command = Command::new(binaries.initdb());
    command
        .arg("--pgdata")
        .arg(&draft)
        .args([
            "--encoding=UTF8",
            "--locale=C",
            "--auth-local=trust",
            "--auth-host=reject",
        ])
        .arg(format!("--username={}", server::USER))
        .current_dir(folder.base())
        .stdin(Stdio::null());
    if !options.fsync {
        command.arg("--no-sync");
    }
    server::forget_environment(&mut command);
    account.apply(&mut command);
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", binaries.initdb().display()))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}",
            binaries.initdb().display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    fs::rename(&draft, folder.cluster())
        .with_context(|| format!("cannot make {}", folder.cluster().display()))
}

/// The process id of the server that runs on the data, as its pid file has it.
pub(super) fn postmaster(cluster: &Path) -> Option<u32> {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Waits until no server runs on the data. We hold the folder, so a server that does is an orphan on
/// its way out: its program was killed a moment ago. It is told once more.
pub(super) fn wait_until_free(cluster: &Path, patience: Duration) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut told = false;
    while let Some(pid) = postmaster(cluster) {
        let process = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
        let is_gone = kill(process, None) == Err(Errno::ESRCH) || !runs_on(pid, cluster);
        // Those that worked for it end a moment later when it was killed. Until then they write.
        if is_gone && !is_worked_on(cluster) {
            // A stale pid file. PostgreSQL would refuse to start if another program had the number
            // by now, as happens in containers, where numbers start over.
            match fs::remove_file(cluster.join("postmaster.pid")) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).context("cannot remove a stale postmaster.pid");
                }
                _ => return Ok(()),
            }
        }
        if !is_gone && !told {
            told = true;
            tracing::info!(pid, "waiting for the previous PostgreSQL to end");
            // It may be gone by now, which is as well.
            let _ = kill(process, Signal::SIGINT);
        }
        if begin.elapsed() > patience {
            bail!(
                "the previous PostgreSQL (process {pid}) still runs on {} after {patience:?}; end it",
                cluster.display()
            );
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Whether process `pid` is a server on this data: a server works in its data folder. Where that
/// cannot be seen, it is taken for one.
fn runs_on(pid: u32, cluster: &Path) -> bool {
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(folder) => fs::canonicalize(cluster).is_ok_and(|cluster| cluster == folder),
        Err(error) => error.kind() != ErrorKind::NotFound || !Path::new("/proc/self").exists(),
    }
}

/// Whether any process works in the data folder, as those that a server starts do. Where that cannot be
/// seen, none does.
fn is_worked_on(cluster: &Path) -> bool {
    let Ok(cluster) = fs::canonicalize(cluster) else {
        return false;
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut folders =
        processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
    folders.any(|folder| folder == cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_pid_file_is_no_server() {
        let dir = tempfile::tempdir().unwrap();
        // A number that is somebody else's by now: ours.
        let pid_file = dir.path().join("postmaster.pid");
        for pid in [std::process::id(), 0x3fff_ffff] {
            fs::write(&pid_file, format!("{pid}\n/somewhere\n")).unwrap();
            wait_until_free(dir.path(), Duration::ZERO).unwrap();
            assert!(!pid_file.exists());
        }
    }

    #[test]
    fn whoever_still_works_for_a_killed_server_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("postmaster.pid");
        fs::write(&pid_file, format!("{}\n/somewhere\n", 0x3fff_ffff)).unwrap();
        let mut backend = Command::new("sleep")
            .arg("600")
            .current_dir(dir.path())
            .spawn()
            .unwrap();
        let refused = wait_until_free(dir.path(), Duration::ZERO);
        backend.kill().unwrap();
        backend.wait().unwrap();
        if Path::new("/proc/self").exists() {
            assert!(refused.is_err());
            assert!(fs::read_dir(dir.path()).unwrap().next().is_some());
        }
        wait_until_free(dir.path(), Duration::ZERO).unwrap();
        assert!(!pid_file.exists());
    }

    #[test]
    fn the_version_of_the_data_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(made_by(dir.path()).unwrap(), None);
        fs::write(dir.path().join("PG_VERSION"), "14\n").unwrap();
        assert_eq!(made_by(dir.path()).unwrap(), Some(14));
        fs::write(dir.path().join("PG_VERSION"), "x\n").unwrap();
        assert!(made_by(dir.path()).is_err());
    }
}
