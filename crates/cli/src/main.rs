//! `jitney`: parse, run, and say what went wrong in words.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    jitney_cli::Cli::parse().run()
}
