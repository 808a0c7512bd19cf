//! Walking outwards from a place against the traffic: which approaches reach it soonest.
//!
//! For a dense fleet this finds the nearest drivers without looking at the others: settle approach
//! after approach, look at the drivers on the arcs of each ([`RoadNetwork::arcs_of`]), stop when the
//! next is farther than the worst driver kept. A driver with `rest` milliseconds left to the end of
//! an arc whose approach was settled at `time_ms` needs `rest + time_ms`; one that shares the target's
//! segment may also drive straight to it ([`RoadNetwork::time_along_segment_ms`]); the least of what
//! applies is its travel time.
//!
//! Walking the whole map this way costs as much as the map is large; the settle budget is for
//! handing over to [`TargetSearch`](crate::TargetSearch) before that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::RoadNetwork;
use crate::graph::ApproachId;
use crate::hierarchy::UNREACHABLE_MS;
use crate::snap::Snap;

/// An approach whose travel time to the target is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The approach.
    pub approach: ApproachId,
    /// Fastest travel time from the end of its arcs to the target, in milliseconds, turn included.
    pub time_ms: u32,
}

/// Approaches by increasing travel time to a target: Dijkstra's algorithm on reversed turns. Owns its
/// scratch space: keep one per thread, aim it again and again.
pub struct BackwardExpansion {
    network: RoadNetwork,
    budget: usize,
    frontier: Frontier,
}

impl BackwardExpansion {
    /// An expansion on that network, aimed nowhere yet.
    #[must_use]
    pub fn new(network: RoadNetwork) -> Self {
        let frontier = Frontier::new(network.approach_count());
        Self {
            network,
            budget: 0,
            frontier,
        }
    }

    /// Starts again at another target, to settle at most `settle_budget` approaches.
    pub fn aim(&mut self, target: &Snap, settle_budget: usize) {
        self.budget = settle_budget;
        self.frontier.clear();
        for stub in self.network.stubs_in(target) {
            self.frontier.reach(stub.approach, stub.time_ms);
        }
    }

    /// Goes on with the same roads under other travel times; the next aim counts. Costs nothing.
    ///
    /// # Panics
    /// When it is another map.
    pub fn rebind(&mut self, network: RoadNetwork) {
        assert_eq!(self.network.id(), network.id(), "the roads are the same");
        self.network = network;
    }

    /// The network it walks.
    #[must_use]
    pub fn network(&self) -> &RoadNetwork {
        &self.network
    }

    /// How many more approaches it may settle.
    #[must_use]
    pub fn budget_left(&self) -> usize {
        self.budget
    }

    /// A time below which no approach is left to settle: when it exceeds what the caller already holds,
    /// walking on cannot help. `None` when every approach that reaches the target has been settled.
    #[must_use]
    pub fn next_time_ms(&self) -> Option<u32> {
        self.frontier
            .queue
            .peek()
            .map(|&Reverse(entry)| unpacked(entry).1)
    }
}

impl Iterator for BackwardExpansion {
    type Item = Settled;

    /// The next approach by travel time (equal times: by number); `None` when the budget is spent
    /// or nothing is left.
    fn next(&mut self) -> Option<Settled> {
        if self.budget == 0 {
            return None;
        }
        let (approach, time_ms) = self.frontier.settle()?;
        self.budget -= 1;
        let turns = &self.network.topology.turns;
        for inbound in self.network.metric.inbound(turns, approach) {
            let time_ms = time_ms.saturating_add(inbound.time_ms);
            self.frontier.reach(ApproachId(inbound.from), time_ms);
        }
        Some(Settled { approach, time_ms })
    }
}

/// The approaches reached but not settled, and the best times so far.
struct Frontier {
    /// The current aim; an entry of `reached` stamped otherwise is left over from an earlier one.
    generation: u32,
    reached: Vec<Reached>,
    /// Soonest first, [`packed`]. An approach reached again, sooner, is in it twice.
    queue: BinaryHeap<Reverse<u64>>,
}

#[derive(Clone, Copy)]
struct Reached {
    generation: u32,
    time_ms: u32,
}

impl Frontier {
    const NEVER: Reached = Reached {
        generation: 0,
        time_ms: UNREACHABLE_MS,
    };

    fn new(approaches: usize) -> Self {
        Self {
            generation: 0,
            reached: vec![Self::NEVER; approaches],
            queue: BinaryHeap::new(),
        }
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Stamps of four thousand million aims ago would look fresh.
            self.reached.fill(Self::NEVER);
            self.generation = 1;
        }
    }

    fn reach(&mut self, approach: ApproachId, time_ms: u32) {
        let reached = &mut self.reached[approach.index()];
        let is_known = reached.generation == self.generation;
        let best_ms = if is_known {
            reached.time_ms
        } else {
            UNREACHABLE_MS
        };
        if time_ms < best_ms {
            *reached = Reached {
                generation: self.generation,
                time_ms,
            };
            self.queue.push(Reverse(packed(approach, time_ms)));
        }
    }

    /// Takes the soonest approach off the queue.
    fn settle(&mut self) -> Option<(ApproachId, u32)> {
        loop {
            let Reverse(entry) = self.queue.pop()?;
            let (approach, time_ms) = unpacked(entry);
            // Otherwise it was reached sooner after this entry was queued, and is settled already.
            if self.reached[approach.index()].time_ms == time_ms {
                return Some((approach, time_ms));
            }
        }
    }
}

/// An entry of the queue: one number, in the order of the times, then of the approaches. Two numbers
/// take a branch more to compare, and comparing is most of what a queue does.
fn packed(approach: ApproachId, time_ms: u32) -> u64 {
    u64::from(time_ms) << 32 | u64::from(approach.0)
}

fn unpacked(entry: u64) -> (ApproachId, u32) {
    (ApproachId(entry as u32), (entry >> 32) as u32)
}
