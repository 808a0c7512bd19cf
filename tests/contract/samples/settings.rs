//! `deploy/jitney.toml` shows every setting with its default and says what it means.

use std::{collections::BTreeSet, fs};

use jitney_cli::Config;
use serde_json::Value;

use super::{assert_none, root};

/// The keys of a configuration, dotted. Entries of a list share their keys.
fn keys_of(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let dot = if at.is_empty() { "" } else { "." };
                keys_of(value, &format!("{at}{dot}{name}"), found);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            entries.iter().for_each(|entry| keys_of(entry, at, found));
        }
        _ => {
            found.insert(at.to_owned());
        }
    }
}

/// Every setting there is. Secrets are not written out with the rest, but the refusal of a key that
/// nobody knows lists them too.
pub(super) fn known() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys_of(
        &serde_json::to_value(Config::default()).unwrap(),
        "",
        &mut found,
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "nonsense = 1").unwrap();
    let refusal = Config::load(Some(file.path())).unwrap_err().to_string();
    let list = refusal
        .split_once("known here: ")
        .and_then(|(_, rest)| rest.split_once(')'));
    let (list, _) = list.unwrap_or_else(|| panic!("lists no keys: {refusal}"));
    let is_section = |name: &str| found.iter().any(|key| key.starts_with(&format!("{name}.")));
    let plain: Vec<_> = list.split(", ").filter(|name| !is_section(name)).collect();
    assert!(plain.contains(&"database_url"), "{refusal}");
    found.extend(plain.into_iter().map(str::to_owned));
    found
}

/// A key in the sample file.
struct Shown {
    line: usize,
    key: String,
    /// Whether a comment stands before it, or before the same key of an earlier entry.
    is_explained: bool,
}

/// The keys of a TOML file, those that are commented out (`#key = …`, without a space) included.
fn shown_in(text: &str) -> Vec<Shown> {
    let mut section = String::new();
    let mut found: Vec<Shown> = Vec::new();
    let mut is_after_comment = false;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.starts_with('[') {
            section = text.trim_matches(['[', ']']).to_owned() + ".";
        } else if let Some((key, _)) = text.trim_start_matches('#').split_once(" = ")
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
            let is_known = found
                .iter()
                .any(|shown| shown.is_explained && name(&shown.key) == key);
            found.push(Shown {
                line,
                key: format!("{section}{key}"),
                is_explained: is_after_comment || is_known,
            });
        }
        is_after_comment = text.starts_with("# ");
    }
    found
}

fn sample() -> String {
    fs::read_to_string(root().join("deploy/jitney.toml")).unwrap()
}

fn loaded(text: &str) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let config = Config::load(Some(file.path())).expect("the sample is read");
    serde_json::to_value(config).unwrap()
}

#[test]
fn the_sample_is_the_default() {
    let default = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(
        loaded(&sample()),
        default,
        "(JITNEY_ variables of this shell count too)"
    );
    let other = sample().replace("offer_ttl = \"15s\"", "offer_ttl = \"16s\"");
    assert_ne!(loaded(&other), default, "a difference is seen");
}

#[test]
fn the_sample_has_every_setting_and_explains_it() {
    let text = sample();
    let (known, shown) = (known(), shown_in(&text));
    assert!(known.len() > 100, "{known:?}");
    let named: BTreeSet<_> = shown.iter().map(|shown| shown.key.clone()).collect();
    let mut wrong: Vec<_> = known
        .difference(&named)
        .map(|key| format!("deploy/jitney.toml does not have {key}"))
        .collect();
    for shown in &shown {
        let at = format!("deploy/jitney.toml:{}: {}", shown.line, shown.key);
        if !known.contains(&shown.key) {
            wrong.push(format!("{at} is no setting"));
        }
        if !shown.is_explained {
            wrong.push(format!("{at} is not explained"));
        }
    }
    assert_none(&wrong);
}
