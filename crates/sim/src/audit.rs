//! The checkers: what must hold of everything the actors are told, whatever was retried, raced or
//! killed.
//!
//! Counts as a violation:
//! - a driver on two live trips at once, or a trip with two drivers (promise I1);
//! - a version of a trip told in two ways, or an end that is taken back;
//! - a price whose lines do not sum to it, a fare that is not the quoted one, a completed trip whose
//!   receipt is missing, does not sum or is not the up-front fare (I2, I7);
//! - a ledger that does not hold (I7);
//! - an answer that blames the server by its own contract (500, or not what the API says);
//! - a ride that never ends.
//!
//! Does not count: refusals by the rules, races lost, calls that went unanswered and were repeated.
//!
//! Times are the server's own (`assigned_at`, `updated_at`, `ended_at`); two trips of a driver may
//! overlap by a second, which is what clocks of two servers may differ by.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use jitney_proto::{
    billing::v1::Receipt,
    common::v1::Money,
    time::moment,
    trips::v1::{Trip, TripQuote, TripState},
};
use serde::{Deserialize, Serialize};

/// How many trips and drivers' past rides are remembered.
const TRIPS_MAX: usize = 20_000;
const VERSIONS_MAX: usize = 64;
const TENURES_MAX: usize = 16;
/// How many violations are told in full; the others are counted.
const VIOLATIONS_MAX: usize = 100;
const OVERLAP_MAX: TimeDelta = TimeDelta::seconds(1);

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A driver is on at most one live trip.
    OneTripPerDriver,
    /// A trip has at most one driver.
    OneDriverPerTrip,
    /// What has happened stays: a version of a trip is told the same to everybody, and an end is
    /// the end.
    HistoryStays,
    /// Lines sum to the price, and the price stays the quoted one.
    FareIsExact,
    /// Every completed trip has a receipt, equal to the up-front fare.
    ReceiptIsTheFare,
    /// The ledger balances.
    LedgerBalances,
    /// The server does what its API says.
    NoDefects,
    /// Every ride ends.
    RidesEnd,
}

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

/// What is known of the rides so far, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    trips: HashMap<String, BTreeMap<i64, Told>>,
    /// Trips in the order they were first told of, to forget the oldest.
    order: VecDeque<String>,
    /// Per driver, the rides they had, oldest first.
    tenures: HashMap<String, VecDeque<Tenure>>,
    violations: Vec<Violation>,
    violation_count: u64,
}

/// One version of a trip as somebody was told it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    state: TripState,
    /// The driver, if one has the trip.
    driver_id: Option<String>,
}

/// A driver's time with a trip: surely all of it, perhaps longer.
#[derive(Clone, Debug)]
struct Tenure {
    trip_id: String,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    is_reported: bool,
}

