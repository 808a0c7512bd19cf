//! The web pages in a real browser, against the running program: a whole ride with a rider's page and a
//! driver's page at once, a ride that nobody takes, the operators' page on a living city, what axe finds, and
//! not one word in the console.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::support::{DriverApp, Process, places::*, point, receipt_of};

/// One browser at a time: it draws without a graphics card, and two of them leave other tests no time.
static BROWSER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Where Chromium is looked for.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web")
}

/// Where the pictures go: to CI's artefacts, or beside what was built.
fn pictures() -> PathBuf {
    if let Some(folder) = std::env::var_os("CI_ARTEFACTS_DIR") {
        return Path::new(&folder).join("web-screenshots");
    }
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    target.join("web-screenshots")
}

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// The browser, or why the pages cannot be tried here.
fn ready(pages_are_built: bool) -> Result<PathBuf, &'static str> {
    let node = Command::new("node").arg("--version").output();
    if node.is_err() {
        return Err("node is not installed");
    }
    if !package().join("node_modules/.complete").exists() {
        return Err("the browser's driver is not installed; `make test` does, with node and npm");
    }
    if !pages_are_built {
        return Err("the program was built without its pages; `make build` takes them in");
    }
    browser().ok_or("Chromium is not installed; `deploy/setup.sh tests` does")
}

/// Whether the program has its pages in it.
async fn has_pages(api: &str) -> bool {
    let page = reqwest::get(format!("{api}/rider")).await.unwrap();
    page.status().is_success()
}

/// Simulated people in a city; they end with this.
struct Fleet(Child);

