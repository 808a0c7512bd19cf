//! Every command in the README, in the guide for contributors and in `docs` works: each is run, or stands
//! in a table here that says why it is only read.
//!
//! - `shell`: finds the commands and reads them as a shell does.
//! - `city`: the running city that calls are made in.
//! - `folder`: the folder that commands run in.

mod city;
mod folder;
/// Writes small extracts, as the tests of the import do.
#[allow(dead_code)] // They write more kinds of them.
#[path = "../../crates/roads/tests/roads/pbf.rs"]
mod pbf;
mod shell;

use std::{fs, path::Path, process::Output};

use clap::Parser;
use jitney_cli::{Cli, Config};
use jitney_platform::testing::TestDatabase;
use sqlx::ConnectOptions;

use self::{city::City, folder::Folder, shell::Line};

/// Commands of `jitney`, by how they begin, that the program's parser reads and nobody runs, and why.
const ONLY_READ: &[(&str, &str)] = &[
    (
        "jitney serve",
        "it ends when it is stopped; tests/flows runs it, and its settings are read here",
    ),
    (
        "jitney bench",
        "its loads take minutes, and what it measures has no right answer",
    ),
];

/// Programs of others that nobody runs, and why; the files they name have to be there.
const NOT_OURS: &[(&str, &str)] = &[(
    "docker",
    "it needs images from a registry; tests/flows reads the files",
)];

/// Programs that `make` and the tests have anyway, or that every system has.
const ORDINARY: &[&str] = &["mkdir", "chmod", "openssl"];

/// What is made smaller to end within a test, or stands for what only the reader has.
const CHANGED: &[(&str, &str)] = &[
    ("--minutes 5", "--minutes 0.02 --speed 4"),
    (
        "--requests 100",
        "--requests 1 --riders-per-hour 3600 --cancels 1 --speed 4 --prefix other-",
    ),
    (
        "--offline --compare immediate,batched",
        "--offline --compare immediate,batched --to 01:00",
    ),
    ("--riders-per-hour 60", "--riders-per-hour 60 --to 02:00"),
    ("--drivers 240,260,280 --seed 1,2,3", "--drivers 5 --seed 1"),
    ("rides.csv.gz", "rides.csv"),
    // Without a terminal it prints a picture only when it is told to.
    ("jitney top", "jitney top --once --interval 100ms"),
    ("/var/lib/jitney/", "var/"),
];

/// What becomes of a line.
enum Treatment {
    /// It is run in the running city.
    InCity,
    /// It is run in a folder, without a city.
    Alone,
    /// It sets variables for the lines after it, which are run with them.
    Setting,
    /// It is read, and found right.
    Read,
}

/// What becomes of a line.
///
/// # Errors
/// When nobody knows, or when it is read and found wrong.
fn treatment(line: &Line) -> Result<Treatment, String> {
    let words = line.words();
    let begins =
        |table: &[(&str, &str)], text: &str| table.iter().any(|(begin, _)| text.starts_with(begin));
    if let Some(words) = line.jitney() {
        Cli::try_parse_from(&words).map_err(|error| error.to_string())?;
        let is_offline = words.iter().any(|word| word == "--offline");
        return match words.get(1).map(String::as_str) {
            Some("serve") => Ok(Treatment::Alone),
            _ if begins(ONLY_READ, &words.join(" ")) => {
                named_files(&words).map(|()| Treatment::Read)
            }
            Some("simulate") if !is_offline => Ok(Treatment::InCity),
            Some("replay" | "top") => Ok(Treatment::InCity),
            Some("simulate" | "map" | "config" | "doctor" | "migrate" | "token") => {
                Ok(Treatment::Alone)
            }
            _ => Err("nobody knows how to try this command of jitney".into()),
        };
    }
    match words.first().map(String::as_str) {
        Some("curl") => city::stage(line).map(|_| Treatment::InCity),
        Some("make") => make(&words).map(|()| Treatment::Read),
        Some("export") => export(line),
        Some(name) if begins(NOT_OURS, name) => named_files(&words).map(|()| Treatment::Read),
        Some(name) if ORDINARY.contains(&name) => Ok(Treatment::Alone),
        _ => Err("nobody knows how to try this command".into()),
    }
}

