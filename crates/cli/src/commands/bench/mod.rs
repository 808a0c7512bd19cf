//! `jitney bench`: how fast the parts are that have to be, on this machine and any map.

mod billing;
mod city;
mod figure;
mod gateway;
mod ingest;
mod load;
mod machine;
mod nearest;
mod roads;
mod rounds;
mod server;
mod telemetry;
mod trips;
mod written;

use std::{path::PathBuf, process::ExitCode};

use anyhow::ensure;
use clap::ValueEnum as _;
use figure::Report;
use machine::Machine;
use written::Page;

use crate::{Config, program, progress::Progress};

/// Arguments of `jitney bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  jitney bench roads --map porto.osm.pbf\n  \
    jitney bench nearest --map porto.osm.pbf --drivers 1000,100000 --json\n  \
    jitney bench billing --rounds 5 --seconds 10 --clients 8,32,128\n  \
    jitney bench gateway --rounds 3 --seconds 5 --json\n  \
    jitney bench telemetry --rounds 9 --seconds 5 --json\n  \
    jitney bench city --drivers 2000\n  \
    jitney bench load tests/load/matching/nearby-drivers.json\n  \
    jitney bench --without city,telemetry\n  \
    jitney bench all --write docs/performance.md")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// What to measure; without it everything, in short, in one table.
    #[arg(value_enum)]
    subject: Option<Subject>,
    /// Subjects to leave out where everything is measured.
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Subject>,
    /// Where everything is measured, a Markdown file to write the table into, between its two markers.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    /// The map: an extract, a map file or a DIMACS graph; without it, the map of the configuration.
    #[arg(long)]
    map: Option<PathBuf>,
    /// Idle drivers (for the gateway: idle clients); several numbers for several figures. Each subject
    /// has its own default.
    #[arg(long, value_delimiter = ',')]
    drivers: Vec<usize>,
    /// Requests in a round; 5000, or 1000 where everything is measured.
    #[arg(long)]
    requests: Option<usize>,
    /// Decides where everybody is.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that one load lasts; 10, or 2 where everything is measured.
    #[arg(long)]
    seconds: Option<u64>,
    /// How often each of several loads has its turn, whose medians are compared; 5, or 3 where everything
    /// is measured.
    #[arg(long)]
    rounds: Option<usize>,
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
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Subject {
    /// Everything below, in short.
    All,
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

/// Drivers, at most: what fits into memory and is numbered.
const DRIVERS_MAX: usize = 10_000_000;
/// Requests in a round, at most.
const REQUESTS_MAX: usize = 1_000_000;

/// How loads that are compared take turns.
pub struct Loads {
    /// How often each has its turn.
    pub rounds: usize,
    /// For how long.
    pub seconds: u64,
    /// Clients at once.
    pub clients: Vec<usize>,
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    requests: usize,
    seconds: u64,
    rounds: usize,
    clients: &'static [usize],
    nearest_drivers: &'static [usize],
    round_drivers: usize,
    ingest_drivers: usize,
    idle_clients: usize,
    city_drivers: usize,
}

/// Of one subject; loads have clients of their own.
const FULL: Extent = Extent {
    requests: 5_000,
    seconds: 10,
    rounds: 5,
    clients: &[],
    nearest_drivers: &[1_000, 10_000, 100_000, 1_000_000],
    round_drivers: 20_000,
    ingest_drivers: 10_000,
    idle_clients: 9_500,
    city_drivers: 2_000,
};
/// Of everything together.
const SHORT: Extent = Extent {
    requests: 1_000,
    seconds: 2,
    rounds: 3,
    clients: &[8],
    nearest_drivers: &[1_000, 100_000],
    round_drivers: 4_000,
    ingest_drivers: 2_000,
    idle_clients: 500,
    city_drivers: 500,
};

impl Args {
    /// Looks for numbers with which nothing is measured. Idle clients of the gateway may be none.
    fn check(&self, subject: Subject) -> anyhow::Result<()> {
        let drivers_min = usize::from(!matches!(subject, Subject::Gateway | Subject::All));
        let is_fleet = |drivers: &usize| (drivers_min..=DRIVERS_MAX).contains(drivers);
        ensure!(
            self.drivers.iter().all(is_fleet),
            "--drivers must be {drivers_min} to {DRIVERS_MAX}"
        );
        let is_round = |&requests: &usize| (1..=REQUESTS_MAX).contains(&requests);
        ensure!(
            self.requests.as_ref().is_none_or(is_round),
            "--requests must be 1 to {REQUESTS_MAX}"
        );
        ensure!(
            self.seconds != Some(0),
            "--rounds, --seconds and --clients must be above zero"
        );
        Ok(())
    }
}

impl Loads {
    /// What was typed, or what the extent says, or else these clients.
    fn of(args: &Args, extent: &Extent, clients: &[usize]) -> anyhow::Result<Self> {
        let given = [args.clients.as_slice(), extent.clients];
        let given = given.into_iter().find(|clients| !clients.is_empty());
        let loads = Self {
            rounds: args.rounds.unwrap_or(extent.rounds),
            seconds: args.seconds.unwrap_or(extent.seconds),
            clients: given.unwrap_or(clients).to_vec(),
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
    match args.subject.unwrap_or(Subject::All) {
        Subject::All => all(args, config),
        subject => {
            ensure!(
                args.without.is_empty() && args.write.is_none(),
                "--without and --write are for where everything is measured"
            );
            measure(&mut Report::new(args.json), subject, &FULL, args, config)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Measures one subject after the other. What could not be measured is told at the end, and then nothing
/// is written.
fn all(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    // A file that cannot be used is told before anything takes its time.
    let page = args.write.as_deref().map(Page::read).transpose()?;
    let machine = Machine::look();
    if args.json {
        println!("{}", serde_json::to_string(&machine)?);
    } else {
        println!("{machine}\n");
    }
    let mut report = Report::new(args.json);
    let mut failed = Vec::new();
    for &subject in Subject::value_variants() {
        if subject == Subject::All || args.without.contains(&subject) {
            continue;
        }
        let value = subject.to_possible_value();
        let name = value.map_or_else(String::new, |value| value.get_name().to_owned());
        report.begin(&name);
        if let Err(error) = measure(&mut report, subject, &SHORT, args, config) {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(
        failed.is_empty(),
        "not measured (--without leaves out): {}",
        failed.join("; ")
    );
    if let Some(page) = page {
        page.write(&written::table(&machine, report.figures()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(
    report: &mut Report,
    subject: Subject,
    extent: &Extent,
    args: &Args,
    config: &Config,
) -> anyhow::Result<()> {
    let drivers = |own: &[usize]| {
        let given = Some(&args.drivers).filter(|drivers| !drivers.is_empty());
        given.map_or(own, Vec::as_slice).to_vec()
    };
    let first = |own: usize| args.drivers.first().copied().unwrap_or(own);
    args.check(subject)?;
    let seconds = args.seconds.unwrap_or(extent.seconds);
    let requests = args.requests.unwrap_or(extent.requests);
    report.on_map("");
    match subject {
        Subject::Billing => {
            let loads = Loads::of(args, extent, &[8, 32, 128])?;
            return billing::run(report, config, &loads);
        }
        Subject::Trips => {
            let loads = Loads::of(args, extent, &[8, 32])?;
            return trips::run(report, config, &loads);
        }
        Subject::Gateway => {
            let loads = Loads::of(args, extent, &[50])?;
            let idle = first(extent.idle_clients);
            return gateway::run(report, &loads, idle, args.rival.as_deref());
        }
        Subject::Telemetry => {
            return telemetry::run(report, &Loads::of(args, extent, &[8])?);
        }
        _ => {}
    }
    let mut config = config.clone();
    if args.map.is_some() {
        config.map.file.clone_from(&args.map);
    }
    let network = program::open_roads(&config)?;
    report.on_map(network.name());
    match subject {
        Subject::Roads => roads::run(report, &network, config.map.file.as_deref(), args.seed),
        Subject::Nearest => {
            let progress = Progress::spinner("working out travel times");
            let tightened = network.tightened();
            drop(progress);
            nearest::run(
                report,
                &tightened,
                &drivers(extent.nearest_drivers),
                args.seed,
            );
            Ok(())
        }
        Subject::Rounds => {
            let drivers = drivers(&[extent.round_drivers]);
            rounds::run(report, &network.tightened(), requests, &drivers, args.seed)
        }
        Subject::Ingest => {
            let drivers = drivers(&[extent.ingest_drivers]);
            ingest::run(report, network, &drivers, seconds, args.seed)
        }
        Subject::City => {
            let drivers = first(extent.city_drivers);
            city::run(report, network, drivers, seconds, args.seed)
        }
        // No map is measured.
        Subject::All
        | Subject::Billing
        | Subject::Trips
        | Subject::Gateway
        | Subject::Telemetry => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn problem(line: &str) -> Option<String> {
        let words = ["bench"].into_iter().chain(line.split_whitespace());
        let args = Line::parse_from(words).args;
        let checked = args.check(args.subject.unwrap_or(Subject::All));
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn numbers_that_measure_nothing_are_refused() {
        let wrong = [
            ("nearest --drivers 0", "--drivers must be 1 to"),
            ("rounds --drivers 10,0", "--drivers must be 1 to"),
            (
                "nearest --drivers 18446744073709551615",
                "--drivers must be 1 to",
            ),
            ("rounds --requests 0", "--requests must be"),
            ("rounds --requests 1000001", "--requests must be"),
            ("ingest --seconds 0", "--seconds"),
        ];
        for (line, expected) in wrong {
            let problem = problem(line).unwrap_or_default();
            assert!(problem.contains(expected), "{line}: {problem}");
        }
        for right in [
            "nearest --drivers 1,1000000",
            "gateway --drivers 0",
            "roads",
            "all",
        ] {
            assert_eq!(problem(right), None, "{right}");
        }
    }
}
