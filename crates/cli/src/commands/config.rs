//! `jitney config`: what is in force, after file and environment.

use std::process::ExitCode;

use crate::Config;

/// Prints the configuration as the file would say it; secrets are left out.
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    print!("{}", toml::to_string_pretty(config)?);
    Ok(ExitCode::SUCCESS)
}
