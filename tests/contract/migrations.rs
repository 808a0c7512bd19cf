//! Migrations only add or widen: processes of the version before go on writing while the new one starts
//! (docs/running.md, Upgrades), so nothing they name may go, and nothing may be asked of their rows that
//! they do not know of.

use std::{collections::BTreeSet, fs};

use super::house_rules::{shown, sources};

/// What takes something away, whatever it is taken from.
const TAKING: [&str; 10] = [
    "DROP TABLE",
    "DROP COLUMN",
    "DROP VIEW",
    "DROP SCHEMA",
    "DROP FUNCTION",
    "DROP DEFAULT",
    "RENAME",
    "SET NOT NULL",
    "TRUNCATE TABLE",
    "DELETE FROM",
];

/// The statements of a migration, without comments and bodies of functions, each on one line.
fn statements(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    // Between two `$$` is code of its own.
    let outside: String = code.split("$$").step_by(2).collect::<Vec<_>>().join("$$");
    outside
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The word after `before`, in a statement that has it.
fn word_after<'a>(statement: &'a str, before: &str) -> Option<&'a str> {
    let (_, after) = statement.split_once(before)?;
    let word = after.split([' ', '(']).next()?;
    Some(word.rsplit('.').next().unwrap_or(word))
}

/// What a migration does that the version before cannot live with.
fn complaints(text: &str) -> Vec<String> {
    let statements = statements(text);
    let mut made = BTreeSet::new();
    let mut added = BTreeSet::new();
    let mut dropped = BTreeSet::new();
    let mut found = Vec::new();
    for statement in &statements {
        let mut complain = |why: &str| found.push(format!("{why}: {statement}"));
        for taking in TAKING {
            if statement.contains(taking) {
                complain("takes away what the version before uses");
            }
        }
        if let Some(table) = word_after(statement, "CREATE TABLE ") {
            made.insert(table.to_owned());
            continue;
        }
        if statement.starts_with("CREATE UNIQUE INDEX") {
            let table = word_after(statement, " ON ").unwrap_or_default();
            if !made.contains(table) {
                complain("asks of older rows that they differ");
            }
            continue;
        }
        let Some(table) = word_after(statement, "ALTER TABLE ") else {
            continue;
        };
        if statement.matches(" ADD ").count() + statement.matches(" DROP ").count() > 1 {
            complain("does two things; write two statements");
        }
        if statement.contains(" ALTER COLUMN ") && statement.contains(" TYPE ") {
            complain("changes a type under the version before");
        }
        if let Some(column) = word_after(statement, " ADD COLUMN ") {
            added.insert((table, column));
            if statement.contains(" NOT NULL") && !statement.contains(" DEFAULT ") {
                complain("asks for a value that the version before does not write");
            }
        }
        if let Some(name) = word_after(statement, " DROP CONSTRAINT ") {
            dropped.insert((table, name));
        }
        if let Some(name) = word_after(statement, " ADD CONSTRAINT ") {
            let replaces = dropped.contains(&(table, name));
            let words: BTreeSet<&str> = statement
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .collect();
            let is_of_new = added
                .iter()
                .any(|(on, column)| *on == table && words.contains(column));
            if !replaces && !is_of_new && !made.contains(table) {
                complain("asks more of columns that the version before writes");
            }
        }
    }
    found
}

#[test]
fn migrations_add_or_widen() {
    let files = sources(&[".sql"]);
    let files = files
        .iter()
        .filter(|path| shown(path).contains("/migrations/"));
    let mut read = 0;
    for path in files {
        let found = complaints(&fs::read_to_string(path).unwrap());
        assert!(found.is_empty(), "{}: {}", shown(path), found.join("\n"));
        read += 1;
    }
    assert!(read >= 30, "only {read} migrations were found");
}

#[test]
fn what_narrows_is_found() {
    for narrows in [
        "DROP TABLE trip;",
        "ALTER TABLE trip DROP COLUMN pin;",
        "ALTER TABLE trip RENAME COLUMN pin TO code;",
        "ALTER TABLE trip ALTER COLUMN pin SET NOT NULL;",
        "ALTER TABLE trip ALTER COLUMN version TYPE integer;",
        "ALTER TABLE trip ADD COLUMN mood text NOT NULL;",
        "ALTER TABLE trip ADD COLUMN mood text, ADD COLUMN tune text NOT NULL DEFAULT '';",
        "ALTER TABLE trip ADD CONSTRAINT trip_pin_long CHECK (length(pin) > 3);",
        // One of the same name was dropped, but of another table.
        "ALTER TABLE offer DROP CONSTRAINT pin_long;
         ALTER TABLE trip ADD CONSTRAINT pin_long CHECK (length(pin) > 3);",
        "CREATE UNIQUE INDEX trip_pin ON trip (pin);",
        "DELETE FROM trip WHERE pin IS NULL;",
    ] {
        assert_eq!(complaints(narrows).len(), 1, "{narrows}");
    }
    for widens in [
        "-- DROP TABLE trip;\nCREATE TABLE mood (name text NOT NULL); CREATE UNIQUE INDEX one ON mood (name);",
        "ALTER TABLE trip ADD COLUMN mood text NOT NULL DEFAULT '';
         ALTER TABLE trip ADD CONSTRAINT trip_mood_short CHECK (length(mood) < 9);",
        "ALTER TABLE trip DROP CONSTRAINT trip_pin_long;
         ALTER TABLE trip ADD CONSTRAINT trip_pin_long CHECK (length(pin) > 3);",
        "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN DELETE FROM mood; RETURN NULL; END $$ LANGUAGE plpgsql;",
    ] {
        assert!(complaints(widens).is_empty(), "{widens}");
    }
}
