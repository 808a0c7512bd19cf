//! What the gateway costs: calls of one stub service directly over gRPC, through a gateway across the
//! network, through one in the same process, and a bare handler that answers the same JSON. All take
//! turns in one run, each over as many connections, one call at a time on each. Then: clients that
//! watch and are told nothing, what one of them takes, and what calls are like beside them.

use std::{
    path::Path as FilePath,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use axum::{Json, Router, extract::Path, routing::get};
use futures::{StreamExt, future::BoxFuture, future::try_join_all, stream::BoxStream};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jitney_gateway::{Gateway, Needs};
use jitney_platform::{
    Platform,
    auth::{Role, TokenKeys},
    client::Channel,
    clock::Clock,
    db::{Database, DatabaseConfig},
    serve::{self, GrpcService, Rpcs},
};
use jitney_proto::codec::Protobuf;
use jitney_proto::trips::v1::{
    GetTripRequest, GetTripResponse, Trip, TripState, WatchTripRequest, WatchTripResponse,
    trips_service_client::TripsServiceClient,
};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue};

use super::{Loads, Report, figure::Unit};
use crate::progress::Progress;

mod rival;

use rival::Rival;

const TRIPS: &str = "jitney.trips.v1.TripsService";
const TTL: Duration = Duration::from_secs(24 * 3600);

/// Measures and prints.
pub fn run(
    report: &mut Report,
    loads: &Loads,
    idle: usize,
    rival: Option<&FilePath>,
) -> anyhow::Result<()> {
    super::super::runtime()?.block_on(async {
        let stage = Stage::open(rival).await?;
        for &clients in &loads.clients {
            stage.compare(report, loads, clients).await?;
        }
        stage.idle(report, loads, idle).await
    })
}

/// Everything that is served.
struct Stage {
    platform: Platform,
    direct: String,
    remote: String,
    in_process: String,
    bare: String,
    rival: Option<Rival>,
}

/// One way to call.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Grpc,
    Remote,
    InProcess,
    Bare,
    Rival,
}

impl Way {
    const ALL: [Way; 5] = [
        Way::Grpc,
        Way::Remote,
        Way::Rival,
        Way::InProcess,
        Way::Bare,
    ];

    fn name(self) -> &'static str {
        match self {
            Way::Grpc => "gRPC, direct",
            Way::Remote => "gateway, remote",
            Way::InProcess => "gateway, in process",
            Way::Bare => "bare JSON handler",
            Way::Rival => "structured-proxy, remote",
        }
    }
}

impl Stage {
    async fn open(rival: Option<&FilePath>) -> anyhow::Result<Stage> {
        let platform = platform();
        let service = GrpcService::guard(TRIPS, stub(), &platform);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let uri = format!("http://{}", listener.local_addr()?);
        tokio::spawn(serve::serve_grpc(
            listener,
            vec![service.clone()],
            platform.clone(),
        ));
        let remote = gateway(&platform, Channel::remote(&uri)?).await?;
        let in_process = gateway(&platform, service.channel()).await?;
        let bare = bare(&in_process, &platform).await?;
        let rival = match rival {
            Some(program) => Some(Rival::start(program, &uri, &format!("{TRIPS}/GetTrip")).await?),
            None => None,
        };
        Ok(Stage {
            rival,
            platform,
            direct: uri,
            remote,
            in_process,
            bare,
        })
    }

