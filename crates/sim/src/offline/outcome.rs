//! What came of a day: counts, waits, kilometres, and how evenly drivers earned.

use std::time::Duration;

use serde::Serialize;

use super::cab::Cab;

/// What became of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rides {
    /// Asked for.
    pub requested: u64,
    /// Driven to their end.
    pub served: u64,
    /// Given to a driver who had another ride to end first.
    pub chained: u64,
    /// Given to a driver whose car they shared with another party.
    pub joined: u64,
    /// The rider gave up while a driver was looked for.
    pub gave_up: u64,
    /// The rider called the ride off while the driver was on the way.
    pub called_off: u64,
    /// Nobody was found in time.
    pub expired: u64,
}

/// What became of offers to drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offers {
    /// Made.
    pub made: u64,
    /// Accepted.
    pub accepted: u64,
    /// Declined.
    pub declined: u64,
    /// Not answered in time.
    pub expired: u64,
    /// Taken back, because the rider gave up or the driver left.
    pub withdrawn: u64,
    /// Accepted, and given back at once because there was no way.
    pub given_back: u64,
}

/// What became of positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pings {
    /// Sent.
    pub sent: u64,
    /// Not believed.
    pub refused: u64,
}

/// Dispatch rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rounds {
    /// Held.
    pub held: u64,
    /// Requests in a round, on average.
    pub requests_mean: f64,
    /// Requests in the largest.
    pub requests_max: u64,
    /// Real time a round took, milliseconds, on average.
    pub plan_ms_mean: f64,
    /// And at most.
    pub plan_ms_max: f64,
}

/// A span of time over many rides, seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spans {
    /// How many.
    pub rides: u64,
    /// On average.
    pub mean_s: f64,
    /// Half took this long or less.
    pub median_s: f64,
    /// 95 of 100 took this long or less.
    pub p95_s: f64,
}

/// What came of a run. Times are virtual but for `wall_s` and the rounds'.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// The policy's name.
    pub policy: String,
    /// How many drivers.
    pub drivers: u32,
    /// The seed.
    pub seed: u64,
    /// The requests.
    pub rides: Rides,
    /// Served ones of those requested, 0 to 1.
    pub served_share: f64,
    /// From the request until a driver had it; those that got one.
    pub assignment: Spans,
    /// From the request until the car was at the kerb; those it came to.
    pub pickup: Spans,
    /// The drive to the kerb alone.
    pub pickup_drive: Spans,
    /// By how much longer those who shared a car were in it than alone, in percent of that.
    pub detour_percent: f64,
    /// Driven without a rider, kilometres.
    pub empty_km: f64,
    /// Driven with one, kilometres.
    pub loaded_km: f64,
    /// Share of the drivers' time on shift with a rider or on the way to one, 0 to 1.
    pub utilisation: f64,
    /// Gini coefficient of the drivers' income: 0 when all earn the same, 1 when one earns it all.
    pub income_gini: f64,
    /// The offers.
    pub offers: Offers,
    /// The rounds.
    pub rounds: Rounds,
    /// The positions.
    pub pings: Pings,
    /// From the first moment until the last ride had ended.
    pub virtual_s: f64,
    /// Real time it took.
    pub wall_s: f64,
    /// How many things happened.
    pub events: u64,
    /// SHA-256 of all that happened, in order: equal for equal runs.
    pub event_log_hash: String,
}

/// What is counted while the city lives.
#[derive(Default)]
pub(crate) struct Tally {
    pub rides: Rides,
    pub offers: Offers,
    pub pings: Pings,
    rounds: Rounds,
    round_requests: u64,
    round_time: Duration,
    pub assign_waits_ms: Vec<i64>,
    pub pickup_waits_ms: Vec<i64>,
    pub pickup_drives_ms: Vec<i64>,
    /// How long those who shared a car were in it, and would have been alone.
    pub shared_ms: i64,
    pub shared_quoted_ms: i64,
    pub empty_mm: u64,
    pub loaded_mm: u64,
}

