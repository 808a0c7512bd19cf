//! What a simulation found out, for people and as JSON.

use std::{collections::BTreeMap, fmt, time::Duration};

use jitney_proto::{common::v1, money::Money};
use serde::{Deserialize, Serialize};

use crate::{audit::Violation, chronicle::Facts, config::Config};

mod table;

pub(crate) use table::seconds;

/// What became of the rides that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rides {
    /// Asked for.
    pub requested: u64,
    /// Found live at the start, left by an earlier simulation, and carried on; not in `requested`.
    pub carried_on: u64,
    /// Refused before there was a trip: no quote, no payment, no answer in time.
    pub refused: u64,
    /// Driven to the end.
    pub served: u64,
    /// Ended without a driver.
    pub expired: u64,
    /// Called off, by whomever.
    pub cancelled: u64,
    /// Ended because the rider did not come.
    pub no_show: u64,
    /// Not ended when the simulation was.
    pub unfinished: u64,
}

/// What became of offers to drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// Came in.
    pub received: u64,
    /// Accepted in time.
    pub accepted: u64,
    /// Declined on purpose.
    pub declined: u64,
    /// Left to run out on purpose.
    pub ignored: u64,
    /// Withdrawn, or over before the answer arrived.
    pub lost: u64,
    /// Rides given back after they were accepted.
    pub given_back: u64,
}

/// What became of measured positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pings {
    /// Sent.
    pub sent: u64,
    /// Taken by the server.
    pub accepted: u64,
    /// Refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// How the drivers' connections did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Opened and welcomed.
    pub opened: u64,
    /// Of those, ones that resumed a session.
    pub resumed: u64,
    /// Broken off, by whomever, while the driver was on shift.
    pub lost: u64,
    /// Tries that did not get as far as a welcome.
    pub failed: u64,
    /// Messages that came a second time and were passed over.
    pub repeated_messages: u64,
}

/// A span of waiting, over many rides: milliseconds of real time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// How many rides.
    pub rides: u64,
    /// Half of them waited this long or less.
    pub median_ms: u64,
    /// 95 of 100 waited this long or less.
    pub p95_ms: u64,
    /// The longest wait.
    pub max_ms: u64,
}

impl Waits {
    /// Sums up waits, in any order.
    pub(crate) fn of(mut waits_ms: Vec<u64>) -> Self {
        waits_ms.sort_unstable();
        // The nearest-rank percentile: the smallest wait that so many of them do not exceed.
        let rank = |percent: usize| (waits_ms.len() * percent).div_ceil(100).max(1) - 1;
        let at = |index: usize| waits_ms.get(index).copied().unwrap_or(0);
        Self {
            rides: waits_ms.len() as u64,
            median_ms: at(rank(50)),
            p95_ms: at(rank(95)),
            max_ms: waits_ms.last().copied().unwrap_or(0),
        }
    }
}

/// Sums of money by ISO 4217 code, in minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fares(pub BTreeMap<String, i64>);

impl Fares {
    /// Adds an amount, or says that the sum would not fit.
    pub(crate) fn add(&mut self, money: &v1::Money) -> bool {
        let sum = self.0.entry(money.currency_code.clone()).or_default();
        let Some(more) = sum.checked_add(money.minor_units) else {
            return false;
        };
        *sum = more;
        true
    }
}

impl fmt::Display for Fares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (code, &minor)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match code.parse() {
                Ok(currency) => write!(f, "{comma}{}", Money::new(minor, currency))?,
                Err(_) => write!(f, "{comma}{minor} minor units of {code:?}")?,
            }
        }
        Ok(())
    }
}

/// What the ledger's own check said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerCheck {
    /// Everything holds.
    pub balanced: bool,
    /// How many entries there are.
    pub entries: i64,
    /// Entries that do not sum to zero.
    pub unbalanced_entries: i64,
    /// Cached balances that differ from their postings.
    pub wrong_balances: i64,
    /// Captured charges that differ from their entry.
    pub wrong_charges: i64,
}