    async fn compare(
        &self,
        report: &mut Report,
        loads: &Loads,
        clients: usize,
    ) -> anyhow::Result<()> {
        let mut rates = [const { Vec::new() }; Way::ALL.len()];
        let mut latencies = [const { Vec::new() }; Way::ALL.len()];
        let ways = || {
            let ways = Way::ALL.into_iter().enumerate();
            ways.filter(|(_, way)| *way != Way::Rival || self.rival.is_some())
        };
        let progress = Progress::steps("rounds", loads.rounds + 1);
        for round in 0..=loads.rounds {
            for (at, way) in ways() {
                // The first round warms up.
                let seconds = if round == 0 { 1 } else { loads.seconds };
                let begun = Instant::now();
                let mut times = self
                    .load(way, clients, Duration::from_secs(seconds))
                    .await?;
                if round > 0 {
                    rates[at].push(times.len() as f64 / begun.elapsed().as_secs_f64());
                    latencies[at].append(&mut times);
                }
            }
            progress.step();
        }
        drop(progress);
        for (at, way) in ways() {
            let name = format!("{}, {clients} connections", way.name());
            report.rates(&name, &rates[at]);
            report.times(
                &format!("{name}, latency"),
                Unit::Us,
                None,
                &mut latencies[at],
            );
        }
        let [grpc, remote, rival, in_process, bare] = &rates;
        report.ratio("gateway remote / gRPC direct", remote, grpc);
        report.ratio("gateway in process / bare handler", in_process, bare);
        if self.rival.is_some() {
            report.ratio("gateway remote / structured-proxy", remote, rival);
        }
        Ok(())
    }

    /// How long each call took, over so many connections for so long.
    async fn load(
        &self,
        way: Way,
        clients: usize,
        time: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let end = Instant::now() + time;
        let each = (0..clients).map(|client| {
            let rider = format!("r{client}");
            let token = self.token(&rider);
            async move {
                let token = token?;
                match way {
                    Way::Grpc => grpc(Channel::remote(&self.direct)?, &token, end).await,
                    Way::Remote => http(&self.remote, &token, end).await,
                    Way::InProcess => http(&self.in_process, &token, end).await,
                    Way::Bare => http(&self.bare, &token, end).await,
                    Way::Rival => match &self.rival {
                        Some(rival) => http(&rival.address, &token, end).await,
                        None => Ok(Vec::new()),
                    },
                }
            }
        });
        let tasks = try_join_all(each).await?;
        Ok(tasks.into_iter().flatten().collect())
    }

    fn token(&self, rider: &str) -> anyhow::Result<String> {
        let now = self.platform.clock.now();
        self.platform.keys.mint(Role::Rider, rider, TTL, now)
    }

    /// Clients that watch a trip to which nothing happens.
    async fn idle(&self, report: &mut Report, loads: &Loads, idle: usize) -> anyhow::Result<()> {
        if idle == 0 {
            return Ok(());
        }
        let time = Duration::from_secs(loads.seconds);
        let clients = loads.clients.first().copied().unwrap_or(50);
        let mut alone = self.load(Way::InProcess, clients, time).await?;
        report.times("call without idle clients", Unit::Us, None, &mut alone);
        let before = resident_bytes()?;
        let mut open = Vec::with_capacity(idle);
        for client in 0..idle {
            let token = self.token(&format!("idle-{client}"))?;
            let mut socket = TcpStream::connect(&self.in_process)
                .await
                .with_context(|| {
                    format!("client {client}: each takes two of the files that `ulimit -n` allows")
                })?;
            let request = format!(
                "GET /v1/trips/t:watch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).await?;
            let mut head = [0; 12];
            socket.read_exact(&mut head).await?;
            ensure!(
                &head == b"HTTP/1.1 200",
                "{}",
                String::from_utf8_lossy(&head)
            );
            open.push(socket);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let each = (resident_bytes()?.saturating_sub(before)) as f64 / idle as f64;
        // Both ends are in this process: it is more than the gateway's own.
        report.value(
            "memory of an idle client, both ends",
            "KiB",
            None,
            each / 1024.0,
            idle,
        );
        let mut beside = self.load(Way::InProcess, clients, time).await?;
        report.times("call beside idle clients", Unit::Us, None, &mut beside);
        drop(open);
        Ok(())
    }
}

async fn grpc(channel: Channel, token: &str, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let bearer: AsciiMetadataValue = format!("Bearer {token}").parse()?;
    let mut client = TripsServiceClient::new(channel);
    let mut times = Vec::new();
    while Instant::now() < end {
        let mut request = Request::new(GetTripRequest {
            trip_id: "t".to_owned(),
        });
        request
            .metadata_mut()
            .insert("authorization", bearer.clone());
        let begun = Instant::now();
        let answer = client.get_trip(request).await?;
        ensure!(answer.get_ref().trip.is_some(), "an empty answer");
        times.push(begun.elapsed());
    }
    Ok(times)
}

async fn http(address: &str, token: &str, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let serving = tokio::spawn(connection);
    let mut times = Vec::new();
    while Instant::now() < end {
        let request = hyper::Request::get("/v1/trips/t")
            .header("host", "x")
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::<Bytes>::new())?;
        sender.ready().await?;
        let begun = Instant::now();
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == 200 && !body.is_empty(), "{status}");
        times.push(begun.elapsed());
    }
    serving.abort();
    Ok(times)
}

