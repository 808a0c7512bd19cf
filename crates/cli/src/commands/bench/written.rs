//! The table of everything that was measured, in a Markdown file between two markers.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::{figure::Figure, machine::Machine};

/// What the table comes after.
const BEGIN: &str = "<!-- bench: from here on it is written by `make bench` -->";
/// What it ends before.
const END: &str = "<!-- bench: up to here -->";

/// A file with a place for the table.
pub struct Page {
    file: PathBuf,
    before: String,
    after: String,
}

impl Page {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read or has not both markers, once each and in order.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let read = || {
            let text = fs::read_to_string(file)?;
            for marker in [BEGIN, END] {
                let count = text.matches(marker).count();
                ensure!(count == 1, "it has {count} lines {marker:?}, not one");
            }
            let (before, rest) = text.split_once(BEGIN).context("it has no beginning")?;
            let (_, after) = rest
                .split_once(END)
                .with_context(|| format!("{END:?} is not after {BEGIN:?}"))?;
            Ok(Self {
                file: file.to_owned(),
                before: before.to_owned(),
                after: after.to_owned(),
            })
        };
        read().with_context(|| format!("cannot write into {}", file.display()))
    }

    /// Puts the table in the place of what was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, table: &str) -> anyhow::Result<()> {
        let (before, after) = (&self.before, &self.after);
        let text = format!("{before}{BEGIN}\n\n{table}\n{END}{after}");
        fs::write(&self.file, text)
            .with_context(|| format!("cannot write into {}", self.file.display()))
    }
}

/// The machine, and a row for each figure.
pub fn table(machine: &Machine, figures: &[Figure]) -> String {
    let mut text = format!("{machine}:\n\n");
    text.push_str("| figure | map | drivers | p50 | p99 | mean | n |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for figure in figures {
        let [drivers, p50, p99, mean] = figure.cells();
        let (title, map, n) = (cell(&figure.title()), cell(&figure.map), figure.n);
        // A string takes whatever it is given.
        let _ = writeln!(
            text,
            "| {title} | {map} | {drivers} | {p50} | {p99} | {mean} | {n} |"
        );
    }
    text
}

/// A bar would begin another cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str) -> Figure {
        Figure {
            subject: "roads".to_owned(),
            name: name.to_owned(),
            unit: "us",
            p50: 1.0,
            p99: 2.5,
            mean: 1.25,
            n: 10,
            map: "monaco".to_owned(),
            drivers: Some(50),
        }
    }

    #[test]
    fn the_table_takes_the_place_of_the_last_and_the_prose_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.md");
        fs::write(&file, format!("# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")).unwrap();
        let machine = Machine::look();
        let table = table(&machine, &[figure("a|b")]);
        let row = "| roads: a\\|b | monaco | 50 | 1.00 us | 2.50 us | 1.25 us | 10 |";
        for _ in 0..2 {
            Page::read(&file).unwrap().write(&table).unwrap();
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(text.matches(row).count(), 1, "{text}");
            assert!(text.starts_with("# Before\n\n<!--"), "{text}");
            assert!(text.ends_with("-->\n\nAfter\n"), "{text}");
            assert!(
                text.contains(&machine.to_string()) && !text.contains("old"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_page_without_its_markers_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.md");
        for (text, told) in [
            (format!("{BEGIN}\n"), "it has 0 lines"),
            (format!("{BEGIN}\n{BEGIN}\n{END}"), "it has 2 lines"),
            (format!("{END}\n{BEGIN}\n"), "is not after"),
        ] {
            fs::write(&file, &text).unwrap();
            let error = format!("{:#}", Page::read(&file).err().unwrap());
            assert!(error.contains(told) && error.contains("page.md"), "{error}");
        }
    }

    #[test]
    fn the_documentation_has_a_place_for_it() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance.md");
        Page::read(&docs).unwrap();
    }
}
