//! The load scenarios, short, on the running program: with our own client, and handed to ghz, where a
//! script takes its place that keeps what it was handed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use jitney_platform::{auth::Role, clock::Clock};
use serde_json::Value;

use crate::support::{City, Process, program};

/// Calls of each scenario.
const TOTAL: u64 = 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load")
}

fn scenarios() -> usize {
    let of = |service: &str| fs::read_dir(folder().join(service)).unwrap().count();
    ["matching", "trips", "billing"].map(of).iter().sum()
}

/// `tests/load/run.sh` in a clean environment.
fn script(data_dir: &Path) -> Command {
    let mut command = Process::command(data_dir);
    let clean: Vec<_> = command
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
        .collect();
    command = Command::new(folder().join("run.sh"));
    for (name, value) in clean {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .arg(program())
        .current_dir(data_dir)
        .env("TOTAL", TOTAL.to_string())
        .env("FORMAT", "json");
    command
}

#[track_caller]
fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (told, why) = (output.stdout, output.stderr);
    let why = String::from_utf8_lossy(&why);
    assert!(output.status.success(), "{command:?}\n{why}");
    String::from_utf8(told).unwrap()
}

#[test]
fn every_scenario_is_answered_by_a_city_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let told = stdout(script(data.path()).env("GHZ", ""));
    let reports: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), scenarios(), "{told}");
    for report in reports {
        assert_eq!(report["statusCodeDistribution"]["OK"], TOTAL, "{report:#}");
        assert_eq!(report["count"], TOTAL, "{report:#}");
        assert_eq!(report["errorDistribution"], serde_json::json!({}));
        assert!(report["slowest"].as_u64() >= report["fastest"].as_u64());
        assert!(report["rps"].as_f64() > Some(0.0), "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ghz_is_handed_whole_scenarios_of_a_running_city() {
    let city = City::start().await;
    let at = city.addresses;
    let (matching, trips, billing) = (
        at.matching.unwrap().to_string(),
        at.trips.unwrap().to_string(),
        at.billing.unwrap().to_string(),
    );
    let (hour, now) = (Duration::from_secs(3600), Clock::system().now());
    let token = city.keys.mint(Role::Service, "load", hour, now).unwrap();
    let data = tempfile::tempdir().unwrap();
    let told = data.path().join("told");
    let ghz = data.path().join("ghz");
    let keep = format!(
        "#!/bin/sh\ncat \"$2\" >>{0}\necho \"$@\" >&2\n",
        told.display()
    );
    fs::write(&ghz, keep).unwrap();
    fs::set_permissions(&ghz, fs::Permissions::from_mode(0o700)).unwrap();
    let running = |command: &mut Command, token: &str| {
        command
            .env("LOAD_MATCHING", &matching)
            .env("LOAD_TRIPS", &trips)
            .env("LOAD_BILLING", &billing)
            .env("LOAD_TOKEN", token)
            .output()
            .unwrap()
    };
    let handed = running(script(data.path()).env("GHZ", &ghz), &token);
    let options = String::from_utf8(handed.stderr).unwrap();
    assert!(handed.status.success(), "{options}");
    assert!(options.contains("--format json --total 20"), "{options}");
    assert!(!options.contains(&token), "others may read a command line");
    let told = fs::read_to_string(&told).unwrap();
    let mut hosts = Vec::new();
    for scenario in serde_json::Deserializer::from_str(&told).into_iter::<Value>() {
        let scenario = scenario.unwrap();
        let bearer = format!("Bearer {token}");
        assert_eq!(scenario["metadata"]["authorization"], bearer.as_str());
        hosts.push(scenario["host"].as_str().unwrap().to_owned());
    }
    assert_eq!(hosts.len(), scenarios());
    for host in [&matching, &trips, &billing] {
        assert!(hosts.contains(host), "{hosts:?}");
    }

    // Who is not let in hears so, and so does whoever looks at the exit code.
    let refused = running(script(data.path()).env("GHZ", ""), "nonsense");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(why.contains("no call was answered OK"), "{why}");
    let told = String::from_utf8(refused.stdout).unwrap();
    assert!(told.contains("\"Unauthenticated\":20"), "{told}");
}
