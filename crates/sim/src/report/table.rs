//! A report as a table for people.

use std::fmt;

use super::{LedgerCheck, Report, Waits};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<16} {value}");
        let (config, rides, offers) = (&self.config, &self.rides, &self.offers);
        let stopped = if self.was_stopped {
            ", stopped early"
        } else {
            ""
        };
        row(
            "city",
            format!(
                "{}, {} drivers, seed {}",
                self.map, config.drivers, config.seed
            ),
        )?;
        row(
            "time",
            format!(
                "{} s at speed {}{stopped}",
                self.elapsed.as_secs(),
                config.speed
            ),
        )?;
        let mut ends = vec![format!("{} requested", rides.requested)];
        for (count, what) in [
            (rides.carried_on, "carried on"),
            (rides.served, "served"),
            (rides.expired, "expired"),
            (rides.cancelled, "cancelled"),
            (rides.no_show, "no show"),
            (rides.refused, "refused"),
            (rides.unfinished, "unfinished"),
        ] {
            if count > 0 || what == "served" {
                ends.push(format!("{count} {what}"));
            }
        }
        row("rides", ends.join(", "))?;
        row("until assigned", waits(&self.assignment_wait))?;
        row("until picked up", waits(&self.pickup_wait))?;
        row("fares", self.fares.to_string())?;
        row(
            "offers",
            format!(
                "{} received, {} accepted, {} declined, {} ignored, {} lost, {} given back",
                offers.received,
                offers.accepted,
                offers.declined,
                offers.ignored,
                offers.lost,
                offers.given_back
            ),
        )?;
        row(
            "driven",
            format!(
                "{}.{} km",
                self.driven_meters / 1000,
                self.driven_meters / 100 % 10
            ),
        )?;
        let refused: Vec<_> = self
            .pings
            .refused
            .iter()
            .map(|(reason, count)| format!(", {count} {reason}"))
            .collect();
        row(
            "positions",
            format!(
                "{} sent, {} taken{}",
                self.pings.sent,
                self.pings.accepted,
                refused.concat()
            ),
        )?;
        let connections = &self.connections;
        row(
            "connections",
            format!(
                "{} opened, {} resumed, {} lost, {} failed",
                connections.opened, connections.resumed, connections.lost, connections.failed
            ),
        )?;
        row("calls", format!("{} answered", self.calls_answered))?;
        for (label, count) in &self.calls_failed {
            row("", format!("{count} × {label}"))?;
        }
        row(
            "ledger",
            self.ledger
                .as_ref()
                .map_or("could not be asked".to_owned(), ledger),
        )?;
        match self.violation_count {
            0 => row("rules", "all kept".to_owned()),
            count => {
                row(
                    "rules",
                    format!(
                        "{count} broken (the same demand again: seed {})",
                        config.seed
                    ),
                )?;
                for violation in &self.violations {
                    row("", format!("{:?}: {}", violation.rule, violation.what))?;
                }
                Ok(())
            }
        }
    }
}

fn waits(waits: &Waits) -> String {
    match waits.rides {
        0 => "none".to_owned(),
        rides => format!(
            "median {}, p95 {}, longest {} ({rides} rides)",
            seconds(waits.median_ms),
            seconds(waits.p95_ms),
            seconds(waits.max_ms)
        ),
    }
}

/// Milliseconds as seconds with a tenth.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms / 100 % 10)
}

fn ledger(check: &LedgerCheck) -> String {
    if check.balanced {
        format!("balanced, {} entries", check.entries)
    } else {
        format!(
            "NOT balanced: {} of {} entries, {} balances and {} charges are wrong",
            check.unbalanced_entries, check.entries, check.wrong_balances, check.wrong_charges
        )
    }
}