impl Tally {
    pub fn round(&mut self, requests: usize, took: Duration) {
        self.rounds.held += 1;
        self.round_requests += requests as u64;
        self.rounds.requests_max = self.rounds.requests_max.max(requests as u64);
        self.round_time += took;
        let took_ms = took.as_secs_f64() * 1000.0;
        self.rounds.plan_ms_max = self.rounds.plan_ms_max.max(took_ms);
    }

    /// Sums it up, but for what the tally does not know: who, how long, and the log.
    pub fn outcome(self, cabs: &[Cab]) -> Outcome {
        let sum = |of: fn(&Cab) -> i64| cabs.iter().map(of).sum::<i64>();
        let incomes: Vec<i64> = cabs.iter().map(|cab| cab.income).collect();
        let mut rounds = self.rounds;
        rounds.requests_mean = ratio(self.round_requests as f64, rounds.held as f64);
        rounds.plan_ms_mean = ratio(self.round_time.as_secs_f64() * 1000.0, rounds.held as f64);
        Outcome {
            served_share: ratio(self.rides.served as f64, self.rides.requested as f64),
            rides: self.rides,
            assignment: spans(self.assign_waits_ms),
            pickup: spans(self.pickup_waits_ms),
            pickup_drive: spans(self.pickup_drives_ms),
            detour_percent: ratio(
                (self.shared_ms - self.shared_quoted_ms) as f64 * 100.0,
                self.shared_quoted_ms as f64,
            ),
            empty_km: self.empty_mm as f64 / 1e6,
            loaded_km: self.loaded_mm as f64 / 1e6,
            utilisation: ratio(
                sum(|cab| cab.engaged_ms) as f64,
                sum(|cab| cab.shift_ms) as f64,
            ),
            income_gini: gini(incomes),
            offers: self.offers,
            rounds,
            pings: self.pings,
            ..Outcome::default()
        }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn spans(mut times_ms: Vec<i64>) -> Spans {
    times_ms.sort_unstable();
    // The nearest-rank percentile: the smallest time that so many of them do not exceed.
    let rank = |percent: usize| (times_ms.len() * percent).div_ceil(100).max(1) - 1;
    let at = |index: usize| times_ms.get(index).copied().unwrap_or(0) as f64 / 1000.0;
    let total: i64 = times_ms.iter().sum();
    Spans {
        rides: times_ms.len() as u64,
        mean_s: ratio(total as f64 / 1000.0, times_ms.len() as f64),
        median_s: at(rank(50)),
        p95_s: at(rank(95)),
    }
}

/// The Gini coefficient of incomes that are not negative; 0 when nobody has any.
fn gini(mut incomes: Vec<i64>) -> f64 {
    incomes.sort_unstable();
    let (count, total) = (incomes.len() as f64, incomes.iter().sum::<i64>() as f64);
    let weighted: f64 = (1..)
        .zip(&incomes)
        .map(|(rank, &income)| f64::from(rank) * income as f64)
        .sum();
    if total > 0.0 {
        2.0 * weighted / (count * total) - (count + 1.0) / count
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomes_are_even_or_not() {
        assert!(gini(vec![5; 40]).abs() < 1e-9);
        assert!((gini([vec![0; 99], vec![7]].concat()) - 0.99).abs() < 1e-9);
        assert!((gini(vec![1, 2, 3, 4]) - 0.25).abs() < 1e-9);
        assert_eq!(gini(vec![0, 0]), 0.0);
        assert_eq!(gini(vec![]), 0.0);
    }

    #[test]
    fn spans_have_a_mean_and_ranks() {
        assert_eq!(spans(vec![]), Spans::default());
        let hundred = spans((1..=100).rev().map(|s| s * 1000).collect());
        assert_eq!(hundred.mean_s, 50.5);
        assert_eq!((hundred.median_s, hundred.p95_s), (50.0, 95.0));
    }
}
