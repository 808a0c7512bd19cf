//! A report as tables for people: one for each fleet, a column for each policy, means over the seeds.

use std::fmt;

use super::{Origin, Outcome, Report};

/// A line of the table.
struct Line {
    name: &'static str,
    value: fn(&Outcome) -> f64,
    digits: usize,
    unit: &'static str,
}

const LINES: &[Line] = &[
    line("requests", |o| o.rides.requested as f64, 0, ""),
    line("served", |o| o.rides.served as f64, 0, ""),
    line("served share", |o| o.served_share * 100.0, 1, "%"),
    line("gave up", |o| o.rides.gave_up as f64, 0, ""),
    line("no driver", |o| o.rides.expired as f64, 0, ""),
    line("called off", |o| o.rides.called_off as f64, 0, ""),
    line("pick-up mean", |o| o.pickup.mean_s, 1, "s"),
    line("pick-up median", |o| o.pickup.median_s, 1, "s"),
    line("pick-up p95", |o| o.pickup.p95_s, 1, "s"),
    line("drive there mean", |o| o.pickup_drive.mean_s, 1, "s"),
    line("drive there median", |o| o.pickup_drive.median_s, 1, "s"),
    line("drive there p95", |o| o.pickup_drive.p95_s, 1, "s"),
    line("assignment mean", |o| o.assignment.mean_s, 1, "s"),
    line("chained", |o| o.rides.chained as f64, 0, ""),
    line("joined", |o| o.rides.joined as f64, 0, ""),
    line("detour", |o| o.detour_percent, 1, "%"),
    line("empty", |o| o.empty_km, 0, "km"),
    line("loaded", |o| o.loaded_km, 0, "km"),
    line("utilisation", |o| o.utilisation * 100.0, 1, "%"),
    line("income Gini", |o| o.income_gini, 3, ""),
    line("offers made", |o| o.offers.made as f64, 0, ""),
    line("offers declined", |o| o.offers.declined as f64, 0, ""),
    line("offers expired", |o| o.offers.expired as f64, 0, ""),
    line("rounds", |o| o.rounds.held as f64, 0, ""),
    line("requests a round", |o| o.rounds.requests_mean, 2, ""),
    line("round mean", |o| o.rounds.plan_ms_mean, 2, "ms"),
    line("virtual time", |o| o.virtual_s, 0, "s"),
    line("real time", |o| o.wall_s, 1, "s"),
];

const fn line(
    name: &'static str,
    value: fn(&Outcome) -> f64,
    digits: usize,
    unit: &'static str,
) -> Line {
    Line {
        name,
        value,
        digits,
        unit,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = self.scenarios.first() {
            write!(f, "{origin}")?;
        }
        let mut rest = &self.outcomes[..];
        while let Some(first) = rest.first() {
            let is_other = |outcome: &Outcome| outcome.drivers != first.drivers;
            let end = rest.iter().position(is_other).unwrap_or(rest.len());
            let (of_fleet, others) = rest.split_at(end);
            fleet(f, of_fleet)?;
            rest = others;
        }
        Ok(())
    }
}

/// The table of one fleet.
fn fleet(f: &mut fmt::Formatter<'_>, outcomes: &[Outcome]) -> fmt::Result {
    let columns: Vec<&[Outcome]> = outcomes.chunk_by(|a, b| a.policy == b.policy).collect();
    let Some(first) = columns.first() else {
        return Ok(());
    };
    let seeds: Vec<String> = first.iter().map(|one| one.seed.to_string()).collect();
    let word = if seeds.len() == 1 {
        "seed"
    } else {
        "mean of seeds"
    };
    writeln!(
        f,
        "\n{} drivers, {word} {}",
        first[0].drivers,
        seeds.join(", ")
    )?;
    write!(f, "{:<18}", "")?;
    for (place, column) in columns.iter().enumerate() {
        let width = if place == 0 { 14 } else { 24 };
        write!(f, "{:>width$}", column[0].policy)?;
    }
    writeln!(f)?;
    for line in LINES {
        write!(f, "{:<18}", line.name)?;
        let mean =
            |column: &[Outcome]| column.iter().map(line.value).sum::<f64>() / column.len() as f64;
        let base = mean(first);
        for (place, column) in columns.iter().enumerate() {
            let value = mean(column);
            let text = format!("{value:.*}", line.digits);
            write!(f, "{text:>11} {:<2}", line.unit)?;
            if place > 0 {
                let percent = (value / base - 1.0) * 100.0;
                let change = if percent.is_finite() {
                    format!("{percent:+.1} %")
                } else {
                    String::new()
                };
                write!(f, "{change:>10}")?;
            }
        }
        writeln!(f)?;
    }
    for outcome in outcomes {
        writeln!(
            f,
            "events             {} seed {}: {} {}",
            outcome.policy,
            outcome.seed,
            outcome.events,
            &outcome.event_log_hash[..16.min(outcome.event_log_hash.len())]
        )?;
    }
    Ok(())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |ms: i64| format!("{:02}:{:02}", ms / 3_600_000, ms / 60_000 % 60);
        let traffic = if self.traffic {
            "traffic by the hour"
        } else {
            "free roads"
        };
        writeln!(
            f,
            "city               {}, {} to {}, {traffic}",
            self.map,
            time(self.from_ms),
            time(self.to_ms)
        )?;
        write!(f, "demand             {} rides", self.rides)?;
        if let Some(fit) = &self.fit {
            write!(f, ", fitted to the map {:.2} times as large", fit.scale)?;
        }
        writeln!(f)?;
        for (word, left_out) in [("skipped", &self.skipped), ("left out", &self.left_out)] {
            for (reason, count) in &left_out.0 {
                writeln!(f, "{word:<18} {count} {reason}")?;
            }
        }
        Ok(())
    }
}
