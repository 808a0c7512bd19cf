//! The rules the repository holds itself to, as tests: which way the crates point, what a file may
//! hold, what must never be written.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository's own with one of these endings, `target` and hidden folders left out.
pub(super) fn sources(endings: &[&str]) -> Vec<PathBuf> {
    fn walk(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&path, endings, found);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), endings, &mut found);
    found.sort();
    found
}

pub(super) fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// The `jitney-*` crates a manifest depends on, outside dev-dependencies.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if section == "dependencies"
            && let Some(name) = line.split(['.', ' ', '=']).next()
            && let Some(name) = name.strip_prefix("jitney-")
        {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn the_crates_point_one_way() {
    let allowed = [
        ("Cargo.toml", &[][..]),
        ("crates/roads/Cargo.toml", &[]),
        ("crates/platform/Cargo.toml", &["proto"]),
        ("crates/sim/Cargo.toml", &["proto", "roads", "matching"]),
        ("matching/Cargo.toml", &["proto", "platform", "roads"]),
        ("trips/Cargo.toml", &["proto", "platform"]),
        ("billing/Cargo.toml", &["proto", "platform"]),
        ("gateway/Cargo.toml", &["proto", "platform"]),
    ];
    for (manifest, allowed) in allowed {
        for dependency in dependencies(manifest) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{manifest} must not use jitney-{dependency}"
            );
        }
    }
    assert!(
        dependencies("crates/cli/Cargo.toml").contains("gateway"),
        "the reader finds dependencies"
    );
}

#[test]
fn roads_has_no_runtime_and_the_gateway_no_sql() {
    for (manifest, banned) in [
        ("crates/roads/Cargo.toml", "tokio"),
        ("gateway/Cargo.toml", "sqlx"),
    ] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        // What its tests use is theirs.
        let shipped = text.split("[dev-dependencies]").next().unwrap_or_default();
        assert!(
            !shipped.lines().any(|line| line.starts_with(banned)),
            "{manifest} must not use {banned}"
        );
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for path in sources(&[".rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//!"),
            "{}: begins without a //! line",
            shown(&path)
        );
    }
}

#[test]
fn files_tell_one_story() {
    for path in sources(&[".rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 700, "{}: {lines} lines; split it", shown(&path));
        for (number, line) in text.lines().enumerate() {
            let width = line.chars().count();
            assert!(
                width <= 120,
                "{}:{}: {width} columns",
                shown(&path),
                number + 1
            );
        }
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            ![
                "utils", "util", "helpers", "helper", "manager", "common", "misc"
            ]
            .contains(&stem.as_str()),
            "{}: a name that says nothing",
            shown(&path)
        );
    }
}

#[test]
fn nothing_is_left_open() {
    // Written in two halves so that this file does not find itself.
    let marks = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    for path in sources(&[".rs", ".proto", ".sql", ".sh"]) {
        let text = fs::read_to_string(&path).unwrap();
        for mark in marks {
            assert!(!text.contains(mark), "{}: contains {mark}", shown(&path));
        }
    }
}

#[test]
fn money_is_never_a_float() {
    for path in sources(&[".rs", ".sql"]) {
        if !shown(&path).starts_with("billing/") && !shown(&path).ends_with("proto/money.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // Degrees and metres have a file of their own, without an amount in it.
        if shown(&path).ends_with("billing/src/place.rs") {
            for banned in ["minor", "Money", "i64"] {
                assert!(!text.contains(banned), "place.rs: contains {banned}");
            }
            continue;
        }
        for banned in ["f64", "f32", "double precision", " real,", "numeric("] {
            assert!(
                !text.contains(banned),
                "{}: contains {banned}",
                shown(&path)
            );
        }
    }
}

#[test]
fn tests_wait_on_conditions() {
    for path in sources(&[".rs"]) {
        let name = shown(&path);
        let is_test = name.starts_with("tests/") || name.contains("/tests/");
        // Where the waiting for conditions itself is written.
        let is_support = name.contains("/support/") || name.ends_with("/support.rs");
        if !is_test || is_support {
            continue;
        }
        if name == "tests/contract/house_rules.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("sleep("),
            "{name}: sleeps; wait on a condition with support::eventually"
        );
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let words = [
        concat!("/wo", "rk/"),
        concat!("static.", "crates"),
        concat!("py", "pi.org"),
        concat!("registry.", "npmjs"),
        concat!("deb.", "debian"),
    ];
    for path in sources(&[".rs", ".md", ".proto", ".sql", ".sh", ".toml", ".yaml"]) {
        let text = fs::read_to_string(&path).unwrap();
        for word in words {
            assert!(!text.contains(word), "{}: contains {word}", shown(&path));
        }
    }
}
