//! A dispatch round: who asks, who could come and how soon, and who is chosen. Pure: the same round is
//! decided the same way on every machine, whatever happened since.
//!
//! A round keeps all it was decided from. [`Round::decide`] decides it, again if need be or under
//! another policy; [`Round::verdicts`] says of every driver who was looked at why it was, or was not,
//! them. How a round is put together from a living fleet is in [`gather`].

pub mod gather;
pub mod record;
pub mod shortfall;

use jitney_proto::ids::{DriverId, TripId};
use serde::{Deserialize, Serialize};

use crate::{
    assignment::{self, assign},
    policy::{Method, Policy, millis},
    rides::Beside,
};

/// A request in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The trip.
    pub trip: TripId,
    /// How long the rider has waited, milliseconds.
    pub waited_ms: u32,
    /// How far a driver may be, in driving milliseconds.
    pub reach_ms: u32,
    /// There were more eligible drivers within reach than were considered.
    pub has_more: bool,
}

/// A driver in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// The driver.
    pub id: DriverId,
    /// How long they have been idle, milliseconds.
    pub idle_ms: u32,
}

/// A driver who could take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The request's place in the round.
    pub request: u32,
    /// The driver's place in the round.
    pub driver: u32,
    /// How soon they are at the pick-up, milliseconds.
    pub time_ms: u32,
    /// Of that, until they are free; 0 for those who are.
    pub frees_in_ms: u32,
    /// Their place in the queue that the request is served from; 0 when it is served by time.
    pub queue_place: u32,
    /// What the request adds to their driving beyond the rider's own way, milliseconds: for those who
    /// are free the way to the pick-up.
    pub drive_ms: u32,
    /// The ride of theirs that the request would come on top of.
    pub beside: Option<Beside>,
}

impl Pair {
    /// What choosing it takes, in milliseconds: the mean of the rider's waiting and the driver's
    /// driving. For a driver who is free that is the time to the pick-up; a car that shares, or comes
    /// from nearby a little later, spares driving.
    pub fn effort_ms(&self) -> u32 {
        u32::midpoint(self.time_ms, self.drive_ms)
    }
}

/// Why a driver could not take a request, whatever the others did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Gate {
    /// They have a ride, or two.
    OnTrip,
    /// They are thinking about an offer, or set aside for a rider.
    SetAside,
    /// They do not serve the product.
    Product,
    /// They declined this request, let it pass, or gave it back.
    Declined,
    /// They are farther than the request's reach, or there is no way.
    OutOfReach,
    /// They are within reach, and enough others are nearer.
    NotNearest,
    /// Others have queued for longer at the request's zone, or they do not queue there at all.
    Queue,
    /// They are going home, and this is not on the way.
    GoingHome,
    /// They have a ride to share, but not the seats.
    Seats,
    /// They have a ride to share, but one of the parties would be under way or wait for too long.
    Detour,
}

/// A driver who was looked at for a request and stopped by a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gated {
    /// The request's place in the round.
    pub request: u32,
    /// The driver's place in the round.
    pub driver: u32,
    /// What stopped them.
    pub gate: Gate,
}

/// The inputs of a round. Requests are in the order of their trips, drivers of their ids, pairs and
/// gated of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Who asks.
    pub requests: Vec<Request>,
    /// Who was looked at.
    pub drivers: Vec<Driver>,
    /// Who could.
    pub pairs: Vec<Pair>,
    /// Who could not. Those near the requests only.
    pub gated: Vec<Gated>,
}

/// For each request the number of its pair, if it gets a driver.
pub type Choice = Vec<Option<u32>>;

impl Round {
    /// Decides the round.
    pub fn decide(&self, policy: &Policy) -> Choice {
        let eligible = self.eligible(policy);
        match policy.method {
            Method::Immediate => self.nearest_first(&eligible),
            Method::Batched => self.least_cost(policy, &eligible),
        }
    }

    /// Numbers of the pairs that the policy looks at: those within its reach, of drivers who are free soon
    /// enough. However few candidates it has, all pairs that were kept count: more of them are looked at
    /// where requests take them from each other.
    fn eligible(&self, policy: &Policy) -> Vec<u32> {
        let within = |pair: &Pair| {
            let waited_ms = self.requests[pair.request as usize].waited_ms;
            let chain_ms = millis(policy.chain_ahead);
            pair.time_ms <= policy.reach_ms(waited_ms) && u64::from(pair.frees_in_ms) <= chain_ms
        };
        let numbered = (0..).zip(&self.pairs);
        numbered
            .filter(|(_, pair)| within(pair))
            .map(|(number, _)| number)
            .collect()
    }

    fn nearest_first(&self, eligible: &[u32]) -> Choice {
        let mut choice = vec![None; self.requests.len()];
        let mut taken = vec![false; self.drivers.len()];
        let by_request = eligible
            .chunk_by(|&a, &b| self.pairs[a as usize].request == self.pairs[b as usize].request);
        for pairs in by_request {
            let free = pairs
                .iter()
                .filter(|&&number| !taken[self.pairs[number as usize].driver as usize]);
            let best = free.min_by_key(|&&number| {
                let pair = &self.pairs[number as usize];
                (pair.queue_place, pair.effort_ms(), pair.driver)
            });
            if let Some(&best) = best {
                let pair = &self.pairs[best as usize];
                taken[pair.driver as usize] = true;
                choice[pair.request as usize] = Some(best);
            }
        }
        choice
    }

