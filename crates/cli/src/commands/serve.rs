//! `jitney serve`: the services, until they are told to stop.

use std::process::ExitCode;

use jitney_platform::telemetry;

use crate::{Config, Which, program::Program};

/// Arguments of `jitney serve`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  jitney serve all\n  DATABASE_URL=postgres://… jitney serve trips"
)]
pub struct Args {
    /// What to run.
    #[arg(value_enum)]
    which: Which,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &Args, config: Config) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let name = format!("jitney-{}", format!("{:?}", args.which).to_lowercase());
        let _telemetry = telemetry::init(&config.telemetry, &name, config.is_scraped())?;
        let program = Program::start(&config, args.which).await?;
        let at = program.addresses();
        for (service, address) in [
            ("metrics", at.metrics),
            ("gateway", at.gateway),
            ("matching", at.matching),
            ("trips", at.trips),
            ("billing", at.billing),
        ] {
            if let Some(address) = address {
                tracing::info!(service, %address, "serving");
            }
        }
        program.run().await?;
        Ok(ExitCode::SUCCESS)
    })
}
