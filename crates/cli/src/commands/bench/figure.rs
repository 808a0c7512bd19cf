//! Figures: what was measured, in which unit, and how it is spread.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One figure of a bench.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it belongs to; absent where one subject is measured.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What was measured.
    pub name: String,
    /// Unit of the values: `us`, `ms`, `ns`, `1/s`, `KiB/s`, `share`, `ratio` or `count`.
    pub unit: &'static str,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The mean.
    pub mean: f64,
    /// How many values.
    pub n: usize,
    /// Name of the map; empty, and null in JSON, where there is none.
    #[serde(serialize_with = "text_or_null")]
    pub map: String,
    /// Drivers that were about; null in JSON where there are none.
    pub drivers: Option<usize>,
}

/// Every line has the same fields, so that scripts need not look which are there.
fn text_or_null<S: serde::Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    Some(text).filter(|text| !text.is_empty()).serialize(to)
}

/// Prints figures as they come, and knows the subject and the map they are of.
pub struct Report {
    subject: String,
    map: String,
    as_json: bool,
    figures: Vec<Figure>,
}

impl Report {
    /// JSON lines or a table.
    pub fn new(as_json: bool) -> Self {
        Self {
            subject: String::new(),
            map: String::new(),
            as_json,
            figures: Vec::new(),
        }
    }

    /// What follows is of one of several subjects.
    pub fn begin(&mut self, subject: &str) {
        subject.clone_into(&mut self.subject);
    }

    /// What follows is taken on this map; empty means on none.
    pub fn on_map(&mut self, map: &str) {
        map.clone_into(&mut self.map);
    }

    /// All that was printed.
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// Prints a figure of single operations.
    pub fn times(
        &mut self,
        name: &str,
        unit: Unit,
        drivers: Option<usize>,
        times: &mut [Duration],
    ) {
        times.sort_unstable();
        let Some(last) = times.len().checked_sub(1) else {
            return;
        };
        let at = |share: f64| unit.of(times[((last as f64) * share).round() as usize]);
        let total: f64 = times.iter().map(|&time| unit.of(time)).sum();
        self.print(Figure {
            subject: self.subject.clone(),
            name: name.to_owned(),
            unit: unit.name(),
            p50: at(0.50),
            p99: at(0.99),
            mean: total / times.len() as f64,
            n: times.len(),
            map: self.map.clone(),
            drivers,
        });
    }

    /// Prints what was done in a second, once per round.
    pub fn rates(&mut self, name: &str, rates: &[f64]) {
        if rates.is_empty() {
            return;
        }
        let mut sorted = rates.to_vec();
        sorted.sort_by(f64::total_cmp);
        self.print(Figure {
            subject: self.subject.clone(),
            name: name.to_owned(),
            unit: "1/s",
            p50: median(rates),
            p99: sorted[((sorted.len() - 1) as f64 * 0.99).round() as usize],
            mean: rates.iter().sum::<f64>() / rates.len() as f64,
            n: rates.len(),
            map: self.map.clone(),
            drivers: None,
        });
    }

    /// Prints how the medians of two lists of rates compare.
    pub fn ratio(&mut self, name: &str, rates: &[f64], to: &[f64]) {
        let rounds = rates.len().min(to.len());
        self.value(name, "ratio", None, median(rates) / median(to), rounds);
    }

    /// Prints one value that stands for `n` operations.
    pub fn value(
        &mut self,
        name: &str,
        unit: &'static str,
        drivers: Option<usize>,
        value: f64,
        n: usize,
    ) {
        self.print(Figure {
            subject: self.subject.clone(),
            name: name.to_owned(),
            unit,
            p50: value,
            p99: value,
            mean: value,
            n,
            map: self.map.clone(),
            drivers,
        });
    }

    fn print(&mut self, figure: Figure) {
        if self.as_json {
            // Every field has a form in JSON.
            println!("{}", serde_json::to_string(&figure).unwrap_or_default());
        } else {
            if self.figures.is_empty() {
                println!(
                    "{:<62} {:>9} {:>14} {:>14} {:>14} {:>9}",
                    "figure", "drivers", "p50", "p99", "mean", "n"
                );
            }
            let [drivers, p50, p99, mean] = figure.cells();
            println!(
                "{:<62} {drivers:>9} {p50:>14} {p99:>14} {mean:>14} {:>9}",
                figure.title(),
                figure.n
            );
        }
        self.figures.push(figure);
    }
}

impl Figure {
    /// What was measured, with its subject.
    pub fn title(&self) -> String {
        let subject = Some(&self.subject).filter(|subject| !subject.is_empty());
        subject.map_or_else(
            || self.name.clone(),
            |subject| format!("{subject}: {}", self.name),
        )
    }

    /// Drivers and values as a table shows them.
    pub fn cells(&self) -> [String; 4] {
        let value = |value: f64| format!("{value:.2} {}", self.unit);
        let drivers = self.drivers.map(|drivers| drivers.to_string());
        [
            drivers.unwrap_or_default(),
            value(self.p50),
            value(self.p99),
            value(self.mean),
        ]
    }
}

/// The median; of an even number of values, the mean of the two in the middle. Zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => 0.0,
        Some(&upper) if sorted.len().is_multiple_of(2) => (sorted[middle - 1] + upper) / 2.0,
        Some(&middle) => middle,
    }
}

/// A unit of time.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Us => "us",
        }
    }

    fn of(self, time: Duration) -> f64 {
        match self {
            Self::Ms => time.as_secs_f64() * 1e3,
            Self::Us => time.as_secs_f64() * 1e6,
        }
    }
}

/// Times each of `n` operations, after a tenth as many to warm up.
pub fn timed(n: usize, mut operation: impl FnMut(usize)) -> Vec<Duration> {
    (0..n.div_ceil(10)).for_each(&mut operation);
    (0..n)
        .map(|number| {
            let begun = Instant::now();
            operation(number);
            begun.elapsed()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Figure, median};

    #[test]
    fn every_line_has_the_same_fields() {
        let figure = |map: &str, drivers| Figure {
            subject: String::new(),
            name: "route of a pair".to_owned(),
            unit: "us",
            p50: 1.0,
            p99: 2.5,
            mean: 1.5,
            n: 7,
            map: map.to_owned(),
            drivers,
        };
        let line = |figure: Figure| serde_json::to_string(&figure).expect("a form in JSON");
        let values = r#""name":"route of a pair","unit":"us","p50":1.0,"p99":2.5,"mean":1.5,"n":7"#;
        assert_eq!(
            line(figure("porto", Some(9))),
            format!(r#"{{{values},"map":"porto","drivers":9}}"#)
        );
        assert_eq!(
            line(figure("", None)),
            format!(r#"{{{values},"map":null,"drivers":null}}"#)
        );
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