/// `make`: the target is there, so are its variables, and what is handed to `jitney up` is what it takes.
fn make(words: &[String]) -> Result<(), String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let target = words.get(1).ok_or("it names no target")?;
    if !makefile.contains(&format!("\n{target}:")) {
        return Err(format!("the Makefile has no target {target}"));
    }
    for setting in &words[2..] {
        // A variable is in a recipe, or the target's own line says what it is for.
        let is_known = |name: &str| {
            let mut lines = makefile.lines();
            makefile.contains(&format!("$({name})"))
                || lines.any(|line| line.starts_with(&format!("{target}:")) && line.contains(name))
        };
        let known = setting.split_once('=').filter(|(name, _)| is_known(name));
        let (name, value) = known.ok_or_else(|| format!("the Makefile does not know {setting}"))?;
        let values = value.split_whitespace();
        if (target.as_str(), name) == ("run", "ARGS") {
            let words = ["jitney", "up"].into_iter().chain(values);
            Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        } else {
            named_files(&values.map(str::to_owned).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// `export`: a token is made in the city; a setting is tried by the lines after it.
fn export(line: &Line) -> Result<Treatment, String> {
    let setting = line.text.strip_prefix("export ").unwrap_or_default();
    let (name, value) = setting.split_once('=').ok_or("it sets nothing")?;
    match name {
        "RIDER" | "DRIVER" | "OPERATOR" => Ok(Treatment::InCity),
        "API" => {
            let served = format!("http://{}", Config::default().listen.gateway);
            let is_there = value == served;
            is_there
                .then_some(Treatment::Read)
                .ok_or(format!("the gateway is at {served}"))
        }
        "DATABASE_URL" => Ok(Treatment::Setting),
        _ if name.starts_with("JITNEY_") => Ok(Treatment::Setting),
        _ => Err("nobody knows this variable".into()),
    }
}

/// The files of the repository that a command names are there.
fn named_files(words: &[String]) -> Result<(), String> {
    let mut files = words.iter().filter(|word| word.contains('/'));
    match files.find(|file| !root().join(file).exists()) {
        Some(missing) => Err(format!("there is no {missing}")),
        None => Ok(()),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is run of a line: itself with what is changed, after the settings of its block.
fn script(line: &Line) -> String {
    let mut text = line.text.clone();
    for (from, to) in CHANGED {
        text = text.replace(from, to);
    }
    if let Some(name) = text
        .strip_prefix("export ")
        .and_then(|text| text.split_once('='))
    {
        // The token is one that the gateway takes.
        let name = name.0;
        return format!(
            "{text}\ncurl -s $API/v1/service-area -H \"Authorization: Bearer ${name}\""
        );
    }
    let serve = line.jitney().is_some_and(|words| words[1] == "serve");
    if serve && let Some((before, _)) = text.split_once("jitney serve") {
        text = format!("{before}jitney config");
    }
    let settings = line.exports.iter().filter(|export| {
        let name = export.trim_start_matches("export ");
        name.starts_with("JITNEY_") || name.starts_with("DATABASE_URL")
    });
    let lines: Vec<_> = settings.chain([&text]).cloned().collect();
    lines.join("\n")
}

/// What is wrong with how a line ended.
fn problem(line: &Line, output: &Output, folder: &Path) -> Option<String> {
    let words = line.words();
    let file = words.iter().skip_while(|word| *word != "-o").nth(1);
    let is_written =
        file.is_none_or(|file| fs::metadata(folder.join(file)).is_ok_and(|it| it.len() > 0));
    let says = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_silent = words[0] == "curl" && file.is_none() && output.stdout.is_empty();
    let what = match output.status.success() {
        false => output.status.to_string(),
        true if !is_written => "it left no file".into(),
        true if is_silent => "it was answered with nothing".into(),
        true => return None,
    };
    let (out, err) = (says(&output.stdout), says(&output.stderr));
    Some(format!(
        "{}: {}\n  {what}\n  {out}\n  {err}",
        line.at, line.text
    ))
}

/// Fails with everything that is wrong, not only with the first.
#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_command_is_run_or_read() {
    let lines = shell::documented();
    assert!(
        lines.len() > 70,
        "the walk finds the commands: {}",
        lines.len()
    );
    let mut wrong: Vec<_> = lines
        .iter()
        .filter_map(|line| {
            Some(format!(
                "{}: {}: {}",
                line.at,
                line.text,
                treatment(line).err()?
            ))
        })
        .collect();
    wrong.extend(city::unused_stages(&lines));
    for (from, _) in CHANGED {
        if !lines.iter().any(|line| line.text.contains(from)) {
            wrong.push(format!("CHANGED: no command has {from}"));
        }
    }
    let begins = |line: &Line, begin: &str| {
        let words = line.jitney().unwrap_or_else(|| line.words());
        words.join(" ").starts_with(begin)
    };
    for (begin, _) in ONLY_READ.iter().chain(NOT_OURS) {
        if !lines.iter().any(|line| begins(line, begin)) {
            wrong.push(format!("no command begins with {begin}"));
        }
    }
    assert_none(&wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_needs_no_city_works() {
    let (folder, database) = (Folder::new(), TestDatabase::new().await);
    let url = database.options().to_url_lossy().to_string();
    let (mut tried, mut wrong) = (0, Vec::new());
    for line in shell::documented() {
        let Ok(Treatment::Alone) = treatment(&line) else {
            continue;
        };
        let mut text = script(&line);
        if let Some(example) = line
            .exports
            .iter()
            .find_map(|line| line.strip_prefix("export DATABASE_URL="))
        {
            text = text.replace(example, &format!("'{url}'"));
        }
        let output = Folder::finish(folder.shell(&text)).await;
        tried += 1;
        wrong.extend(problem(&line, &output, folder.path()));
    }
    assert!(tried > 15, "commands are tried: {tried}");
    assert_none(&wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_in_a_running_city_works() {
    let mut lines = shell::documented();
    lines.retain(|line| matches!(treatment(line), Ok(Treatment::InCity)));
    // Simulated drivers come last: they would take the rides of the others.
    lines.sort_by_key(|line| line.text.contains("jitney simulate"));
    let mut city = City::start().await;
    let mut wrong = Vec::new();
    for line in &lines {
        let output = city.run(line, &script(line)).await;
        wrong.extend(problem(line, &output, city.folder()));
    }
    assert!(lines.len() > 40, "commands are tried: {}", lines.len());
    assert_none(&wrong);
}
