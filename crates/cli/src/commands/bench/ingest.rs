//! Positions through gRPC into the index: the real matching service on a loopback port with a database
//! of its own, and clients on the same machine that send as fast as they are read.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jitney_platform::{
    auth::{Role, TokenKeys},
    client::Channel,
    clock::Clock,
};
use jitney_proto::{
    common::v1::Point,
    matching::v1::{
        self as wire, matching_service_client::MatchingServiceClient,
        stream_driver_request::Message as Say, stream_driver_response::Message as Told,
    },
    time::timestamp,
};
use jitney_roads::{RoadNetwork, testmap};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{
    figure::{Report, Unit},
    server::Server,
};
use crate::{App, Config, Parts, Which};

/// Positions of one driver in a message.
const PINGS_PER_DRIVER: usize = 4;
/// Drivers of one message of ReportLocations.
const DRIVERS_PER_MESSAGE: usize = 250;
/// Connections of ReportLocations.
const REPORTERS: usize = 2;
/// Drivers who are connected on their own.
const APPS: usize = 200;
/// Positions in a message of an app that catches up.
const PINGS_PER_BATCH: usize = 100;

/// Streams positions of that many drivers for some seconds.
pub fn run(
    report: &mut Report,
    network: RoadNetwork,
    drivers: &[usize],
    seconds: u64,
    seed: u64,
) -> anyhow::Result<()> {
    crate::commands::runtime()?.block_on(async {
        let city = City::start(network, seed).await?;
        for &count in drivers {
            reported(report, &city, count, Duration::from_secs(seconds)).await?;
        }
        streamed(report, &city, Duration::from_secs(seconds)).await?;
        city.stop().await
    })
}

/// The service and what is needed to call it.
struct City {
    network: Arc<RoadNetwork>,
    keys: Arc<TokenKeys>,
    channel: Channel,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<anyhow::Result<()>>,
    server: Server,
    seed: u64,
}

impl City {
    async fn start(network: RoadNetwork, seed: u64) -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let keys = Arc::new(TokenKeys::generate());
        let network = Arc::new(network);
        let mut config = Config::default();
        config.listen.matching = "127.0.0.1:0".to_owned();
        let shutdown = CancellationToken::new();
        let parts = Parts {
            clock: Clock::system(),
            keys: Arc::clone(&keys),
            database: server.database(),
            roads: Some(Arc::clone(&network)),
            sessions: None,
            shutdown: shutdown.clone(),
        };
        let app = App::build(&config, Which::Matching, parts).await?;
        let address = app.addresses().matching.context("matching listens")?;
        Ok(Self {
            network,
            channel: Channel::remote(&format!("http://{address}"))?,
            keys,
            serving: tokio::spawn(app.run()),
            shutdown,
            server,
            seed,
        })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.serving.await??;
        self.server.stop().await
    }

    fn client(&self) -> MatchingServiceClient<Channel> {
        MatchingServiceClient::new(self.channel.clone())
    }

    fn request<T>(&self, role: Role, id: &str, message: T) -> anyhow::Result<Request<T>> {
        let hour = Duration::from_secs(3600);
        let token = self.keys.mint(role, id, hour, Clock::system().now())?;
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse()?);
        Ok(request)
    }

    /// Cars that creep along their roads, one place after the other.
    fn cars(&self, count: usize) -> Vec<Car> {
        let snaps = testmap::random_snaps(&self.network, self.seed, count);
        snaps
            .into_iter()
            .map(|snap| {
                let on = self
                    .network
                    .snap_on_segment(snap.segment, snap.offset_mm.saturating_add(5_000));
                Car {
                    places: [snap.point, on.point]
                        .map(|place| Point::new(place.lat(), place.lon())),
                    pings: 0,
                }
            })
            .collect()
    }
}

/// A car that drives to and fro, a few metres each way.
struct Car {
    places: [Point; 2],
    pings: usize,
}

impl Car {
    fn pings(&mut self, count: usize) -> Vec<wire::Ping> {
        let now = Clock::system().now();
        (0..count)
            .map(|back| {
                self.pings += 1;
                // A microsecond apart: each is later than the one before.
                let age = chrono::TimeDelta::microseconds((count - back) as i64);
                wire::Ping {
                    location: Some(self.places[self.pings % 2]),
                    recorded_at: Some(timestamp(now - age)),
                    heading_degrees: Some(90.0),
                    speed_mps: Some(8.0),
                }
            })
            .collect()
    }
}

