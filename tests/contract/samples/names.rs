//! What the documentation names is there: linked pages and headings, files, settings, tables and
//! columns.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Page, all_pages, assert_none, guides, page, root, settings, sources};

/// The targets of the links in a line: what stands in `](…)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
}

/// A heading as links name it: lower case, blanks as hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &Page) -> BTreeSet<String> {
    let lines = page.prose();
    let headings = lines.iter().filter(|(_, line)| line.starts_with('#'));
    headings
        .map(|(_, line)| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    assert_eq!(
        anchor(" Running it, `jitney serve`"),
        "running-it-jitney-serve"
    );
    let (mut walked, mut wrong) = (0, Vec::new());
    for from in all_pages() {
        for (number, line) in from.prose() {
            for link in links(line) {
                if link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                walked += 1;
                let (file, heading) = link.split_once('#').unwrap_or((link, ""));
                let folder = Path::new(&from.name).parent().unwrap_or(Path::new(""));
                let target = folder.join(file);
                let is_there = if file.is_empty() {
                    anchors(&from).contains(heading)
                } else {
                    root().join(&target).exists()
                        && (heading.is_empty()
                            || anchors(&page(&target.to_string_lossy())).contains(heading))
                };
                if !is_there {
                    wrong.push(format!("{}: {link} leads nowhere", from.at(number)));
                }
            }
        }
    }
    assert!(walked > 20, "the walk finds the links: {walked}");
    assert_none(&wrong);
}

#[test]
fn every_file_the_documentation_names_is_there() {
    let (mut walked, mut wrong) = (0, Vec::new());
    for page in guides() {
        for code in page.inline() {
            let name = code.text.as_str();
            let top = name.split('/').next().unwrap_or_default();
            let is_ours = name.contains('/')
                && !["", ".", "target"].contains(&top)
                && !name.contains([' ', '*', ':'])
                && root().join(top).exists();
            if is_ours {
                walked += 1;
                if !root().join(name).exists() {
                    wrong.push(format!("{}: there is no {name}", page.at(code.line)));
                }
            }
        }
    }
    assert!(walked > 30, "the walk finds the files: {walked}");
    assert_none(&wrong);
}

/// A test's name is a sentence, so what reads like one in the architecture is a test.
#[test]
fn every_test_the_architecture_names_is_there() {
    let files = sources(&[".rs"]);
    let program: String = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let page = page("docs/architecture.md");
    let (mut walked, mut wrong) = (0, Vec::new());
    for code in page.inline() {
        let name = code.text.as_str();
        let is_word = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if is_word && name.matches('_').count() >= 3 {
            walked += 1;
            if !program.contains(&format!("fn {name}(")) {
                wrong.push(format!("{}: there is no test {name}", page.at(code.line)));
            }
        }
    }
    assert!(walked > 10, "the walk finds the tests: {walked}");
    assert_none(&wrong);
}

/// The names in the migrations: `trips.trip` and `trip.state`, and every word by itself.
fn schema() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut dotted, mut words) = (BTreeSet::new(), BTreeSet::new());
    for (schema, table, columns) in tables() {
        dotted.insert(format!("{schema}.{table}"));
        for column in columns {
            dotted.insert(format!("{table}.{column}"));
            dotted.insert(format!("{schema}.{table}.{column}"));
        }
    }
    for path in sources(&[".sql"]) {
        let text = fs::read_to_string(path).unwrap();
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        words.extend(text.split(is_end).map(str::to_owned));
    }
    (dotted, words)
}

/// Every table of the migrations: its schema, its name, its columns.
pub(super) fn tables() -> Vec<(String, String, Vec<String>)> {
    let mut found: Vec<(String, String, Vec<String>)> = Vec::new();
    for service in ["trips", "billing", "matching"] {
        let folder = root().join(service).join("migrations");
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            for part in text.split("\nCREATE TABLE ").skip(1) {
                let (name, body) = part.split_once(" (").unwrap();
                let body = body.split("\n);").next().unwrap();
                let columns = body.lines().filter_map(|line| {
                    let column = line.strip_prefix("    ")?.split(' ').next()?;
                    column
                        .starts_with(|c: char| c.is_ascii_lowercase())
                        .then(|| column.to_owned())
                });
                found.push((service.to_owned(), name.to_owned(), columns.collect()));
            }
            for change in text.split("\nALTER TABLE ").skip(1) {
                let mut words = change.split_whitespace();
                let name = words.next().unwrap();
                if (words.next(), words.next()) == (Some("ADD"), Some("COLUMN")) {
                    let is_it = |(schema, table, _): &&mut (String, String, _)| {
                        schema == service && table == name
                    };
                    let table = found.iter_mut().find(is_it);
                    let column = words.next().unwrap().to_owned();
                    table.expect("the table was made before").2.push(column);
                }
            }
        }
    }
    found
}

#[test]
fn every_setting_the_documentation_names_is_one() {
    let known = settings::known();
    let (dotted, _) = schema();
    let (mut walked, mut wrong) = (0, Vec::new());
    for page in guides() {
        for (number, line) in (1..).zip(page.text.lines()) {
            let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            for word in line.split(is_end) {
                let Some(name) = word.strip_prefix("JITNEY_") else {
                    continue;
                };
                walked += 1;
                let key = name.to_lowercase().replace("__", ".");
                if !known.contains(&key) && !["", "config"].contains(&key.as_str()) {
                    wrong.push(format!("{}: {word} sets nothing", page.at(number)));
                }
            }
        }
        for code in page.inline() {
            let text = code.text.as_str();
            let Some((section, _)) = text.split_once('.') else {
                continue;
            };
            let is_key = text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'));
            let is_section = known
                .iter()
                .any(|key| key.starts_with(&format!("{section}.")));
            if is_key && is_section {
                walked += 1;
                let is_known = known.contains(text)
                    || dotted.contains(text)
                    || known.iter().any(|key| key.starts_with(&format!("{text}.")));
                if !is_known {
                    wrong.push(format!("{}: {text} is no setting", page.at(code.line)));
                }
            }
        }
    }
    assert!(walked > 20, "the walk finds the settings: {walked}");
    assert_none(&wrong);
}

#[test]
fn every_table_and_column_the_data_model_names_is_in_the_migrations() {
    let (dotted, words) = schema();
    assert!(dotted.contains("trips.trip") && dotted.contains("posting.amount_minor"));
    let known = settings::known();
    let page = page("docs/data-model.md");
    let (mut walked, mut wrong) = (0, Vec::new());
    for code in page.inline() {
        let text = code.text.as_str();
        let is_name = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'));
        if !is_name {
            continue;
        }
        walked += 1;
        let is_known = match text.contains('.') {
            true => dotted.contains(text) || known.contains(text),
            false => words.contains(text),
        };
        if !is_known {
            wrong.push(format!("{}: there is no {text}", page.at(code.line)));
        }
    }
    assert!(walked > 50, "the walk finds the names: {walked}");
    assert_none(&wrong);
}
