//! What this machine has: room, files, programs, the map.

use std::path::{Path, PathBuf};

use jitney_roads::RoadNetwork;
use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};

use super::Finding;
use crate::Config;

/// Below that much room in the data folder a database will not run for long, in bytes.
const ROOM_LOW: u64 = 1 << 30;
/// Below that much nothing runs at all, in bytes.
const ROOM_MIN: u64 = 64 << 20;
/// Files that a city with many streams has open; each stream is one.
const FILES_WANTED: u64 = 4_096;
/// Where the limits of this process are told.
const LIMITS: &str = "/proc/self/limits";

/// Looks at the machine.
pub fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![data_folder(&config.data_dir)];
    findings.extend(room(&config.data_dir));
    findings.extend(
        std::fs::read_to_string(LIMITS)
            .ok()
            .and_then(|text| open_files(&text)),
    );
    findings.push(map(config));
    for (program, wanted_for) in [
        ("node", "the test of a generated client"),
        ("chromium", "the tests of the pages"),
        ("promtool", "the tests of the alerts"),
    ] {
        findings.push(match on_path(program) {
            Some(path) => Finding::ok("program", path.display().to_string()),
            None => Finding::optional("program", format!("{program}: only for {wanted_for}")),
        });
    }
    findings
}

/// The nearest folder that is there.
fn existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = absolute.ancestors().find(|folder| folder.exists());
    found.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn data_folder(folder: &Path) -> Finding {
    const WHAT: &str = "data folder";
    let there = existing(folder);
    if !there.is_dir() {
        let told = format!("{} is not a folder; see data_dir", there.display());
        return Finding::wrong(WHAT, told);
    }
    match access(&there, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if folder.exists() => Finding::ok(WHAT, folder.display().to_string()),
        Ok(()) => Finding::ok(WHAT, format!("{} will be made", folder.display())),
        Err(error) => Finding::wrong(
            WHAT,
            format!(
                "{} cannot be written to ({error}); see data_dir",
                there.display()
            ),
        ),
    }
}

fn room(folder: &Path) -> Option<Finding> {
    const WHAT: &str = "disk";
    let there = existing(folder);
    let stat = statvfs(&there).ok()?;
    #[allow(clippy::useless_conversion)] // Their types differ from system to system.
    let free = u64::from(stat.blocks_available()) * u64::from(stat.fragment_size());
    let told = format!(
        "{:.1} GiB free at {}",
        free as f64 / f64::from(1 << 30),
        there.display()
    );
    Some(match free {
        free if free < ROOM_MIN => Finding::wrong(WHAT, told),
        free if free < ROOM_LOW => Finding::warning(WHAT, told),
        _ => Finding::ok(WHAT, told),
    })
}

/// How many files may be open, from the text of the process's limits.
fn open_files(limits: &str) -> Option<Finding> {
    const WHAT: &str = "open files";
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    let Ok(soft) = soft.parse::<u64>() else {
        return Some(Finding::ok(WHAT, soft));
    };
    Some(if soft < FILES_WANTED {
        let told = format!("{soft} at most: as many streams. ulimit -n {FILES_WANTED} raises it");
        Finding::warning(WHAT, told)
    } else {
        Finding::ok(WHAT, format!("{soft} at most"))
    })
}

fn map(config: &Config) -> Finding {
    const WHAT: &str = "map";
    let Some(file) = &config.map.file else {
        return Finding::ok(WHAT, "the built-in city");
    };
    let shown = file.display();
    if let Err(error) = std::fs::File::open(file) {
        return Finding::wrong(WHAT, format!("{shown}: {error}; see map.file"));
    }
    if file.extension().is_none_or(|ending| ending != "roads") {
        return Finding::ok(WHAT, format!("{shown} is imported at the first start"));
    }
    match RoadNetwork::load(file) {
        Ok(network) => Finding::ok(WHAT, format!("{shown}: {}", network.name())),
        Err(error) => Finding::wrong(WHAT, format!("{shown}: {error}; import it again")),
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| access(file, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn few_files_are_a_warning() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(open_files(limits).unwrap().level, Level::Warning);
        let limits = limits.replace("1024", "65536");
        assert_eq!(open_files(&limits).unwrap().level, Level::Ok);
        let limits = limits.replace("65536", "unlimited");
        assert_eq!(open_files(&limits).unwrap().level, Level::Ok);
    }

    #[test]
    fn a_map_that_is_none_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        assert_eq!(map(&config).level, Level::Ok);
        let file = folder.path().join("city.roads");
        config.map.file = Some(file.clone());
        assert_eq!(map(&config).level, Level::Wrong);
        std::fs::write(&file, "no map").unwrap();
        assert_eq!(map(&config).level, Level::Wrong);
    }

    #[test]
    fn a_file_is_no_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            data_folder(&folder.path().join("to/be/made")).level,
            Level::Ok
        );
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(data_folder(&file).level, Level::Wrong);
    }
}
