//! What a person types: one file per command.

mod bench;
mod config;
mod map;
mod migrate;
mod replay;
mod serve;
mod simulate;
mod token;
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
    /// Brings the database's schemas up to date and exits.
    Migrate,
    /// Imports and inspects road maps.
    #[command(subcommand)]
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
    Config,
}

impl Command {
    /// Runs the command to its end.
    pub fn run(self, file: Option<&Path>) -> anyhow::Result<ExitCode> {
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
        }
    }
}

/// The runtime every command that talks to something runs on.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}