fn platform() -> Platform {
    let database = Database::new(PgConnectOptions::new(), DatabaseConfig::default());
    Platform::new(Clock::system(), database, Arc::new(TokenKeys::generate()))
}

async fn gateway(platform: &Platform, trips: Channel) -> anyhow::Result<String> {
    let config = jitney_gateway::Config {
        requests_per_second: 0,
        address_requests_per_second: 0,
        connections_per_address_max: 0,
        connections_max: 100_000,
        streams_max: 100_000,
        ..jitney_gateway::Config::default()
    };
    let needs = Needs {
        platform: platform.clone(),
        matching: trips.clone(),
        billing: trips.clone(),
        trips,
        login: None,
    };
    let gateway = Gateway::build(config, needs)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { gateway.serve(listener).await });
    Ok(address)
}

/// A handler that does nothing but write the same JSON.
async fn bare(gateway: &str, platform: &Platform) -> anyhow::Result<String> {
    let token = platform
        .keys
        .mint(Role::Rider, "r", TTL, platform.clock.now())?;
    let answer = reqwest::Client::new()
        .get(format!("http://{gateway}/v1/trips/t"))
        .bearer_auth(token)
        .send()
        .await?;
    let json: Value = answer.json().await?;
    let json = Arc::new(json);
    let handler = get(move |Path(trip_id): Path<String>| {
        let json = json.clone();
        async move {
            let mut answer = (*json).clone();
            answer["trip"]["tripId"] = trip_id.into();
            Json(answer)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let router = Router::new().route("/v1/trips/{trip_id}", handler);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// A service that answers from nothing.
#[derive(Clone, Copy)]
struct Stub;

impl tonic::server::UnaryService<GetTripRequest> for Stub {
    type Response = GetTripResponse;
    type Future = BoxFuture<'static, Result<Response<GetTripResponse>, Status>>;

    fn call(&mut self, request: Request<GetTripRequest>) -> Self::Future {
        let trip = Trip {
            trip_id: request.into_inner().trip_id,
            rider_id: "anna".to_owned(),
            state: TripState::Searching.into(),
            version: 1,
            product: "economy".to_owned(),
            ..Trip::default()
        };
        let answer = GetTripResponse {
            trip: Some(trip),
            ..Default::default()
        };
        Box::pin(async move { Ok(Response::new(answer)) })
    }
}

impl tonic::server::ServerStreamingService<WatchTripRequest> for Stub {
    type Response = WatchTripResponse;
    type ResponseStream = BoxStream<'static, Result<WatchTripResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<WatchTripRequest>) -> Self::Future {
        Box::pin(async { Ok(Response::new(futures::stream::pending().boxed())) })
    }
}

/// Its two rpcs, as a generated server has them.
fn stub() -> impl Rpcs {
    tower::service_fn(async |request: axum::http::Request<tonic::body::Body>| {
        let rpc = request.uri().path().rsplit('/').next();
        Ok(match rpc {
            Some("GetTrip") => {
                let codec = Protobuf::<GetTripResponse, GetTripRequest>::default();
                tonic::server::Grpc::new(codec).unary(Stub, request).await
            }
            Some("WatchTrip") => {
                let codec = Protobuf::<WatchTripResponse, WatchTripRequest>::default();
                tonic::server::Grpc::new(codec)
                    .server_streaming(Stub, request)
                    .await
            }
            _ => Status::unimplemented("the stub has two rpcs").into_http(),
        })
    })
}

/// The memory of this process that is in use.
fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .context("/proc/self/status has no VmRSS")?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}
