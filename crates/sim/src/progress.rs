//! How it goes, while it goes: live lines on a terminal, else a line every few seconds.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    chronicle::{Chronicle, Facts},
    config::{Config, Until},
    report::seconds,
};

const LIVE_INTERVAL: Duration = Duration::from_millis(250);
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress until it is dropped; ends by itself when progress is not wanted.
pub(crate) async fn show(config: Config, chronicle: Arc<Chronicle>) {
    if !config.progress {
        return;
    }
    let started = Instant::now();
    let live = std::io::stderr().is_terminal().then(|| bar(&config));
    let mut tick = interval(if live.is_some() {
        LIVE_INTERVAL
    } else {
        PLAIN_INTERVAL
    });
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first tick comes at once, before there is anything to tell.
    tick.tick().await;
    loop {
        tick.tick().await;
        let (line, position) = {
            let facts = chronicle.facts();
            (line(&facts), position(&config, &facts, started.elapsed()))
        };
        match &live {
            Some(Bar(bar)) => {
                bar.set_position(position);
                bar.set_message(line);
            }
            None => eprintln!("{:>5} s  {line}", started.elapsed().as_secs()),
        }
    }
}

/// Cleared from the terminal when dropped, so that the report begins on a clean line.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn bar(config: &Config) -> Bar {
    let bar = match config.until {
        Until::Requests(requests) => ProgressBar::new(requests),
        Until::Elapsed(span) => ProgressBar::new(span.as_secs()),
        Until::Stopped => ProgressBar::new_spinner(),
    };
    let template = match config.until {
        Until::Stopped => "{spinner} {elapsed}  {msg}",
        _ => "{elapsed} [{bar:20}] {pos}/{len}  {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(LIVE_INTERVAL);
    Bar(bar)
}

fn position(config: &Config, facts: &Facts, elapsed: Duration) -> u64 {
    let rides = &facts.rides;
    match config.until {
        Until::Elapsed(span) => elapsed.min(span).as_secs(),
        _ => {
            let ended = rides.served + rides.expired + rides.cancelled + rides.no_show;
            ended.saturating_sub(rides.carried_on) + rides.refused
        }
    }
}

fn line(facts: &Facts) -> String {
    let rides = &facts.rides;
    let (wait, _) = facts.waits();
    let mut line = format!(
        "{} drivers, {} rides live, {} served, {} expired, {} cancelled, {} refused",
        facts.drivers_on_shift,
        facts.rides_live,
        rides.served,
        rides.expired,
        rides.cancelled,
        rides.refused
    );
    if wait.rides > 0 {
        line += &format!(", assigned in {}", seconds(wait.median_ms));
    }
    let (_, violations) = facts.audit.violations();
    if violations > 0 {
        line += &format!(", {violations} RULES BROKEN");
    }
    line
}
