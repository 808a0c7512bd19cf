//! Configuration: a TOML file, then the environment on top of it. Every key is a field of a struct;
//! one that is not is refused by name, so that a misspelt key is never silently ignored.

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    error::{Actual, Kind},
    providers::{Env, Format, Toml},
};
use serde::de::DeserializeOwned;

/// What environment variables for configuration begin with; `__` stands between a section and its
/// key: `JITNEY_TRIPS__LISTEN` is `listen` in `[trips]`.
pub const ENV_PREFIX: &str = "JITNEY_";

/// Variables with the prefix that are the program's own arguments, not configuration.
pub const RESERVED: &[&str] = &["config", "token", "url"];

/// Why the configuration cannot be used. The message names the key and where it was written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("configuration file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {} is not TOML: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why not.
        problem: String,
    },
    /// A key or a value is refused.
    #[error("configuration: {problem}, in {place}")]
    Refused {
        /// The key, and what is wrong with it.
        problem: String,
        /// The file, or the environment variable.
        place: String,
    },
}

/// Reads `T` from `file` and from the environment, which wins. What neither says is `T`'s default,
/// if its fields have one. Durations are written as in `"30s"`.
///
/// # Errors
/// When the file is named but not there, is not TOML, or a key is unknown, missing or of the wrong
/// kind.
pub fn load<T: DeserializeOwned>(file: Option<&Path>) -> Result<T, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        if let Err(error) = Figment::from(Toml::string(&text)).extract::<figment::value::Dict>() {
            return Err(ConfigError::Malformed {
                path: path.to_owned(),
                problem: error.kind.to_string(),
            });
        }
        figment = figment.merge(Toml::file_exact(path));
    }
    figment = figment.merge(Env::prefixed(ENV_PREFIX).ignore(RESERVED).split("__"));
    figment.extract().map_err(|error| refusal(&error, file))
}

fn refusal(error: &figment::Error, file: Option<&Path>) -> ConfigError {
    let from_environment = error
        .metadata
        .as_ref()
        .is_some_and(|origin| origin.name.contains("environment"));
    let mut path = error.path.clone();
    let problem = match &error.kind {
        Kind::UnknownField(key, known) => {
            if path.last() != Some(key) {
                path.push(key.clone());
            }
            format!(
                "unknown key `{}` (known here: {})",
                path.join("."),
                known.join(", ")
            )
        }
        Kind::MissingField(key) => {
            path.push(key.to_string());
            format!("key `{}` is missing", path.join("."))
        }
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!(
                "key `{}` is {}, not {expected}",
                path.join("."),
                describe(actual)
            )
        }
        other => format!("key `{}`: {other}", path.join(".")),
    };
    let place = if from_environment {
        format!(
            "environment variable {ENV_PREFIX}{}",
            path.join("__").to_uppercase()
        )
    } else {
        match file {
            Some(path) => path.display().to_string(),
            None => "no file, and the environment does not say it".to_owned(),
        }
    };
    ConfigError::Refused { problem, place }
}

/// A value in an error message: its kind, and itself unless it is text, which may be a secret.
fn describe(actual: &Actual) -> String {
    match actual {
        Actual::Str(_) => "a text".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, process::Command, time::Duration};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        data_dir: String,
        database: crate::db::DatabaseConfig,
        weights: BTreeMap<String, u32>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                data_dir: ".jitney".to_owned(),
                database: Default::default(),
                weights: BTreeMap::new(),
            }
        }
    }

    fn read(text: &str) -> (Result<Sample, String>, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().display().to_string();
        (
            load(Some(file.path())).map_err(|error| error.to_string()),
            path,
        )
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(read("").0.unwrap(), Sample::default());
        let (sample, _) = read("[database]\nlock_timeout = \"250ms\"\n[weights]\na = 1");
        let sample = sample.unwrap();
        assert_eq!(sample.database.lock_timeout, Duration::from_millis(250));
        assert_eq!(sample.database.connections_max, 16);
        assert_eq!(sample.weights["a"], 1);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, parts) in [
            (
                "[database]\nlock_timeot = \"1s\"",
                &["`database.lock_timeot`", "lock_timeout"][..],
            ),
            ("datadir = \"x\"", &["`datadir`", "data_dir"]),
            (
                "[database]\nconnections_max = \"hunter2\"",
                &["`database.connections_max`", "a text"],
            ),
            (
                "[database]\nlock_timeout = \"soon\"",
                &["`database.lock_timeout`"],
            ),
            ("data_dir = ", &["not TOML"]),
        ] {
            let (sample, path) = read(text);
            let problem = sample.unwrap_err();
            assert!(problem.contains(&path), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
            for part in parts {
                assert!(problem.contains(part), "{part} is not in {problem}");
            }
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let problem = load::<Sample>(Some(Path::new("/nonexistent.toml")))
            .unwrap_err()
            .to_string();
        assert!(
            problem.contains("/nonexistent.toml cannot be read"),
            "{problem}"
        );
    }

    /// Not a test by itself: a program with an environment of its own.
    #[test]
    #[ignore = "started by the test of the environment"]
    fn environment_reader() {
        match load::<Sample>(None) {
            Ok(sample) => println!("\nread {sample:?}"),
            Err(error) => println!("\nread {error}"),
        }
    }

    fn with_environment(variables: &[(&str, &str)]) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "config::tests::environment_reader",
                "--ignored",
                "--nocapture",
            ])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("read "))
            .expect("it ran");
        line.to_owned()
    }

    #[test]
    fn the_environment_wins_and_its_mistakes_are_named_too() {
        let read = with_environment(&[
            ("JITNEY_DATA_DIR", "/srv/jitney"),
            ("JITNEY_DATABASE__CONNECTIONS_MAX", "3"),
            ("JITNEY_DATABASE__LOCK_TIMEOUT", "7s"),
            ("JITNEY_CONFIG", "the program's own"),
        ]);
        for part in ["/srv/jitney", "connections_max: 3", "lock_timeout: 7s"] {
            assert!(read.contains(part), "{read}");
        }
        let read = with_environment(&[("JITNEY_DATABASE__LOCK_TIMEOT", "7s")]);
        assert!(
            read.contains("unknown key `database.lock_timeot`"),
            "{read}"
        );
        assert!(read.contains("JITNEY_DATABASE__LOCK_TIMEOT"), "{read}");
    }
}
