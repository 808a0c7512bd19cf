//! The one program. [`App`] puts the services together from a [`Config`], for `jitney serve` and for
//! the tests alike; [`commands`] is what a person types.

pub mod app;
pub mod commands;
pub mod config;
pub mod program;

use std::{path::PathBuf, process::ExitCode};

pub use app::{App, Parts, Which};
pub use config::Config;

/// An open ride-hailing back end: matching, trips, billing and a REST gateway.
#[derive(clap::Parser, Debug)]
#[command(name = "jitney", version, about, long_about = None, propagate_version = true)]
pub struct Cli {
    /// The configuration file; without it `jitney.toml` in the current folder, if there is one.
    /// Every key can also be set as an environment variable, for example
    /// JITNEY_LISTEN__GATEWAY=0.0.0.0:8080.
    #[arg(long, short, global = true, env = "JITNEY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: commands::Command,
}

impl Cli {
    /// Runs the command to its end and prints a failure with its causes.
    pub fn run(self) -> ExitCode {
        match self.command.run(self.config.as_deref()) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("jitney: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}
