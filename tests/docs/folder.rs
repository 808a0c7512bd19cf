//! A folder that documented commands run in, with what they name: the program, a map, a file of rides.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;

use super::pbf::{Extract, Nodes};
use crate::support::Process;

/// How long a command may take. Generous: it bounds a failing test, not a passing one.
const PATIENCE: Duration = Duration::from_secs(120);

/// What curl does beyond what it is told: an answer of 400 or more fails and is shown.
const CURLRC: &str = "fail-with-body\nshow-error\nmax-time = 30\n";

/// The south-western corner of the town that stands for a reader's own city, as latitude and longitude.
const CORNER: (f64, f64) = (41.15, -8.61);
/// Streets of the town in either direction.
const STREETS: i64 = 12;
/// From one street to the next, degrees.
const BLOCK: f64 = 0.002;

/// The folder; it goes with its value.
pub struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    /// A folder with everything in it.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let command = Process::command(at);
        for place in ["bin", "target/debug"] {
            fs::create_dir_all(at.join(place)).unwrap();
            symlink(command.get_program(), at.join(place).join("jitney")).unwrap();
        }
        fs::create_dir(at.join("data")).unwrap();
        fs::write(at.join(".curlrc"), CURLRC).unwrap();
        fs::write(at.join("porto.osm.pbf"), town()).unwrap();
        fs::write(at.join("rides.csv"), rides()).unwrap();
        Self { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program's data folder.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A shell that runs a script here.
    pub fn shell(&self, script: &str) -> Command {
        let at = self.path();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("JITNEY_")) {
            command.env_remove(name);
        }
        command
            .args(["-euc", script])
            .env_remove("DATABASE_URL")
            .env("PATH", format!("{}:{path}", at.join("bin").display()))
            .env("CURL_HOME", at)
            .env("JITNEY_DATA_DIR", self.data())
            .env("JITNEY_LISTEN__METRICS", "")
            .current_dir(at)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn finish(mut command: Command) -> Output {
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        ended
            .unwrap_or_else(|_| panic!("not over after {PATIENCE:?}: {command:?}"))
            .expect("there is a shell")
    }
}

/// An OpenStreetMap extract of a town: streets from west to east and from south to north.
fn town() -> Vec<u8> {
    let id = |row, column| 1 + row * STREETS + column;
    let mut extract = Extract::default();
    for street in 0..STREETS {
        for other in 0..STREETS {
            let (latitude, longitude) = crossing(street, other);
            extract
                .nodes
                .push((id(street, other), latitude, longitude, &[]));
        }
        let along = (0..STREETS).map(|other| id(street, other)).collect();
        let across = (0..STREETS).map(|other| id(other, street)).collect();
        for nodes in [along, across] {
            extract.ways.push((nodes, &[("highway", "residential")]));
        }
    }
    extract.bytes(Nodes::Dense)
}

/// Where two streets of the town cross.
fn crossing(row: i64, column: i64) -> (f64, f64) {
    let degrees = |streets: i64| BLOCK * streets as f64;
    (CORNER.0 + degrees(row), CORNER.1 + degrees(column))
}

/// Rides that people wanted in the town, after five in the evening where clocks are an hour ahead of UTC.
fn rides() -> String {
    let mut text = "pickup_unix,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon\n".to_owned();
    for number in 0..20 {
        let (from, to) = (crossing(number % STREETS, 0), crossing(3, number % STREETS));
        let second = 16 * 3600 + 60 * number;
        let _ = writeln!(text, "{second},{},{},{},{}", from.0, from.1, to.0, to.1);
    }
    text
}
