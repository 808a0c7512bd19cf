//! Finds the PostgreSQL programs that the machine has.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, anyhow, bail};

/// The oldest major version with what the outbox needs (`xid8`, `pg_current_snapshot`).
const MAJOR_MIN: u32 = 13;

/// Folders that hold one folder per installed version: the folder, how the version's folder begins,
/// and where its programs are in it.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // the PostgreSQL project's RPMs
    ("/usr/libexec", "postgresql", ""),          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
];

/// Programs that belong together.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// The programs in `folder`, or why there are none to use.
    fn at(folder: &Path) -> anyhow::Result<Self> {
        for program in ["postgres", "initdb"] {
            let path = folder.join(program);
            if !path.is_file() {
                bail!("{} is not there", path.display());
            }
        }
        let postgres = folder.join("postgres");
        let output = Command::new(&postgres)
            .arg("--version")
            .output()
            .with_context(|| format!("{} cannot be run", postgres.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let major = major_of(&text)
            .with_context(|| format!("{} says it is {:?}", postgres.display(), text.trim()))?;
        if major < MAJOR_MIN {
            bail!(
                "{} is version {major}; {MAJOR_MIN} or newer is needed",
                postgres.display()
            );
        }
        Ok(Self {
            folder: folder.to_owned(),
            major,
        })
    }
}

/// Finds programs to use: those of version `wanted` if there are any, otherwise the first.
pub(super) fn find(given: Option<&Path>, wanted: Option<u32>) -> anyhow::Result<Binaries> {
    match given {
        // What is wrong first, then what to do about it: a context would stand in front.
        Some(folder) => Binaries::at(folder).map_err(|problem| {
            anyhow!(
                "the PostgreSQL that the setting `postgres_binaries` names cannot be used: \
                 {problem:#}. Remove the setting to have the programs searched for, or set \
                 DATABASE_URL to a PostgreSQL that runs elsewhere"
            )
        }),
        None => first_of(candidates(), wanted),
    }
}

fn first_of(
    candidates: impl IntoIterator<Item = PathBuf>,
    wanted: Option<u32>,
) -> anyhow::Result<Binaries> {
    let mut fallback = None;
    let mut unfit = Vec::new();
    for folder in candidates {
        match Binaries::at(&folder) {
            Ok(binaries) if wanted.is_none_or(|major| major == binaries.major) => {
                return Ok(binaries);
            }
            Ok(binaries) => {
                fallback.get_or_insert(binaries);
            }
            Err(problem) if folder.join("postgres").is_file() => unfit.push(format!("{problem:#}")),
            Err(_) => {}
        }
    }
    if let Some(binaries) = fallback {
        return Ok(binaries);
    }
    let mut message = format!(
        "no DATABASE_URL is set and PostgreSQL {MAJOR_MIN} or newer was not found on this machine. \
         Install it (`apt-get install postgresql`, `dnf install postgresql-server`, `apk add \
         postgresql` or `brew install postgresql`), or set DATABASE_URL to one that runs elsewhere"
    );
    for problem in unfit {
        message.push_str("; ");
        message.push_str(&problem);
    }
    bail!(message)
}

/// Where programs may be, the likeliest first. Lazily, because asking `pg_config` takes time.
fn candidates() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<_> = env::split_paths(&path).collect();
    on_path
        .into_iter()
        .filter(|folder| folder.is_absolute())
        .chain(std::iter::once_with(ask_pg_config).flatten())
        .chain(
            VERSIONED
                .into_iter()
                .flat_map(|(folder, prefix, programs)| {
                    versions(Path::new(folder), prefix, Path::new(programs))
                }),
        )
}

fn ask_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim())
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
}

/// The program folders of the versions in `folder`, newest first.
fn versions(folder: &Path, prefix: &str, programs: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name
                .to_str()?
                .strip_prefix(prefix)?
                .split('.')
                .next()?
                .parse()
                .ok()?;
            Some((version, entry.path().join(programs)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The major version in, for example, `postgres (PostgreSQL) 16.3 (Debian 16.3-1)`.
fn major_of(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("command not found"), None);
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let problem = first_of([PathBuf::from("/nonexistent")], None)
            .unwrap_err()
            .to_string();
        assert!(problem.contains("apt-get install postgresql"), "{problem}");
        assert!(problem.contains("DATABASE_URL"), "{problem}");
        let problem = format!(
            "{:#}",
            find(Some(Path::new("/nonexistent")), None).unwrap_err()
        );
        for said in [
            "/nonexistent/postgres is not there",
            "Remove the setting",
            "`postgres_binaries`",
            "DATABASE_URL",
        ] {
            assert!(problem.contains(said), "{said}: {problem}");
        }
    }

    #[test]
    fn newer_versions_come_first() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["9.6", "13", "16", "junk"] {
            fs::create_dir(folder.path().join(version)).unwrap();
        }
        let found = versions(folder.path(), "", Path::new("bin"));
        let names: Vec<_> = ["16/bin", "13/bin", "9.6/bin"]
            .map(|v| folder.path().join(v))
            .into();
        assert_eq!(found, names);
    }

    #[test]
    fn the_version_that_made_the_data_is_preferred() {
        let here = first_of(candidates(), None).unwrap();
        assert_eq!(
            first_of(candidates(), Some(here.major)).unwrap().major,
            here.major
        );
        assert_ne!(first_of(candidates(), Some(1)).unwrap().major, 1);
    }
}
