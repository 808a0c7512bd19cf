//! How far long work is, on a terminal's standard error. Where that is no terminal nothing is shown, so that
//! scripts and logs get the results only. What is shown is wiped off at the end.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// How often what is shown moves.
const TICK: Duration = Duration::from_millis(100);

/// Work that is under way; its line goes when this is dropped.
#[must_use = "its line goes when it is dropped"]
pub struct Progress(ProgressBar);

impl Progress {
    /// Work of which nobody knows how long it takes.
    pub fn spinner(what: impl Into<Cow<'static, str>>) -> Progress {
        Self::begin(
            ProgressBar::new_spinner(),
            "{spinner} {msg} {elapsed}",
            what,
        )
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
}
