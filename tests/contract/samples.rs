//! What the project shows its readers is true: the sample configuration, the command lines, paths,
//! names and tables in the documentation, and the links between its pages.
//!
//! - `commands`: command lines and REST paths.
//! - `names`: links, files, settings, tables and columns.
//! - `settings`: `deploy/jitney.toml`.
//! - `tables`: the tables that repeat what the code says.
//!
//! This file reads Markdown, as much of it as that takes.

mod commands;
mod names;
mod settings;
mod tables;

use std::fs;

use super::house_rules::{root, shown, sources};

/// A Markdown file.
struct Page {
    /// Its path from the root.
    name: String,
    text: String,
}

/// A piece of code in a page.
struct Code {
    /// The line it begins on, from 1.
    line: usize,
    /// What the fence says it is; `None` for code inside a sentence.
    language: Option<String>,
    text: String,
}

/// Every Markdown file of the repository.
fn all_pages() -> Vec<Page> {
    let pages: Vec<_> = sources(&[".md"])
        .iter()
        .map(|path| Page {
            name: shown(path),
            text: fs::read_to_string(path).unwrap(),
        })
        .collect();
    assert!(pages.len() > 5, "the walk finds the pages");
    pages
}

/// The pages for readers: the ones beside the README and those in `docs/`.
fn guides() -> Vec<Page> {
    let mut pages = all_pages();
    pages.retain(|page| !page.name.contains('/') || page.name.starts_with("docs/"));
    pages
}

/// One page.
fn page(name: &str) -> Page {
    let text = fs::read_to_string(root().join(name)).unwrap();
    let name = name.to_owned();
    Page { name, text }
}

impl Page {
    /// Where something is, for the message of a failure.
    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }

    /// The lines outside fenced code, with their numbers.
    fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let mut found = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                found.push((number, line));
            }
        }
        assert!(!is_code, "{}: a fence is not closed", self.name);
        found
    }

    /// Fenced code, block by block.
    fn blocks(&self) -> Vec<Code> {
        let mut open: Option<Code> = None;
        let mut found = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => found.extend(open.take()),
                (Some(language), None) => {
                    open = Some(Code {
                        line: number + 1,
                        language: Some(language.trim().to_owned()),
                        text: String::new(),
                    });
                }
                (None, Some(code)) => code.text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        found
    }

    /// Code inside sentences. It may run over the end of a line, not over the end of a paragraph.
    fn inline(&self) -> Vec<Code> {
        let mut paragraphs: Vec<(usize, String)> = Vec::new();
        let mut last = 0;
        for (number, line) in self.prose() {
            let is_new = line.trim().is_empty() || line.starts_with('|') || number != last + 1;
            match paragraphs.last_mut() {
                Some((_, text)) if !is_new => text.extend([" ", line.trim()]),
                _ => paragraphs.push((number, line.to_owned())),
            }
            last = number;
        }
        let code = |(line, text): (usize, String)| {
            let pieces: Vec<_> = text.split('`').collect();
            assert!(
                pieces.len() % 2 == 1,
                "{}: a backtick is not closed",
                self.at(line)
            );
            let inside = pieces.into_iter().skip(1).step_by(2);
            let found: Vec<_> = inside
                .map(|text| Code {
                    line,
                    language: None,
                    text: text.to_owned(),
                })
                .collect();
            found
        };
        paragraphs.into_iter().flat_map(code).collect()
    }

    /// The rows of the table whose head begins with these cells, without head and rule.
    fn table(&self, head: &[&str]) -> Vec<Vec<String>> {
        let cells = |line: &str| -> Vec<String> {
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
            inner
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let lines: Vec<_> = self.prose().into_iter().map(|(_, line)| line).collect();
        let tables: Vec<usize> = (0..lines.len())
            .filter(|&at| lines[at].starts_with('|') && cells(lines[at]).starts_with(&owned(head)))
            .collect();
        let [at] = tables[..] else {
            panic!("{} has {} tables of {head:?}", self.name, tables.len());
        };
        let rows = lines[at + 2..].iter();
        rows.take_while(|line| line.starts_with('|'))
            .map(|line| cells(line))
            .collect()
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Fails with everything that is wrong, not only with the first.
#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn pages_are_read_as_a_reader_sees_them() {
    let page = Page {
        name: "x.md".into(),
        text: "Say `jitney\nconfig`.\n\n```sh\nls `x\n```\n| a | b |\n| --- | --- |\n| `c` | d |\n"
            .into(),
    };
    let inline: Vec<_> = page.inline().into_iter().map(|code| code.text).collect();
    assert_eq!(inline, ["jitney config", "c"]);
    assert_eq!(page.blocks()[0].text, "ls `x\n");
    assert_eq!(page.blocks()[0].line, 5);
    assert_eq!(page.table(&["a", "b"]), [["`c`", "d"]]);
}
