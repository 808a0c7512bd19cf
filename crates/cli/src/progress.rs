//! How far long work is, on a terminal's standard error. Where that is no terminal nothing is shown, so that
//! scripts and logs get the results only. What is shown is wiped off at the end.

use std::{borrow::Cow, path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use jitney_roads::{ImportProgress, Phase};

/// How often what is shown moves.
const TICK: Duration = Duration::from_millis(100);

/// How work of unknown length is shown.
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// Work that is under way; its line goes when this is dropped.
#[must_use = "its line goes when it is dropped"]
pub struct Progress(ProgressBar);

impl Progress {
    /// Work of which nobody knows how long it takes.
    pub fn spinner(what: impl Into<Cow<'static, str>>) -> Progress {
        Self::begin(ProgressBar::new_spinner(), SPINNER, what)
    }

    /// Work of so many equal steps.
    pub fn steps(what: impl Into<Cow<'static, str>>, steps: usize) -> Progress {
        let bar = ProgressBar::new(steps as u64);
        Self::begin(
            bar,
            "{spinner} {msg} [{bar:30}] {pos}/{len} {elapsed}, {eta} to go",
            what,
        )
    }

    /// An import of a map: a bar over the file while it is read, and what is done after that.
    pub fn import(file: &Path) -> Import {
        let name = file.file_name().unwrap_or(file.as_os_str());
        Import {
            shown: Self::spinner(format!("opening {}", file.display())),
            name: name.to_string_lossy().into_owned(),
            phase: None,
        }
    }

    fn begin(bar: ProgressBar, style: &str, what: impl Into<Cow<'static, str>>) -> Progress {
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        Progress(bar)
    }

    /// A step is over.
    pub fn step(&self) {
        self.0.inc(1);
    }
}

/// An import that is under way.
#[must_use = "its line goes when it is dropped"]
pub struct Import {
    shown: Progress,
    name: String,
    phase: Option<Phase>,
}

impl Import {
    /// It is so far.
    pub fn told(&mut self, now: ImportProgress) {
        let bar = &self.shown.0;
        if self.phase != Some(now.phase) {
            self.phase = Some(now.phase);
            let style = if now.of == 0 {
                SPINNER
            } else {
                "{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {elapsed}"
            };
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_message(format!("importing {}: {}", self.name, now.phase.words()));
        }
        bar.set_length(now.of);
        bar.set_position(now.done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted() {
        let progress = Progress::steps("rounds", 3);
        progress.step();
        progress.step();
        assert_eq!((progress.0.position(), progress.0.length()), (2, Some(3)));
    }

    #[test]
    fn an_import_says_what_it_does_and_how_far_it_is() {
        let mut import = Progress::import(Path::new("maps/porto.osm.pbf"));
        let mut seen = Vec::new();
        for (phase, done, of) in [
            (Phase::Roads, 1, 9),
            (Phase::Roads, 9, 9),
            (Phase::Places, 4, 9),
            (Phase::Ordering, 0, 0),
        ] {
            import.told(ImportProgress { phase, done, of });
            let bar = &import.shown.0;
            seen.push((bar.message(), bar.position(), bar.length()));
        }
        let line = |words: &str, done, of| {
            let message = format!("importing porto.osm.pbf: {words}");
            (message, done, Some(of))
        };
        assert_eq!(
            seen,
            [
                line("reading the roads", 1, 9),
                line("reading the roads", 9, 9),
                line("reading where they run", 4, 9),
                line("ordering the junctions", 0, 0),
            ]
        );
    }
}
