//! `jitney simulate`: seeded riders and drivers on a running gateway, and how it went.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

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
    jitney simulate --minutes 10 --speed 3 --seed 7 --json"
)]
pub struct Args {
    /// Where the gateway is; without it, the address of the configuration.
    #[arg(long)]
    url: Option<String>,
    /// Decides who asks for which ride when, and what every driver answers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Drivers on shift.
    #[arg(long, default_value_t = 20)]
    drivers: u32,
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
    /// How often a driver declines, 0 to 1.
    #[arg(long, default_value_t = 0.1)]
    declines: f64,
    /// How often a rider calls a ride off, 0 to 1.
    #[arg(long, default_value_t = 0.05)]
    cancels: f64,
    /// What the simulated people's ids begin with; two simulations of one city need different ones.
    #[arg(long, default_value = "sim-")]
    prefix: String,
    /// The map the gateway serves; without it, the map of the configuration.
    #[arg(long)]
    map: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
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
    let roads = Arc::new(program::open_roads(&config)?);
    let keys = Arc::new(TokenKeys::load_or_create(&config.key_folder())?);
    let until = match (args.requests, args.minutes) {
        (Some(requests), _) => Until::Requests(requests),
        (None, Some(minutes)) => {
            anyhow::ensure!(
                minutes > 0.0 && minutes < 1e6,
                "--minutes {minutes} is not above 0"
            );
            Until::Elapsed(Duration::from_secs_f64(minutes * 60.0))
        }
        (None, None) => Until::Requests(50),
    };
    let simulation = jitney_sim::Config {
        gateway_url: args
            .url
            .unwrap_or_else(|| format!("http://{}", config.listen.gateway)),
        seed: args.seed,
        drivers: args.drivers,
        riders_per_hour: args.riders_per_hour,
        until,
        speed: args.speed,
        decline_probability: args.declines,
        cancel_probability: args.cancels,
        name_prefix: args.prefix,
        ..jitney_sim::Config::default()
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
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