impl Fleet {
    fn drive(folder: &Path, api: &str) -> Self {
        let child = Process::command(folder)
            .args([
                "simulate",
                "--url",
                api,
                "--drivers",
                "16",
                "--riders-per-hour",
                "240",
            ])
            .args(["--speed", "4", "--minutes", "30"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The report of a short simulation of two policies.
fn comparison(folder: &Path) -> PathBuf {
    let report = folder.join("comparison.json");
    let simulated = Process::command(folder)
        .args([
            "simulate",
            "--offline",
            "--drivers",
            "10",
            "--riders-per-hour",
            "40",
        ])
        .args([
            "--compare",
            "immediate,batched",
            "--from",
            "08:00",
            "--to",
            "08:30",
            "--json",
        ])
        .arg(&report)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&simulated.stderr);
    assert!(simulated.status.success(), "{told}");
    report
}

/// Runs a script with a browser against a city, unless there is none here. CI has to have one.
async fn try_out(script: &str, settings: &[(&str, &str)]) {
    try_out_with(script, settings, |_| Vec::new()).await;
}

/// As [`try_out`], with what else the script is told.
async fn try_out_with(
    script: &str,
    settings: &[(&str, &str)],
    more: impl FnOnce(&Process) -> Vec<(&'static str, String)>,
) {
    let folder = tempfile::tempdir().unwrap();
    let program = Process::serve_all_with(folder.path(), None, settings);
    let Some(mut node) = script_on(script, &program).await else {
        return;
    };
    node.envs(more(&program));
    tried(script, node);
}

/// Runs a script, which has to find nothing.
fn tried(script: &str, mut node: Command) {
    let run = node.output().unwrap();
    assert!(
        run.status.success(),
        "{script}: {}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
}

/// A script, ready to be run against a program, with the browser; nothing where there is none.
async fn script_on(script: &str, program: &Process) -> Option<Command> {
    let api = format!("http://{}", program.gateway);
    let browser = match ready(has_pages(&api).await) {
        Ok(browser) => browser,
        Err(why) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "the pages must be tried in CI: {why}"
            );
            // Past the test harness, which would swallow it.
            let told = format!("\n*** SKIPPED: {script}, the pages in a browser: {why} ***\n");
            std::io::stderr().write_all(told.as_bytes()).unwrap();
            return None;
        }
    };
    let mut node = Command::new("node");
    node.arg(package().join(script))
        .env("API", &api)
        .env("LOG", program.log())
        .env("SHOTS", pictures())
        .env("CHROMIUM", browser)
        .env("RIDER", program.phone("rider", "web-rider").token)
        .env("DRIVER", program.phone("driver", "web-driver").token)
        .stdin(Stdio::null());
    Some(node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_and_a_driver_ride_on_their_pages() {
    let _alone = BROWSER.lock().await;
    // Tokens are short-lived, so that the pages have to renew them on the way.
    try_out("ride.mjs", &[("JITNEY_GATEWAY__LOGIN__ACCESS_TTL", "75s")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rides_for_later_with_stops_codes_and_another_destination() {
    let _alone = BROWSER.lock().await;
    let settings = [
        // A booked ride begins so long before its time, wherever drivers are.
        ("JITNEY_TRIPS__BOOKING__AHEAD_MIN", "30s"),
        ("JITNEY_TRIPS__BOOKING__RELEASE_BEFORE", "60s"),
        ("JITNEY_TRIPS__BOOKING__SPARE", "60s"),
        ("JITNEY_TRIPS__BOOKING__POLL_INTERVAL", "500ms"),
        // The cars do not drive: what was quoted is what is paid.
        ("JITNEY_TRIPS__FINAL_FARE__DURATION_SPARE", "10h"),
        ("JITNEY_TRIPS__FINAL_FARE__DISTANCE_SPARE_METERS", "100000"),
    ];
    let more = |program: &Process| {
        let token = program.phone("operator", "web-operator").token;
        let before = "60000".to_owned();
        vec![("TOKEN", token), ("RELEASE_BEFORE_MS", before)]
    };
    try_out_with("extras.mjs", &settings, more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ride_that_nobody_takes_says_why() {
    let _alone = BROWSER.lock().await;
    try_out("nobody.mjs", &[("JITNEY_TRIPS__SEARCH_TIMEOUT", "12s")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_mid_ride_is_told_and_gone_through() {
    let _alone = BROWSER.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut program = Some(Process::serve_all(folder.path(), None));
    let address = program.as_ref().map(|program| program.gateway);
    let Some(mut node) = script_on("killed.mjs", program.as_ref().unwrap()).await else {
        return;
    };
    let complaints = folder.path().join("complaints");
    let mut run = node
        .stdout(Stdio::piped())
        .stderr(File::create(&complaints).unwrap())
        .spawn()
        .unwrap();
    // The script says when.
    for line in BufReader::new(run.stdout.take().unwrap()).lines() {
        match line.unwrap().as_str() {
            "kill" => program.take().unwrap().kill(),
            "start" => program = Some(Process::serve_all(folder.path(), address)),
            other => eprintln!("{other}"),
        }
    }
    let told = run.wait().unwrap();
    let complaints = std::fs::read_to_string(complaints).unwrap();
    assert!(told.success(), "{complaints}");
}

/// A ride from the request to the receipt, which the operators' page can be asked about at once: a simulated
/// car takes minutes for one. Its driver stays on shift while what this gives is kept.
async fn driven(program: &Process) -> DriverApp {
    let (rider, phone) = (
        program.phone("rider", "web-rider"),
        program.phone("driver", "web-driver"),
    );
    let mut driver = DriverApp::connect(&phone).await;
    driver.go_online(STATION, &["economy"]).await;
    let wanted = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    let made = rider.post_keyed("/v1/trips", "web-ride", wanted).await.ok();
    let trip = &made["trip"];
    let text = |field: &str| trip[field].as_str().expect("it is a text").to_owned();
    let offer = driver.next("offer").await;
    driver.accept(&offer).await;
    driver.drive(&text("tripId"), &text("pin")).await;
    receipt_of(&rider, &text("tripId")).await;
    driver
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_city_and_say_why() {
    let _alone = BROWSER.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let program = Process::serve_all_with(folder.path(), None, &[]);
    let Some(mut node) = script_on("city.mjs", &program).await else {
        return;
    };
    let _driver = driven(&program).await;
    let _people = Fleet::drive(folder.path(), &format!("http://{}", program.gateway));
    node.env("TOKEN", program.phone("operator", "web-operator").token)
        .env("REPORT", comparison(folder.path()));
    tried("city.mjs", node);
}
