//! What a person types: one file per command.

mod bench;
mod completions;
mod config;
mod doctor;
mod map;
mod migrate;
mod replay;
mod serve;
mod simulate;
mod token;
mod top;
mod up;

use std::{path::Path, process::ExitCode};

use crate::Config;

/// The commands of `jitney`.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// A whole city with a small simulated fleet, and the lines for a first ride.
    Up(up::Args),
    /// Runs the services: all of them in one process, or one.
    Serve(serve::Args),
    /// Shows a running city in the terminal: services, rates, rounds, drivers by state.
    Top(top::Args),
    /// Says what is missing on this machine, or set so that it cannot work.
    Doctor(doctor::Args),
    /// Brings the database's schemas up to date and exits.
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://… jitney migrate")]
    Migrate,
    /// Imports and inspects road maps.
    #[command(
        subcommand,
        after_help = "Examples:\n  jitney map import porto.osm.pbf\n  jitney map info porto.roads"
    )]
    Map(map::Command),
    /// Drives seeded riders and drivers through a running gateway and reports how it went.
    Simulate(Box<simulate::Args>),
    /// Explains a past dispatch round and decides it again, under its own policy or another.
    Replay(replay::Args),
    /// Measures the parts that have to be fast, on this machine and any map.
    Bench(bench::Args),
    /// Makes a token for development, signed with the key of this data folder.
    Token(token::Args),
    /// Prints the configuration in force, every key with its value.
    #[command(after_help = "Examples:\n  jitney config\n  JITNEY_MODE=production jitney config")]
    Config,
    /// Prints a script for a shell to complete commands and options.
    Completions(completions::Args),
}

impl Command {
    /// Runs the command to its end.
    pub fn run(self, file: Option<&Path>) -> anyhow::Result<ExitCode> {
        // These help where the configuration is what is wrong.
        match &self {
            Self::Completions(args) => return Ok(completions::run(args)),
            Self::Doctor(args) => return doctor::run(args, file),
            _ => {}
        }
        let config = Config::load(file)?;
        match self {
            Self::Up(args) => up::run(args, config),
            Self::Serve(args) => serve::run(&args, config),
            Self::Migrate => migrate::run(config),
            Self::Map(command) => map::run(command, &config),
            Self::Simulate(args) => simulate::run(*args, &config),
            Self::Replay(args) => replay::run(&args, &config),
            Self::Bench(args) => bench::run(&args, &config),
            Self::Token(args) => token::run(&args, &config),
            Self::Config => config::run(&config),
            Self::Top(args) => top::run(&args, &config),
            Self::Doctor(args) => doctor::run(&args, file),
            Self::Completions(args) => Ok(completions::run(&args)),
        }
    }
}

/// A duration as typed, for example `5s`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    humantime_serde::re::humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// The runtime every command that talks to something runs on.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}
