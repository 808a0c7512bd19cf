//! Why a request got nobody in a round, in few words: what stopped most of the drivers who were looked at.
//! The words have no numbers in them, so that rides that ended for the same reason can be counted;
//! [`Round::verdicts`] has every driver.

use std::collections::BTreeMap;

use super::{Choice, Gate, Round};
use crate::policy::Policy;

/// Reasons that are told, at most.
const TOLD_MAX: usize = 2;

/// How many drivers could not come to a request, by what stopped them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortfall(BTreeMap<Stop, u32>);

/// What stopped a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    /// Something that held whatever the others did.
    Gate(Gate),
    /// Another request got them.
    Taken,
}

impl Stop {
    fn words(self) -> &'static str {
        match self {
            Stop::Gate(Gate::OnTrip) => "on a ride",
            Stop::Gate(Gate::SetAside) => "being asked for other rides",
            Stop::Gate(Gate::Product) => "driving for other products",
            Stop::Gate(Gate::Declined) => "unwilling",
            Stop::Gate(Gate::OutOfReach) => "too far away",
            // Enough others were nearer, and other requests got those.
            Stop::Gate(Gate::NotNearest) | Stop::Taken => "taken by other riders",
            Stop::Gate(Gate::Queue) => "behind others in the queue",
            Stop::Gate(Gate::GoingHome) => "on the way home",
            Stop::Gate(Gate::Seats) => "out of seats",
            Stop::Gate(Gate::Detour) => "on another way",
        }
    }
}

impl Shortfall {
    /// For people, after "no driver was free".
    pub fn words(&self) -> String {
        let mut stops: Vec<(u32, Stop)> =
            self.0.iter().map(|(&stop, &count)| (count, stop)).collect();
        stops.sort_by_key(|&(count, stop)| (std::cmp::Reverse(count), stop));
        let words: Vec<&str> = stops
            .iter()
            .take(TOLD_MAX)
            .map(|(_, stop)| stop.words())
            .collect();
        match words.as_slice() {
            [] => "nobody was near".to_owned(),
            words => format!("those near were {}", words.join(" or ")),
        }
    }
}

impl Round {
    /// For every request, by its place: who could not come to it under a choice, and why.
    pub fn shortfalls(&self, policy: &Policy, choice: &Choice) -> Vec<Shortfall> {
        let mut shortfalls = vec![Shortfall::default(); self.requests.len()];
        let mut count = |request: u32, stop: Stop| {
            *shortfalls[request as usize].0.entry(stop).or_default() += 1;
        };
        let eligible = self.eligible(policy);
        for (number, pair) in (0..).zip(&self.pairs) {
            let stop = match eligible.binary_search(&number) {
                Ok(_) => Stop::Taken,
                Err(_) => Stop::Gate(Gate::OutOfReach),
            };
            if choice[pair.request as usize].is_none() {
                count(pair.request, stop);
            }
        }
        for gated in &self.gated {
            if choice[gated.request as usize].is_none() {
                count(gated.request, Stop::Gate(gated.gate));
            }
        }
        shortfalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::{Gated, tests::round as of_times};

    fn gated(round: &mut Round, gates: &[Gate]) {
        for (driver, &gate) in (0..).zip(gates) {
            let request = 0;
            round.gated.push(Gated {
                request,
                driver,
                gate,
            });
        }
    }

    #[test]
    fn what_stopped_most_is_told_first_and_the_rest_is_not() {
        let policy = Policy::batched();
        let mut round = of_times(&[&[10]]);
        round.pairs.clear();
        let words = |round: &Round| round.shortfalls(&policy, &vec![None])[0].words();
        assert_eq!(words(&round), "nobody was near");
        gated(&mut round, &[Gate::Product, Gate::OnTrip, Gate::OnTrip]);
        assert_eq!(
            words(&round),
            "those near were on a ride or driving for other products"
        );
        gated(&mut round, &[Gate::OutOfReach; 9]);
        assert_eq!(words(&round), "those near were too far away or on a ride");
    }

    #[test]
    fn who_went_to_others_or_was_out_of_reach_counts_and_who_got_somebody_does_not() {
        let policy = Policy::batched();
        // One driver, two requests; and one beyond any reach.
        let round = of_times(&[&[10, 90_000], &[20, 90_000]]);
        let choice = round.decide(&policy);
        assert_eq!(choice, [Some(0), None]);
        let shortfalls = round.shortfalls(&policy, &choice);
        assert_eq!(shortfalls[0], Shortfall::default());
        assert_eq!(
            shortfalls[1].words(),
            "those near were too far away or taken by other riders"
        );
    }
}
