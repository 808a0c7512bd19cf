//! The city's page in a browser: a whole deployment in this process, drivers who all move, and a headless
//! Chromium that looks. Measured are the first paint with the drivers on it, frames a second after that,
//! and what one viewer is sent. The browser is driven by `tests/web/city-bench.mjs`; that needs Node and
//! what `make web-test` installs.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use jitney_platform::{
    auth::{Role, TokenKeys},
    client::Channel,
    clock::Clock,
};
use jitney_proto::{
    common::v1::Point,
    matching::v1::{self as wire, matching_service_client::MatchingServiceClient},
    time::timestamp,
};
use jitney_roads::{LatLon, RoadNetwork, Snap, testmap};
use serde::Deserialize;
use tokio::process::Command;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{figure::Report, server::Server};
use crate::{App, Config, Parts, Which};

/// How fast everybody drives, metres a second.
const SPEED_MPS: f64 = 9.0;
/// How often everybody tells where they are.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Drivers of one message of ReportLocations.
const DRIVERS_PER_MESSAGE: usize = 250;
/// How long the browser may take beside the seconds that are measured.
const BROWSER_MAX: Duration = Duration::from_secs(120);
const DAY: Duration = Duration::from_secs(86_400);

/// What the browser measured.
#[derive(Deserialize)]
struct Seen {
    first_paint_ms: f64,
    frames_per_s: f64,
    /// The slowest second.
    frames_per_s_min: f64,
    kib_per_s: f64,
    drivers: usize,
}

/// Serves a city with so many drivers, looks at it, and prints what was seen.
pub fn run(
    report: &mut Report,
    network: RoadNetwork,
    drivers: usize,
    seconds: u64,
    seed: u64,
) -> anyhow::Result<()> {
    let script = script()?;
    crate::commands::runtime()?.block_on(async {
        let server = Server::start().await?;
        let keys = Arc::new(TokenKeys::generate());
        let network = Arc::new(network);
        let shutdown = CancellationToken::new();
        let mut config = Config::default();
        for address in [
            &mut config.listen.gateway,
            &mut config.listen.matching,
            &mut config.listen.trips,
            &mut config.listen.billing,
        ] {
            *address = "127.0.0.1:0".to_owned();
        }
        let parts = Parts {
            clock: Clock::system(),
            keys: Arc::clone(&keys),
            database: server.database(),
            roads: Some(Arc::clone(&network)),
            sessions: None,
            shutdown: shutdown.clone(),
        };
        let app = App::build(&config, Which::All, parts).await?;
        let at = app.addresses();
        let gateway = at.gateway.context("the gateway listens")?;
        let matching = at.matching.context("matching listens")?;
        let serving = tokio::spawn(app.run());
        let mint = |role, id| keys.mint(role, id, DAY, Clock::system().now());
        let fleet = Fleet {
            channel: Channel::remote(&format!("http://{matching}"))?,
            token: mint(Role::Operator, "bench-fleet")?,
        };
        let cars = cars(&network, seed, drivers)?;
        fleet.begin_shift(&cars).await?;
        let driving = tokio::spawn(fleet.drive(cars));
        let (url, token) = (format!("http://{gateway}"), mint(Role::Operator, "bench")?);
        let seen = look(&script, &url, &token, seconds).await;
        driving.abort();
        shutdown.cancel();
        serving.await??;
        server.stop().await?;
        let seen = seen?;
        let shown = Some(seen.drivers);
        report.value(
            "first paint of the city",
            "ms",
            shown,
            seen.first_paint_ms,
            1,
        );
        let frames = (seen.frames_per_s * seconds as f64) as usize;
        report.value("frames", "1/s", shown, seen.frames_per_s, frames);
        report.value(
            "frames in the slowest second",
            "1/s",
            shown,
            seen.frames_per_s_min,
            1,
        );
        report.value("sent to a viewer", "KiB/s", shown, seen.kib_per_s, 1);
        Ok(())
    })
}

/// The script that drives the browser, where the program was built from its source or is run beside it.
fn script() -> anyhow::Result<PathBuf> {
    let name = "tests/web/city-bench.mjs";
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name);
    let found = [PathBuf::from(name), source]
        .into_iter()
        .find(|path| path.is_file());
    let script =
        found.with_context(|| format!("{name} is not there; run this in the source of Jitney"))?;
    let tools = script.with_file_name("node_modules");
    ensure!(
        tools.is_dir(),
        "{} is not there; `make web-test` installs it",
        tools.display()
    );
    Ok(script)
}

