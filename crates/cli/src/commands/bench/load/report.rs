//! What came of a scenario, in ghz's words: its JSON has these fields, durations in nanoseconds.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Serialize, Serializer};
use tonic::Status;

/// The percentiles that are told, as ghz has them.
const PERCENTAGES: [u32; 7] = [10, 25, 50, 75, 90, 95, 99];

/// What came of one scenario. Latencies are of the calls that were answered OK, as with ghz.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What the scenario is called.
    pub name: String,
    /// Calls that ended, well or not.
    pub count: u64,
    /// How long it took.
    #[serde(serialize_with = "nanoseconds")]
    pub total: Duration,
    /// The mean latency.
    #[serde(serialize_with = "nanoseconds")]
    pub average: Duration,
    /// The lowest latency.
    #[serde(serialize_with = "nanoseconds")]
    pub fastest: Duration,
    /// The highest latency.
    #[serde(serialize_with = "nanoseconds")]
    pub slowest: Duration,
    /// Calls that ended in a second.
    pub rps: f64,
    /// What failed calls were told, and how often.
    pub error_distribution: BTreeMap<String, u64>,
    /// How calls ended, by the names of gRPC's codes.
    pub status_code_distribution: BTreeMap<String, u64>,
    /// Percentiles of the latency; empty when no call was answered OK.
    pub latency_distribution: Vec<Percentile>,
}

/// How long that share of the calls took at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentile {
    /// The share.
    pub percentage: u32,
    /// How long.
    #[serde(serialize_with = "nanoseconds")]
    pub latency: Duration,
}

/// Calls as they end.
#[derive(Default)]
pub struct Calls {
    latencies: Vec<Duration>,
    errors: BTreeMap<String, u64>,
    codes: BTreeMap<String, u64>,
}

impl Calls {
    /// Counts one.
    pub fn add(&mut self, latency: Duration, outcome: Result<(), Status>) {
        match outcome {
            Ok(()) => {
                self.latencies.push(latency);
                *self.codes.entry("OK".to_owned()).or_default() += 1;
            }
            Err(status) => {
                let code = format!("{:?}", status.code());
                let told = format!("rpc error: code = {code} desc = {}", status.message());
                *self.errors.entry(told).or_default() += 1;
                *self.codes.entry(code).or_default() += 1;
            }
        }
    }

    /// Counts those of another.
    pub fn join(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
    }

    /// Tells of all of them, which took `total` together.
    pub fn report(mut self, name: &str, total: Duration) -> Report {
        self.latencies.sort_unstable();
        let count: u64 = self.codes.values().sum();
        let sum: Duration = self.latencies.iter().sum();
        let average = u32::try_from(self.latencies.len()).ok();
        let last = self.latencies.len().saturating_sub(1);
        let at = |percentage: u32| {
            let place = (last as f64 * f64::from(percentage) / 100.0).round() as usize;
            let latency = *self.latencies.get(place)?;
            Some(Percentile {
                percentage,
                latency,
            })
        };
        Report {
            name: name.to_owned(),
            count,
            total,
            average: average
                .and_then(|count| sum.checked_div(count))
                .unwrap_or_default(),
            fastest: self.latencies.first().copied().unwrap_or_default(),
            slowest: self.latencies.last().copied().unwrap_or_default(),
            rps: count as f64 / total.as_secs_f64().max(1e-9),
            latency_distribution: PERCENTAGES.into_iter().filter_map(at).collect(),
            error_distribution: self.errors,
            status_code_distribution: self.codes,
        }
    }
}

impl Report {
    /// Whether some call was answered OK.
    pub fn has_answers(&self) -> bool {
        !self.latency_distribution.is_empty()
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        writeln!(f, "{}", self.name)?;
        writeln!(f, "  calls      {}", self.count)?;
        writeln!(f, "  took       {:.2} s", self.total.as_secs_f64())?;
        writeln!(f, "  a second   {:.1}", self.rps)?;
        if self.has_answers() {
            writeln!(f, "  average    {}", ms(self.average))?;
            writeln!(f, "  fastest    {}", ms(self.fastest))?;
            writeln!(f, "  slowest    {}", ms(self.slowest))?;
        }
        for at in &self.latency_distribution {
            writeln!(f, "  {:>3} % in   {}", at.percentage, ms(at.latency))?;
        }
        for (code, count) in &self.status_code_distribution {
            writeln!(f, "  [{code}]  {count}")?;
        }
        for (error, count) in &self.error_distribution {
            writeln!(f, "  {count} × {error}")?;
        }
        Ok(())
    }
}

fn nanoseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_fields_of_ghz() {
        let mut calls = Calls::default();
        for ms in 1..=100 {
            calls.add(Duration::from_millis(ms), Ok(()));
        }
        let mut others = Calls::default();
        others.add(Duration::ZERO, Err(Status::unavailable("away")));
        calls.join(others);
        let report = calls.report("all", Duration::from_secs(2));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["count"], 101);
        assert_eq!(json["total"], 2_000_000_000_u64);
        assert_eq!(json["average"], 50_500_000);
        assert_eq!(json["fastest"], 1_000_000);
        assert_eq!(json["slowest"], 100_000_000);
        assert_eq!(json["rps"], 50.5);
        let codes = serde_json::json!({"OK": 100, "Unavailable": 1});
        assert_eq!(json["statusCodeDistribution"], codes);
        let error = "rpc error: code = Unavailable desc = away";
        assert_eq!(json["errorDistribution"][error], 1);
        assert_eq!(json["latencyDistribution"][6]["percentage"], 99);
        assert_eq!(json["latencyDistribution"][6]["latency"], 99_000_000);
        assert!(
            report.to_string().contains("   99 % in   99.00 ms"),
            "{report}"
        );
    }

    #[test]
    fn nothing_answered_is_no_latency() {
        let mut calls = Calls::default();
        calls.add(Duration::ZERO, Err(Status::unavailable("away")));
        let report = calls.report("none", Duration::from_secs(1));
        assert!(!report.has_answers());
        assert_eq!((report.count, report.average), (1, Duration::ZERO));
    }
}
