//! `jitney doctor`: what is missing on this machine, or set so that it cannot work. Changes nothing.

mod machine;
mod surroundings;

use std::{fmt, path::Path, process::ExitCode};

use serde::Serialize;

use crate::{Config, Which, agreement, safety};

/// Arguments of `jitney doctor`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  jitney doctor\n  DATABASE_URL=postgres://… jitney doctor --json\n  \
    jitney --config city.toml doctor"
)]
pub struct Args {
    /// Print one JSON line per finding.
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Absent, and only wanted for something beside.
    Optional,
    /// It works, and may not for long.
    Warning,
    /// It cannot work.
    Wrong,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    level: Level,
    /// What was looked at.
    what: &'static str,
    /// How it is, and what to do about it.
    text: String,
}

impl Finding {
    fn new(level: Level, what: &'static str, text: impl Into<String>) -> Self {
        Self {
            level,
            what,
            text: text.into(),
        }
    }

    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Ok, what, text)
    }

    fn optional(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Optional, what, text)
    }

    fn warning(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Warning, what, text)
    }

    fn wrong(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Wrong, what, text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.level {
            Level::Ok => "ok  ",
            Level::Optional => "none",
            Level::Warning => "warn",
            Level::Wrong => "FAIL",
        };
        write!(f, "{mark}  {:<14} {}", self.what, self.text)
    }
}

/// Looks at everything and tells; the exit code says whether something cannot work.
pub fn run(args: &Args, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (config, mut findings) = configuration(file);
    findings.extend(machine::findings(&config));
    findings.extend(super::runtime()?.block_on(surroundings::findings(&config)));
    for finding in &findings {
        if args.json {
            println!("{}", serde_json::to_string(finding)?);
        } else {
            println!("{finding}");
        }
    }
    let is_wrong = findings.iter().any(|finding| finding.level == Level::Wrong);
    Ok(if is_wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The configuration; where it cannot be read the defaults, for the rest to be looked at.
fn configuration(file: Option<&Path>) -> (Config, Vec<Finding>) {
    const WHAT: &str = "configuration";
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            let told = format!("{}; the rest goes by the defaults", crate::told(&error));
            return (Config::default(), vec![Finding::wrong(WHAT, told)]);
        }
    };
    let checks = [
        safety::check(&config, Which::All).map_err(|error| error.to_string()),
        agreement::check(&config).map_err(|error| error.to_string()),
        config
            .matching
            .check()
            .map_err(|error| format!("matching: {error}")),
        config
            .trips
            .check()
            .map_err(|error| format!("trips: {error:#}")),
        config
            .billing
            .validate()
            .map_err(|error| format!("billing: {error}")),
        config
            .gateway
            .check()
            .map_err(|error| format!("gateway: {error:#}")),
    ];
    let wrong: Vec<Finding> = checks
        .into_iter()
        .filter_map(Result::err)
        .map(|problem| Finding::wrong(WHAT, problem))
        .collect();
    if !wrong.is_empty() {
        return (config, wrong);
    }
    let mode = format!("{:?}", config.mode).to_lowercase();
    (
        config,
        vec![Finding::ok(WHAT, format!("can be read, for {mode}"))],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jitney.toml");
        std::fs::write(&file, "[matching]\n").unwrap();
        let (_, findings) = configuration(Some(&file));
        assert!(
            findings.iter().all(|finding| finding.level == Level::Ok),
            "{findings:?}"
        );
        std::fs::write(&file, "[matching]\nwheels = 3\n").unwrap();
        let (_, findings) = configuration(Some(&file));
        assert_eq!(findings[0].level, Level::Wrong);
        assert!(findings[0].text.contains("wheels"), "{findings:?}");
        std::fs::write(&file, "[trips]\nsearch_timeout = \"0s\"\n").unwrap();
        let (_, findings) = configuration(Some(&file));
        assert_eq!(findings[0].level, Level::Wrong, "{findings:?}");
    }
}
