//! The one program. [`App`] puts the services together from a [`Config`], for `jitney serve` and for
//! the tests alike; [`commands`] is what a person types.

pub mod agreement;
pub mod app;
pub mod commands;
pub mod config;
pub mod program;
mod progress;
pub mod safety;
pub mod unread;

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
        use_small_pages();
        match self.command.run(self.config.as_deref()) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("jitney: {}", told(&error));
                ExitCode::FAILURE
            }
        }
    }
}

/// Asks for memory in small pages. The allocator wants large ones, and of a large page everything is kept
/// though parts of it were never used: a client that is connected and idle would take a third more, most of
/// it in buffers that wait for what is not sent.
fn use_small_pages() {
    // Where that cannot be asked for, everything works.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// A failure with its causes. Some errors say in their own words what caused them: once is enough.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            text.extend([colon, &cause]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::{CommandFactory, Parser};

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_asked_for_in_small_pages() {
        use_small_pages();
        assert!(nix::sys::prctl::get_thp_disable().unwrap());
    }

    /// What the examples of a command's help say one should type, without variables, pipes and files.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let lines = help.lines().filter(|line| line.starts_with("  "));
        let typed = lines.map(|line| {
            let line = line.replace("$(", " ").replace(')', " ");
            let words = line.split_whitespace().map(str::to_owned);
            let words = words.skip_while(|word| word != "jitney");
            words
                .take_while(|word| ![">", "|"].contains(&word.as_str()))
                .collect()
        });
        typed.collect()
    }

    fn check_help(command: &clap::Command, path: &str) {
        for own in command.get_subcommands() {
            let path = format!("{path} {}", own.get_name());
            let help = own.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_else(|| panic!("{path} has no examples"));
            let examples = examples(&help);
            assert!(!examples.is_empty(), "{path} has no examples");
            for example in examples {
                assert!(
                    example.join(" ").contains(own.get_name()),
                    "{path}: {example:?}"
                );
                if let Err(error) = Cli::try_parse_from(&example) {
                    panic!("{path}: {example:?}: {error}");
                }
            }
            check_help(own, &path);
        }
    }

    #[test]
    fn every_command_has_examples_that_can_be_typed() {
        check_help(&Cli::command(), "jitney");
    }

    #[test]
    fn shells_complete_every_command() {
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "jitney", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(
                    script.contains(command.get_name()),
                    "{shell}: {}",
                    command.get_name()
                );
            }
        }
    }

    #[test]
    fn a_failure_is_told_with_every_cause_once() {
        let twice = anyhow!("no such file").context("cannot read a.pbf: no such file");
        assert_eq!(told(&twice), "cannot read a.pbf: no such file");
        let chain = anyhow!("refused").context("no answer").context("no city");
        assert_eq!(told(&chain), "no city: no answer: refused");
    }
}