    fn least_cost(&self, policy: &Policy, eligible: &[u32]) -> Choice {
        let pairs: Vec<assignment::Pair> = eligible
            .iter()
            .map(|&number| {
                let pair = &self.pairs[number as usize];
                assignment::Pair {
                    row: pair.request,
                    column: pair.driver,
                    cost: self.cost(policy, pair),
                }
            })
            .collect();
        let mut unserved: Vec<i64> = self
            .requests
            .iter()
            .map(|request| unserved_cost(policy, request))
            .collect();
        for &number in eligible {
            let pair = &self.pairs[number as usize];
            let unserved = &mut unserved[pair.request as usize];
            *unserved = (*unserved).max(self.cost(policy, pair) + 1);
        }
        let assigned = assign(self.requests.len(), self.drivers.len(), &pairs, &unserved);
        let mut choice = vec![None; self.requests.len()];
        for &number in eligible {
            let pair = &self.pairs[number as usize];
            if assigned[pair.request as usize] == Some(pair.driver) {
                choice[pair.request as usize] = Some(number);
            }
        }
        choice
    }

    /// What a pair costs under a policy, in milliseconds of driving.
    pub fn cost(&self, policy: &Policy, pair: &Pair) -> i64 {
        // A place in the queue is worth more than any driving.
        const QUEUE_PLACE_MS: i64 = 24 * 3_600_000;
        let idle_ms = u64::from(self.drivers[pair.driver as usize].idle_ms);
        let idle_max = millis(policy.idle_max);
        let percent = u64::from(policy.idle_percent);
        // The credit is taken off from the same for everybody, so that no cost is below 0.
        let uncredited = (idle_max - idle_ms.min(idle_max)) * percent / 100;
        i64::from(pair.effort_ms())
            + i64::try_from(uncredited).unwrap_or(i64::MAX / 4)
            + i64::from(pair.queue_place) * QUEUE_PLACE_MS
    }

    /// Of every driver who was looked at for a request: what became of it under a choice, in the order
    /// of the drivers.
    pub fn verdicts(&self, policy: &Policy, choice: &Choice, request: u32) -> Vec<Verdict> {
        let mut request_of = vec![None; self.drivers.len()];
        for pair in choice
            .iter()
            .flatten()
            .map(|&number| self.pairs[number as usize])
        {
            request_of[pair.driver as usize] = Some(pair.request);
        }
        let eligible = self.eligible(policy);
        let of_request = (0..)
            .zip(&self.pairs)
            .filter(|(_, pair)| pair.request == request);
        let weighed = of_request.map(|(number, pair)| Verdict {
            driver: pair.driver,
            time_ms: Some(pair.time_ms),
            cost: Some(self.cost(policy, pair)),
            reason: match request_of[pair.driver as usize] {
                Some(own) if own == request => Reason::Chosen,
                _ if eligible.binary_search(&number).is_err() => Reason::Gate(Gate::OutOfReach),
                Some(other) => Reason::TakenBy(other),
                None => Reason::Dearer,
            },
        });
        let gated = self.gated.iter().filter(|gated| gated.request == request);
        let stopped = gated.map(|gated| Verdict {
            driver: gated.driver,
            time_ms: None,
            cost: None,
            reason: Reason::Gate(gated.gate),
        });
        let mut verdicts: Vec<Verdict> = weighed.chain(stopped).collect();
        verdicts.sort_by_key(|verdict| verdict.driver);
        verdicts
    }
}

/// What leaving a request for the next round costs: more than any driver within reach, and more the
/// longer its rider has waited.
fn unserved_cost(policy: &Policy, request: &Request) -> i64 {
    let reach_max = millis(policy.reach_max);
    let idle = millis(policy.idle_max) * u64::from(policy.idle_percent) / 100;
    let waited = u64::from(request.waited_ms) * u64::from(policy.waiting_percent) / 100;
    i64::try_from(reach_max + idle + 1 + waited).unwrap_or(i64::MAX / 4)
}

/// What became of a driver in a round, as one request sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The driver's place in the round.
    pub driver: u32,
    /// How soon they would have been there, milliseconds; `None` when nobody asked.
    pub time_ms: Option<u32>,
    /// What that costs under the policy, in milliseconds of driving.
    pub cost: Option<i64>,
    /// Why it was them, or was not.
    pub reason: Reason,
}

/// Why a driver was chosen or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is them.
    Chosen,
    /// They are chosen for another request, by its place in the round.
    TakenBy(u32),
    /// They were free to be chosen, and somebody else costs less.
    Dearer,
    /// They could not be.
    Gate(Gate),
}

#[cfg(test)]
mod tests;