/// What a simulation found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The settings it ran with.
    pub config: Config,
    /// The map's name, and the id of its content.
    pub map: String,
    /// How long it took, real time.
    #[serde(with = "humantime_serde")]
    pub elapsed: Duration,
    /// True when it was stopped before it was through; what was under way then was called off.
    pub was_stopped: bool,
    /// The rides.
    pub rides: Rides,
    /// From the request until a driver had it.
    pub assignment_wait: Waits,
    /// From the request until the driver was there.
    pub pickup_wait: Waits,
    /// What riders were charged.
    pub fares: Fares,
    /// The offers.
    pub offers: Offers,
    /// The positions.
    pub pings: Pings,
    /// The drivers' connections.
    pub connections: Connections,
    /// Road driven, metres.
    pub driven_meters: u64,
    /// Calls that got their answer.
    pub calls_answered: u64,
    /// Tries of calls that did not, by route and reason. Refusals by the rules are among them.
    pub calls_failed: BTreeMap<String, u64>,
    /// The ledger's check; absent when it could not be asked.
    pub ledger: Option<LedgerCheck>,
    /// Rules that were broken, the first hundred in full.
    pub violations: Vec<Violation>,
    /// How many were broken in all.
    pub violation_count: u64,
}

impl Report {
    /// Whether no rule was broken.
    pub fn ok(&self) -> bool {
        self.violation_count == 0
    }

    pub(crate) fn new(
        config: Config,
        map: String,
        elapsed: Duration,
        was_stopped: bool,
        ledger: Option<LedgerCheck>,
        facts: &Facts,
    ) -> Self {
        let (assignment_wait, pickup_wait) = facts.waits();
        let (violations, violation_count) = facts.audit.violations();
        Self {
            config,
            map,
            elapsed,
            was_stopped,
            rides: facts.rides.clone(),
            assignment_wait,
            pickup_wait,
            fares: facts.fares.clone(),
            offers: facts.offers.clone(),
            pings: facts.pings.clone(),
            connections: facts.connections.clone(),
            driven_meters: facts.driven_m.round() as u64,
            calls_answered: facts.calls_answered,
            calls_failed: facts.calls_failed.clone(),
            ledger,
            violations: violations.to_vec(),
            violation_count,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::Rule;

    #[test]
    fn percentiles_are_nearest_rank() {
        assert_eq!(Waits::of(vec![]), Waits::default());
        let one = Waits {
            rides: 1,
            median_ms: 7,
            p95_ms: 7,
            max_ms: 7,
        };
        assert_eq!(Waits::of(vec![7]), one);
        let hundred = Waits::of((1..=100).rev().collect());
        assert_eq!(
            (hundred.median_ms, hundred.p95_ms, hundred.max_ms),
            (50, 95, 100)
        );
        let four = Waits::of(vec![4, 1, 3, 2]);
        assert_eq!((four.median_ms, four.p95_ms), (2, 4));
    }

    #[test]
    fn fares_sum_exactly_per_currency() {
        let money = |minor_units, code: &str| v1::Money {
            currency_code: code.into(),
            minor_units,
        };
        let mut fares = Fares::default();
        assert_eq!(fares.to_string(), "none");
        assert!(fares.add(&money(1_234, "EUR")));
        assert!(fares.add(&money(500, "JPY")));
        assert!(fares.add(&money(1, "EUR")));
        assert_eq!(fares.to_string(), "EUR 12.35, JPY 500");
        assert!(!fares.add(&money(i64::MAX, "EUR")));
        assert_eq!(fares.0["EUR"], 1_235);
    }

    #[test]
    fn a_report_reads_and_survives_json() {
        let mut facts = Facts {
            rides: Rides {
                requested: 3,
                served: 2,
                expired: 1,
                ..Rides::default()
            },
            assignment_waits_ms: [1_000, 2_050].into(),
            ..Facts::default()
        };
        facts
            .calls_failed
            .insert("POST /v1/trips: 503 UNAVAILABLE".into(), 4);
        let finish = |facts: &Facts| {
            let elapsed = Duration::from_secs(90);
            Report::new(
                Config::default(),
                "Monaco".into(),
                elapsed,
                false,
                None,
                facts,
            )
        };
        let report = finish(&facts);
        assert!(report.ok());
        let text = report.to_string();
        assert!(
            text.contains("3 requested, 2 served, 1 expired\n"),
            "{text}"
        );
        assert!(text.contains("median 1.0 s, p95 2.0 s"), "{text}");
        assert!(
            text.contains("4 × POST /v1/trips: 503 UNAVAILABLE"),
            "{text}"
        );
        assert!(text.contains("all kept"), "{text}");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);

        facts.audit.violation(Rule::RidesEnd, "trip t hangs".into());
        let report = finish(&facts);
        assert!(!report.ok());
        assert!(report.to_string().contains("RidesEnd: trip t hangs"));
        assert!(report.to_string().contains("seed 1"));
    }
}