/// Has a browser look at the page.
async fn look(script: &Path, gateway: &str, token: &str, seconds: u64) -> anyhow::Result<Seen> {
    let browser = Command::new("node")
        .arg(script)
        .env("API", gateway)
        .env("TOKEN", token)
        .env("SECONDS", seconds.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let time = BROWSER_MAX + Duration::from_secs(seconds);
    let output = tokio::time::timeout(time, browser).await;
    let output = output.context("the browser did not come to an end")?;
    let output = output.context("node could not be started")?;
    ensure!(
        output.status.success(),
        "the browser saw nothing it could measure"
    );
    serde_json::from_slice(&output.stdout).context("the browser's figures")
}

/// Whoever tells where the drivers are.
struct Fleet {
    channel: Channel,
    token: String,
}

impl Fleet {
    fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        Ok(request)
    }

    async fn begin_shift(&self, cars: &[Car]) -> anyhow::Result<()> {
        let mut client = MatchingServiceClient::new(self.channel.clone());
        for car in cars {
            let request = wire::SetAvailabilityRequest {
                driver_id: car.id.clone(),
                available: true,
                ..Default::default()
            };
            client.set_availability(self.request(request)?).await?;
        }
        Ok(())
    }

    /// Tells of everybody again and again.
    async fn drive(self, mut cars: Vec<Car>) -> anyhow::Result<()> {
        let mut client = MatchingServiceClient::new(self.channel.clone());
        let (say, said) = tokio::sync::mpsc::channel(16);
        let request = self.request(ReceiverStream::new(said))?;
        tokio::spawn(async move { client.report_locations(request).await });
        let mut beat = tokio::time::interval(TOLD_EVERY);
        loop {
            beat.tick().await;
            let now = Some(timestamp(Clock::system().now()));
            for some in cars.chunks_mut(DRIVERS_PER_MESSAGE) {
                let pings = |car: &mut Car| wire::DriverPings {
                    driver_id: car.id.clone(),
                    pings: vec![wire::Ping {
                        location: Some(car.next()),
                        recorded_at: now,
                        ..Default::default()
                    }],
                };
                let drivers = some.iter_mut().map(pings).collect();
                let message = wire::ReportLocationsRequest { drivers };
                say.send(message).await.context("matching hung up")?;
            }
        }
    }
}

/// A car that drives a way to its end and back.
struct Car {
    id: String,
    /// A place for every second.
    way: Vec<Point>,
    at: usize,
    forward: bool,
}

impl Car {
    fn next(&mut self) -> Point {
        if self.at + 1 >= self.way.len() {
            self.forward = false;
        } else if self.at == 0 {
            self.forward = true;
        }
        self.at = match self.forward {
            true => (self.at + 1).min(self.way.len() - 1),
            false => self.at.saturating_sub(1),
        };
        self.way[self.at]
    }
}

/// Cars on ways through the city.
fn cars(network: &RoadNetwork, seed: u64, count: usize) -> anyhow::Result<Vec<Car>> {
    let ends: Vec<Snap> = testmap::random_snaps(network, seed, count * 2);
    let car = |(number, ends): (usize, &[Snap])| {
        let route = network.route(&ends[0], &ends[1]);
        let way = route
            .map(|route| by_seconds(&route.line))
            .unwrap_or_default();
        let place = ends[0].point;
        Car {
            id: format!("car-{number}"),
            at: number % way.len().max(1),
            way: if way.is_empty() {
                vec![Point::new(place.lat(), place.lon())]
            } else {
                way
            },
            forward: true,
        }
    };
    ensure!(count > 0, "--drivers must be above zero");
    Ok(ends.chunks(2).enumerate().map(car).collect())
}

/// Where somebody is, second by second, who drives along a line.
fn by_seconds(line: &[LatLon]) -> Vec<Point> {
    let mut places = Vec::new();
    let mut left_m = 0.0;
    for ends in line.windows(2) {
        let length_m = ends[0].distance_m(ends[1]);
        while left_m < length_m {
            let share = left_m / length_m;
            let between = |from: f64, to: f64| from + (to - from) * share;
            places.push(Point::new(
                between(ends[0].lat(), ends[1].lat()),
                between(ends[0].lon(), ends[1].lon()),
            ));
            left_m += SPEED_MPS;
        }
        left_m -= length_m;
    }
    places
}
