//! `jitney simulate`: seeded riders and drivers on a running gateway, or under a virtual clock
//! (`offline.rs`), and how it went.

mod offline;

use std::{fmt, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use jitney_platform::{
    auth::{Role, TokenKeys},
    clock::Clock,
};
use jitney_proto::common::v1::Role as WireRole;
use jitney_sim::{TokenSource, Until};
use tokio_util::sync::CancellationToken;

use crate::{Config, program};

/// Arguments of `jitney simulate`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  jitney simulate --drivers 30 --requests 100\n  \
    jitney simulate --minutes 10 --speed 3 --seed 7 --json\n  \
    jitney simulate --offline --drivers 40,50,60 --compare immediate,batched --from 17:00 --to 20:00"
)]
pub struct Args {
    /// Where the gateway is; without it, the address of the configuration.
    #[arg(long)]
    url: Option<String>,
    /// Decides who asks for which ride when, and what every driver answers. With --offline a list:
    /// means are shown.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    seed: Vec<u64>,
    /// Drivers on shift. With --offline a list of fleets.
    #[arg(long, value_delimiter = ',', default_value = "20")]
    drivers: Vec<u32>,
    /// Rides asked for in a simulated hour, on average.
    #[arg(long, default_value_t = 240.0)]
    riders_per_hour: f64,
    /// Stop asking for rides after this many.
    #[arg(long, conflicts_with = "minutes")]
    requests: Option<u64>,
    /// Stop asking for rides after this many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Simulated seconds in a real one.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// How often a driver declines, 0 to 1; without it 0.1, with --offline 0.05.
    #[arg(long)]
    declines: Option<f64>,
    /// How often a rider calls a ride off, 0 to 1; without it 0.05, with --offline 0.02.
    #[arg(long)]
    cancels: Option<f64>,
    /// What the simulated people's ids begin with; two simulations of one city need different ones.
    #[arg(long, default_value = "sim-")]
    prefix: String,
    /// The map the gateway serves; without it, the map of the configuration.
    #[arg(long)]
    map: Option<PathBuf>,
    /// Write the report as JSON to a file; without one, or to -, instead of the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    #[command(flatten)]
    offline: offline::Args,
}

/// Where a report goes.
pub struct Output {
    /// A file, or `-`, for JSON.
    json: Option<PathBuf>,
}

impl Output {
    fn write(&self, report: &(impl fmt::Display + serde::Serialize)) -> anyhow::Result<()> {
        let Some(path) = &self.json else {
            println!("{report}");
            return Ok(());
        };
        let json = serde_json::to_string_pretty(report)?;
        if path.as_os_str() == "-" {
            println!("{json}");
            return Ok(());
        }
        println!("{report}");
        std::fs::write(path, json + "\n")
            .with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// The only one of a list that may have several with `--offline`.
fn only<T: Copy>(list: &[T], name: &str) -> anyhow::Result<T> {
    match list {
        [one] => Ok(*one),
        _ => anyhow::bail!("{name} takes a list only with --offline"),
    }
}

/// Makes tokens for simulated people with the key of the data folder.
pub fn tokens(keys: Arc<TokenKeys>, clock: Clock) -> TokenSource {
    TokenSource::new(move |role: WireRole, id: &str| {
        let role = Role::of(role).ok_or_else(|| anyhow::anyhow!("no token for {role:?}"))?;
        keys.mint(role, id, Duration::from_secs(3600), clock.now())
    })
}

/// Runs the simulation to its end; the exit code says whether every check held.
pub fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let mut config = config.clone();
    if args.map.is_some() {
        config.map.file = args.map;
    }
    let output = Output { json: args.json };
    if args.offline.offline {
        let shared = offline::Shared {
            seeds: args.seed,
            drivers: args.drivers,
            rides_per_hour: args.riders_per_hour,
            declines: args.declines,
            cancels: args.cancels,
            output,
        };
        return offline::run(&args.offline, shared, &config);
    }
    let (seed, drivers) = (
        only(&args.seed, "--seed")?,
        only(&args.drivers, "--drivers")?,
    );
    let roads = Arc::new(program::open_roads(&config)?);
    let keys = Arc::new(TokenKeys::load_or_create(&config.key_folder())?);
    let until = match (args.requests, args.minutes) {
        (Some(requests), _) => Until::Requests(requests),
        (None, Some(minutes)) => {
            anyhow::ensure!(
                minutes > 0.0 && minutes < 1e6,
                "--minutes {minutes} is not above 0 and below a million"
            );
            Until::Elapsed(Duration::from_secs_f64(minutes * 60.0))
        }
        (None, None) => Until::Requests(50),
    };
    let defaults = jitney_sim::Config::default();
    let simulation = jitney_sim::Config {
        gateway_url: args
            .url
            .unwrap_or_else(|| format!("http://{}", config.listen.gateway)),
        seed,
        drivers,
        riders_per_hour: args.riders_per_hour,
        until,
        speed: args.speed,
        decline_probability: args.declines.unwrap_or(defaults.decline_probability),
        cancel_probability: args.cancels.unwrap_or(defaults.cancel_probability),
        name_prefix: args.prefix,
        ..defaults
    };
    let report = super::runtime()?.block_on(async {
        let stop = CancellationToken::new();
        let interrupted = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                interrupted.cancel();
            }
        });
        jitney_sim::run(simulation, roads, tokens(keys, Clock::system()), stop).await
    })?;
    output.write(&report)?;
    Ok(if report.ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
