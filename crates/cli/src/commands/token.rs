//! `jitney token`: who one is, for development.

use std::{process::ExitCode, time::Duration};

use anyhow::ensure;
use jitney_platform::{
    auth::{Role, TokenKeys},
    clock::Clock,
};

use crate::Config;

/// Arguments of `jitney token`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  export RIDER=$(jitney token --role rider --id anna)")]
pub struct Args {
    /// What the bearer is.
    #[arg(long, value_enum)]
    role: RoleArg,
    /// Who the bearer is: letters, digits, '-', '_' and '.', at most 64.
    #[arg(long)]
    id: String,
    /// How long the token is good for, in hours.
    #[arg(long, default_value_t = 24 * 30)]
    hours: u32,
}

/// A role, as typed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum RoleArg {
    /// Asks for rides.
    Rider,
    /// Gives rides.
    Driver,
    /// Runs the city.
    Operator,
    /// Another back end.
    Service,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Rider => Self::Rider,
            RoleArg::Driver => Self::Driver,
            RoleArg::Operator => Self::Operator,
            RoleArg::Service => Self::Service,
        }
    }
}

/// Prints a token and nothing else, so that a shell can keep it in a variable.
pub fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    ensure!(
        jitney_proto::ids::is_name(&args.id),
        "--id {:?} is not 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit",
        args.id
    );
    let keys = TokenKeys::load_or_create(&config.key_folder())?;
    let ttl = Duration::from_secs(u64::from(args.hours) * 3600);
    println!(
        "{}",
        keys.mint(args.role.into(), &args.id, ttl, Clock::system().now())?
    );
    Ok(ExitCode::SUCCESS)
}