impl Audit {
    /// Takes in a trip as somebody was told it, in any order and any number of times.
    pub fn see(&mut self, trip: &Trip) {
        let told = Told {
            state: trip.state(),
            driver_id: driver_of(trip),
        };
        self.compare(trip, &told);
        if let Some(driver_id) = &told.driver_id {
            self.extend_tenure(trip, driver_id);
        }
        let versions = self.trips.entry(trip.trip_id.clone()).or_insert_with(|| {
            self.order.push_back(trip.trip_id.clone());
            BTreeMap::new()
        });
        versions.insert(trip.version, told);
        if versions.len() > VERSIONS_MAX {
            versions.pop_first();
        }
        if self.order.len() > TRIPS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.trips.remove(&oldest);
        }
    }

    fn compare(&mut self, trip: &Trip, told: &Told) {
        let Some(versions) = self.trips.get(&trip.trip_id) else {
            return;
        };
        let (id, version) = (&trip.trip_id, trip.version);
        let same = versions.get(&version);
        if same == Some(told) {
            return;
        }
        let before = versions.range(..version).next_back();
        let after = versions.range(version + 1..).next();
        let mut found = Vec::new();
        if let Some(other) = same {
            let rule = match (&other.driver_id, &told.driver_id) {
                (Some(one), Some(two)) if one != two => Rule::OneDriverPerTrip,
                _ => Rule::HistoryStays,
            };
            found.push((
                rule,
                format!("trip {id} v{version} is told as {other:?} and as {told:?}"),
            ));
        }
        let pairs = [
            before.map(|(at, earlier)| ((*at, earlier), (version, told))),
            after.map(|(at, later)| ((version, told), (*at, later))),
        ];
        for ((from, earlier), (to, later)) in pairs.into_iter().flatten() {
            if is_end(earlier.state) && earlier.state != later.state {
                let what = format!(
                    "trip {id} is {:?} in v{to} after {:?}",
                    later.state, earlier.state
                );
                found.push((Rule::HistoryStays, what));
            }
            // To change drivers a trip has to be without one in a version between.
            if let (Some(one), Some(two)) = (&earlier.driver_id, &later.driver_id)
                && one != two
                && to - from < 2
            {
                let what =
                    format!("trip {id} passed from {one} (v{from}) straight to {two} (v{to})");
                found.push((Rule::OneDriverPerTrip, what));
            }
        }
        for (rule, what) in found {
            self.violation(rule, what);
        }
    }

    fn extend_tenure(&mut self, trip: &Trip, driver_id: &str) {
        let at = |time: &Option<_>| time.as_ref().and_then(|time| moment(time, "").ok());
        let Some(from) = at(&trip.assigned_at) else {
            return;
        };
        let until = at(&trip.ended_at)
            .or_else(|| at(&trip.updated_at))
            .unwrap_or(from)
            .max(from);
        let tenures = self.tenures.entry(driver_id.to_owned()).or_default();
        // The same driver may get the same trip twice; those are two tenures.
        let own = tenures
            .iter()
            .position(|t| t.trip_id == trip.trip_id && t.from == from);
        let own = own.unwrap_or_else(|| {
            let trip_id = trip.trip_id.clone();
            tenures.push_back(Tenure {
                trip_id,
                from,
                until,
                is_reported: false,
            });
            if tenures.len() > TENURES_MAX {
                tenures.pop_front();
            }
            tenures.len() - 1
        });
        tenures[own].until = tenures[own].until.max(until);
        let tenure = tenures[own].clone();
        let clash = tenures.iter_mut().find(|other| {
            other.trip_id != tenure.trip_id
                && !other.is_reported
                && tenure.from + OVERLAP_MAX < other.until
                && other.from + OVERLAP_MAX < tenure.until
        });
        if let Some(other) = clash {
            other.is_reported = true;
            let what = format!(
                "driver {driver_id} had trip {} from {} to {} and trip {} from {} to {}",
                tenure.trip_id, tenure.from, tenure.until, other.trip_id, other.from, other.until
            );
            self.violation(Rule::OneTripPerDriver, what);
        }
    }

    /// Checks that a quote's lines sum to its fare.
    pub fn check_quote(&mut self, quote: &TripQuote) {
        let lines = quote.lines.iter().map(|line| line.amount.as_ref());
        if let Err(what) = sums_to(lines, quote.fare.as_ref()) {
            self.violation(
                Rule::FareIsExact,
                format!("quote {}: {what}", quote.quote_id),
            );
        }
    }

    /// Checks that a trip costs what was quoted.
    pub fn check_fare(&mut self, trip: &Trip, quoted: Option<&Money>) {
        if trip.fare.as_ref() != quoted {
            let what = format!(
                "trip {} costs {} and was quoted at {}",
                trip.trip_id,
                shown(trip.fare.as_ref()),
                shown(quoted)
            );
            self.violation(Rule::FareIsExact, what);
        }
    }

    /// Checks the receipt of a completed trip; `None` is one that did not come.
    pub fn check_receipt(&mut self, trip: &Trip, receipt: Option<&Receipt>) {
        let id = &trip.trip_id;
        let Some(receipt) = receipt else {
            return self.violation(
                Rule::ReceiptIsTheFare,
                format!("completed trip {id} has no receipt"),
            );
        };
        let lines = receipt.lines.iter().map(|line| line.amount.as_ref());
        if let Err(what) = sums_to(lines, receipt.total.as_ref()) {
            self.violation(Rule::FareIsExact, format!("receipt of trip {id}: {what}"));
        }
        if receipt.total != trip.fare {
            let (total, fare) = (shown(receipt.total.as_ref()), shown(trip.fare.as_ref()));
            let what = format!("trip {id} was charged {total}, the up-front fare is {fare}");
            self.violation(Rule::ReceiptIsTheFare, what);
        }
        let driver_id = driver_of(trip).unwrap_or_default();
        if receipt.trip_id != *id
            || receipt.rider_id != trip.rider_id
            || receipt.driver_id != driver_id
        {
            let what = format!(
                "trip {id} of {} with {driver_id} has the receipt of trip {} of {} with {}",
                trip.rider_id, receipt.trip_id, receipt.rider_id, receipt.driver_id
            );
            self.violation(Rule::ReceiptIsTheFare, what);
        }
    }

    /// Notes that a rule was broken.
    pub fn violation(&mut self, rule: Rule, what: String) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            tracing::warn!(?rule, what, "violation");
            self.violations.push(Violation { rule, what });
        }
    }

    /// The violations told in full, and how many there are in all.
    pub fn violations(&self) -> (&[Violation], u64) {
        (&self.violations, self.violation_count)
    }
}

/// Whether a trip is over.
pub(crate) fn is_end(state: TripState) -> bool {
    matches!(
        state,
        TripState::Completed | TripState::Cancelled | TripState::NoShow | TripState::Expired
    )
}

/// The driver who has, or until its end had, a trip.
fn driver_of(trip: &Trip) -> Option<String> {
    let has_driver = matches!(
        trip.state(),
        TripState::Assigned
            | TripState::DriverArrived
            | TripState::InProgress
            | TripState::Completed
            | TripState::Cancelled
            | TripState::NoShow
    );
    let driver = trip.driver.as_ref().filter(|_| has_driver)?;
    Some(driver.driver_id.clone()).filter(|id| !id.is_empty())
}

/// Whether amounts of one currency sum to a total of that currency, exactly.
fn sums_to<'a>(
    lines: impl Iterator<Item = Option<&'a Money>>,
    total: Option<&Money>,
) -> Result<(), String> {
    let total = total.ok_or("there is no total")?;
    let mut sum: i64 = 0;
    for line in lines {
        let line = line.ok_or("a line has no amount")?;
        if line.currency_code != total.currency_code {
            return Err(format!(
                "a line of {} in a total of {}",
                shown(Some(line)),
                shown(Some(total))
            ));
        }
        sum = sum
            .checked_add(line.minor_units)
            .ok_or("the lines sum beyond all bounds")?;
    }
    if sum == total.minor_units {
        Ok(())
    } else {
        Err(format!(
            "the lines sum to {sum} minor units, the total is {}",
            shown(Some(total))
        ))
    }
}

/// An amount for people, in minor units.
fn shown(money: Option<&Money>) -> String {
    money.map_or("nothing".to_owned(), |m| {
        format!("{} minor {}", m.minor_units, m.currency_code)
    })
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
