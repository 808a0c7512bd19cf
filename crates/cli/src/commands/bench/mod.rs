//! `jitney bench`: how fast the parts are that have to be, on this machine and any map.

mod billing;
mod city;
mod figure;
mod gateway;
mod ingest;
mod load;
mod nearest;
mod roads;
mod rounds;
mod server;
mod telemetry;
mod trips;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use figure::Report;

use crate::{Config, program, progress::Progress};

/// Arguments of `jitney bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  jitney bench roads --map porto.osm.pbf\n  \
    jitney bench nearest --map porto.osm.pbf --drivers 1000,100000 --json\n  \
    jitney bench billing --rounds 5 --seconds 10 --clients 8,32,128\n  \
    jitney bench gateway --rounds 3 --seconds 5 --json\n  \
    jitney bench telemetry --rounds 9 --seconds 5 --json\n  \
    jitney bench city --drivers 2000\n  \
    jitney bench load tests/load/matching/nearby-drivers.json")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// What to measure.
    #[arg(value_enum, required = true)]
    subject: Option<Subject>,
    /// The map: an extract, a map file or a DIMACS graph; without it, the map of the configuration.
    #[arg(long)]
    map: Option<PathBuf>,
    /// Idle drivers (for the gateway: idle clients); several numbers for several figures. Each subject
    /// has its own default.
    #[arg(long, value_delimiter = ',')]
    drivers: Vec<usize>,
    /// Requests in a round.
    #[arg(long, default_value_t = 5_000)]
    requests: usize,
    /// Decides where everybody is.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that one load lasts.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How often each of several loads has its turn; medians are compared.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Clients at once; several numbers for several loads. Each subject has its own default.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<usize>,
    /// For the gateway: the program `structured-proxy` to compare with, as
    /// `cargo install structured-proxy --features cli` makes it.
    #[arg(long)]
    rival: Option<PathBuf>,
    /// Print one JSON line per figure.
    #[arg(long)]
    json: bool,
}

/// What has arguments of its own.
#[derive(clap::Subcommand, Debug)]
enum Other {
    /// Makes the calls of scenario files to running services, as ghz would.
    Load(load::Args),
}

/// What is measured.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Subject {
    /// Import, snapping, travel times, routes, new speeds.
    Roads,
    /// The nearest drivers, and drivers that move.
    Nearest,
    /// Whole dispatch rounds.
    Rounds,
    /// Positions through gRPC into the index.
    Ingest,
    /// Captures of held fares through gRPC, against pgbench with the same statement.
    Billing,
    /// Transitions of trips through gRPC, with their events told and without, against pgbench's own.
    Trips,
    /// Calls through the gateway, against gRPC and a bare handler; clients that only watch.
    Gateway,
    /// Processor time of a request with 1 % of the traces exported, against telemetry off.
    Telemetry,
    /// The city's page in a browser: first paint, frames a second, what a viewer is sent.
    City,
}

/// How loads that are compared take turns.
pub struct Loads {
    /// How often each has its turn.
    pub rounds: usize,
    /// For how long.
    pub seconds: u64,
    /// Clients at once.
    pub clients: Vec<usize>,
}

impl Loads {
    fn of(args: &Args, clients: &[usize]) -> anyhow::Result<Self> {
        let loads = Self {
            rounds: args.rounds,
            seconds: args.seconds,
            clients: if args.clients.is_empty() {
                clients.to_vec()
            } else {
                args.clients.clone()
            },
        };
        anyhow::ensure!(
            loads.rounds > 0 && loads.seconds > 0 && !loads.clients.contains(&0),
            "--rounds, --seconds and --clients must be above zero"
        );
        Ok(loads)
    }
}

/// Measures and prints.
pub fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    if let Some(Other::Load(args)) = &args.other {
        return load::run(args, config);
    }
    let subject = args.subject.context("clap requires a subject")?;
    match subject {
        Subject::Billing => {
            let mut report = Report::new("", args.json);
            billing::run(&mut report, config, &Loads::of(args, &[8, 32, 128])?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Subject::Trips => {
            let mut report = Report::new("", args.json);
            trips::run(&mut report, config, &Loads::of(args, &[8, 32])?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Subject::Gateway => {
            let mut report = Report::new("", args.json);
            let idle = args.drivers.first().copied().unwrap_or(9_500);
            gateway::run(
                &mut report,
                &Loads::of(args, &[50])?,
                idle,
                args.rival.as_deref(),
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        Subject::Telemetry => {
            let mut report = Report::new("", args.json);
            telemetry::run(&mut report, &Loads::of(args, &[8])?)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let mut config = config.clone();
    if args.map.is_some() {
        config.map.file.clone_from(&args.map);
    }
    let network = program::open_roads(&config)?;
    let mut report = Report::new(network.name(), args.json);
    let drivers = |default: &[usize]| {
        if args.drivers.is_empty() {
            default.to_vec()
        } else {
            args.drivers.clone()
        }
    };
    match subject {
        Subject::Roads => roads::run(&mut report, &network, config.map.file.as_deref(), args.seed)?,
        Subject::Nearest => {
            let progress = Progress::spinner("working out travel times");
            let tightened = network.tightened();
            drop(progress);
            let drivers = drivers(&[1_000, 10_000, 100_000, 1_000_000]);
            nearest::run(&mut report, &tightened, &drivers, args.seed);
        }
        Subject::Rounds => {
            let drivers = drivers(&[20_000]);
            rounds::run(
                &mut report,
                &network.tightened(),
                args.requests,
                &drivers,
                args.seed,
            )?;
        }
        Subject::Ingest => {
            let drivers = drivers(&[10_000]);
            ingest::run(&mut report, network, &drivers, args.seconds, args.seed)?;
        }
        Subject::City => {
            let drivers = args.drivers.first().copied().unwrap_or(2_000);
            city::run(&mut report, network, drivers, args.seconds, args.seed)?;
        }
        // No map is measured.
        Subject::Billing | Subject::Trips | Subject::Gateway | Subject::Telemetry => {}
    }
    Ok(ExitCode::SUCCESS)
}