/// Positions of many drivers on few connections.
async fn reported(
    report: &mut Report,
    city: &City,
    drivers: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let ids: Vec<String> = (0..drivers).map(|number| format!("car-{number}")).collect();
    for id in &ids {
        let request = wire::SetAvailabilityRequest {
            driver_id: id.clone(),
            available: true,
            ..Default::default()
        };
        let request = city.request(Role::Operator, "bench", request)?;
        city.client().set_availability(request).await?;
    }
    let mut cars: Vec<(String, Car)> = ids.into_iter().zip(city.cars(drivers)).collect();
    let share = cars.len().div_ceil(REPORTERS);
    let begun = Instant::now();
    let mut reporters = JoinSet::new();
    while !cars.is_empty() {
        let mut own = cars.split_off(cars.len().saturating_sub(share));
        let (say, said) = tokio::sync::mpsc::channel(4);
        let request = city.request(Role::Service, "bench", ReceiverStream::new(said))?;
        let mut client = city.client();
        reporters.spawn(async move { client.report_locations(request).await });
        tokio::spawn(async move {
            let mut next = 0;
            while begun.elapsed() < time {
                let count = DRIVERS_PER_MESSAGE.min(own.len());
                let drivers = (0..count).map(|_| {
                    next = (next + 1) % own.len();
                    let (id, car) = &mut own[next];
                    wire::DriverPings {
                        driver_id: id.clone(),
                        pings: car.pings(PINGS_PER_DRIVER),
                    }
                });
                let drivers = drivers.collect();
                if say
                    .send(wire::ReportLocationsRequest { drivers })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
    let (mut accepted, mut refused) = (0, 0);
    while let Some(answer) = reporters.join_next().await {
        let answer = answer??.into_inner();
        accepted += answer.accepted;
        refused += answer
            .refused
            .iter()
            .map(|refused| refused.count)
            .sum::<u64>();
    }
    let per_s = accepted as f64 / begun.elapsed().as_secs_f64();
    report.value(
        "positions reported in bulk",
        "1/s",
        Some(drivers),
        per_s,
        accepted as usize,
    );
    let share = refused as f64 / (accepted + refused).max(1) as f64;
    report.value(
        "of those refused",
        "share",
        Some(drivers),
        share,
        (accepted + refused) as usize,
    );
    Ok(())
}

/// Positions of drivers who are connected on their own, each waiting for the receipt of the last batch.
async fn streamed(report: &mut Report, city: &City, time: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut apps = JoinSet::new();
    for (number, mut car) in city.cars(APPS).into_iter().enumerate() {
        let id = format!("app-{number}");
        let (say, said) = tokio::sync::mpsc::channel(4);
        let request = city.request(Role::Driver, &id, ReceiverStream::new(said))?;
        let mut client = city.client();
        apps.spawn(async move {
            let send = async |message| {
                let message = wire::StreamDriverRequest {
                    message: Some(message),
                };
                say.send(message).await.context("the service hung up")
            };
            let call = client.stream_driver(request);
            let (told, hello) = tokio::join!(call, send(Say::Hello(wire::Hello::default())));
            hello?;
            let mut told = told?.into_inner();
            let (mut accepted, mut latencies) = (0_u64, Vec::new());
            while begun.elapsed() < time {
                let sent = Instant::now();
                let pings = car.pings(PINGS_PER_BATCH);
                send(Say::Pings(wire::Pings { batch: 1, pings })).await?;
                while let Some(message) = told.message().await? {
                    if let Some(Told::PingReceipt(receipt)) = message.message {
                        accepted += u64::from(receipt.accepted);
                        latencies.push(sent.elapsed());
                        break;
                    }
                }
            }
            anyhow::Ok((accepted, latencies))
        });
    }
    let (mut accepted, mut latencies) = (0, Vec::new());
    while let Some(app) = apps.join_next().await {
        let (own, times) = app??;
        accepted += own;
        latencies.extend(times);
    }
    let per_s = accepted as f64 / begun.elapsed().as_secs_f64();
    report.value(
        "positions streamed by apps",
        "1/s",
        Some(APPS),
        per_s,
        accepted as usize,
    );
    report.times("receipt of a batch", Unit::Ms, Some(APPS), &mut latencies);
    Ok(())
}
