//! `jitney completions`: what a shell needs to complete commands and options.

use std::{io, process::ExitCode};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;

/// Arguments of `jitney completions`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  jitney completions bash > ~/.local/share/bash-completion/completions/jitney\n  \
    jitney completions zsh > ~/.zfunc/_jitney\n  \
    jitney completions fish > ~/.config/fish/completions/jitney.fish"
)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> ExitCode {
    clap_complete::generate(args.shell, &mut Cli::command(), "jitney", &mut io::stdout());
    ExitCode::SUCCESS
}
