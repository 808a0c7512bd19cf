//! `jitney bench load`: makes the calls of scenario files as ghz would, for where ghz is not.

mod report;
mod scenario;
mod template;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use jitney_platform::{
    auth::{Role, TokenKeys},
    client::Channel,
    clock::Clock,
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

use self::{
    report::{Calls, Report},
    scenario::{End, Scenario},
    template::{Call, random_uuid},
};
use crate::Config;

/// The variables of scenarios, which `tests/load/run.sh` sets for ghz too.
const TOKEN: &str = "LOAD_TOKEN";
const MATCHING: &str = "LOAD_MATCHING";
const TRIPS: &str = "LOAD_TRIPS";
const BILLING: &str = "LOAD_BILLING";
/// Who calls, where no token is given.
const CALLER: &str = "load";
/// How long that token is good for.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);

/// Arguments of `jitney bench load`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  jitney bench load tests/load/matching/nearby-drivers.json\n  \
    LOAD_MATCHING=10.0.0.5:50051 LOAD_TOKEN=eyJ… jitney bench load tests/load/matching/compute-route.json --json"
)]
pub struct Args {
    /// Scenario files in the form that `ghz --config` reads. In `host` and `metadata`, ${LOAD_MATCHING},
    /// ${LOAD_TRIPS}, ${LOAD_BILLING} and ${LOAD_TOKEN} are variables of the environment; without them
    /// they are the addresses of the configuration and a service's token of this data folder.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// How many calls each scenario makes, instead of what its file says.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    total: Option<u64>,
    /// Print one JSON line per scenario, with the fields of ghz's JSON report.
    #[arg(long)]
    json: bool,
}

/// Reads all scenarios, then makes the calls of one after the other and tells of each.
pub fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let variable = |name: &str| variable(name, config);
    let scenarios = args.scenarios.iter().map(|file| {
        let mut scenario = Scenario::read(file, &variable)?;
        if let Some(total) = args.total {
            scenario.end = End::Calls(total);
        }
        // What cannot be sent is told before anything is.
        request(&scenario, 0, 0, &mut ChaCha8Rng::seed_from_u64(0))
            .with_context(|| format!("scenario {}", file.display()))?;
        Ok(Arc::new(scenario))
    });
    let scenarios: Vec<_> = scenarios.collect::<anyhow::Result<_>>()?;
    let mut unanswered = Vec::new();
    crate::commands::runtime()?.block_on(async {
        for scenario in scenarios {
            let report = play(&scenario).await?;
            if args.json {
                println!("{}", serde_json::to_string(&report)?);
            } else {
                println!("{report}");
            }
            if !report.has_answers() {
                unanswered.push(report.name);
            }
        }
        anyhow::Ok(())
    })?;
    if !unanswered.is_empty() {
        bail!("no call was answered OK: {}", unanswered.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// A variable of a scenario.
fn variable(name: &str, config: &Config) -> anyhow::Result<String> {
    if let Ok(value) = std::env::var(name) {
        return Ok(value);
    }
    let host = |uri: &str| {
        let host = uri.strip_prefix("http://");
        let host =
            host.with_context(|| format!("{name} is not set, and {uri:?} is not http://"))?;
        Ok(host.trim_end_matches('/').to_owned())
    };
    match name {
        MATCHING => host(&config.services.matching),
        TRIPS => host(&config.services.trips),
        BILLING => host(&config.services.billing),
        TOKEN => {
            let keys = TokenKeys::load_or_create(&config.key_folder())?;
            keys.mint(Role::Service, CALLER, TOKEN_TTL, Clock::system().now())
        }
        _ => bail!("the variable {name} is not set"),
    }
}

/// Makes the calls of a scenario.
async fn play(scenario: &Arc<Scenario>) -> anyhow::Result<Report> {
    let uri = format!("http://{}", scenario.host);
    let connect = |_| Channel::remote(&uri);
    let channels: Vec<_> = (0..scenario.connections)
        .map(connect)
        .collect::<anyhow::Result<_>>()?;
    let rpc = &scenario.method;
    let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
    let path = PathAndQuery::try_from(path)?;
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..scenario.concurrency {
        let channel = channels[worker % channels.len()].clone();
        let (scenario, path, next) = (Arc::clone(scenario), path.clone(), Arc::clone(&next));
        let mut chance: ChaCha8Rng = rand::make_rng();
        workers.spawn(async move {
            let mut calls = Calls::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let is_over = match scenario.end {
                    End::Calls(total) => number >= total,
                    End::Time(time) => begun.elapsed() >= time,
                };
                if is_over {
                    return anyhow::Ok(calls);
                }
                let request = request(&scenario, number, worker, &mut chance)?;
                let sent = Instant::now();
                let outcome = call(&channel, &path, request, &scenario).await;
                calls.add(sent.elapsed(), outcome);
            }
        });
    }
    let mut all = Calls::default();
    while let Some(calls) = workers.join_next().await {
        all.join(calls??);
    }
    Ok(all.report(&scenario.name, begun.elapsed()))
}

/// One call's message and metadata.
fn request(
    scenario: &Scenario,
    number: u64,
    worker: usize,
    chance: &mut ChaCha8Rng,
) -> anyhow::Result<Request<DynamicMessage>> {
    let mut call = Call {
        number,
        worker,
        now: Clock::system().now(),
        uuid: random_uuid(chance),
        chance,
    };
    let mut request = Request::new(scenario.message(&mut call)?);
    *request.metadata_mut() = scenario.metadata(&mut call)?;
    request.set_timeout(scenario.timeout);
    Ok(request)
}

/// Makes a call. The time is kept here too: a service that hangs does not look at its deadline.
async fn call(
    channel: &Channel,
    path: &PathAndQuery,
    request: Request<DynamicMessage>,
    scenario: &Scenario,
) -> Result<(), Status> {
    let codec = Dynamic(scenario.method.output());
    let mut client = Grpc::new(channel.clone());
    let answer = async {
        client.ready().await.map_err(Status::from_error)?;
        client.unary(request, path.clone(), codec).await
    };
    match tokio::time::timeout(scenario.timeout, answer).await {
        Ok(answer) => answer.map(drop),
        Err(_) => Err(Status::new(Code::DeadlineExceeded, "no answer in time")),
    }
}

/// A codec of messages that are known by their descriptors; it has that of the answer.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Writer;
    type Decoder = Self;

    fn encoder(&mut self) -> Writer {
        Writer
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

struct Writer;

impl Encoder for Writer {
    type Item = DynamicMessage;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        jitney_proto::codec::buffers()
    }

    fn encode(&mut self, message: DynamicMessage, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let written = message.encode(into);
        written.map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        jitney_proto::codec::buffers()
    }

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), from);
        message
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
