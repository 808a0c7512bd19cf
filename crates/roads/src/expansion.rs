//! Walking outwards from a place against the traffic: which nodes reach it soonest.
//!
//! For a dense fleet this finds the nearest drivers without looking at the others: settle node
//! after node, look at the drivers on the arcs into each, stop when the next node is farther than
//! the worst driver kept. A driver on an arc with `rest` milliseconds left to its head, settled at
//! `time_ms`, needs `rest + time_ms`; one that shares the target's segment may also drive straight
//! to it ([`RoadNetwork::time_along_segment_ms`]); the least of what applies is its travel time.
//!
//! Walking the whole map this way costs as much as the map is large; the settle budget is for
//! handing over to [`TargetSearch`](crate::TargetSearch) before that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::RoadNetwork;
use crate::graph::NodeId;
use crate::hierarchy::UNREACHABLE_MS;
use crate::snap::Snap;

/// A node whose travel time to the target is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The node.
    pub node: NodeId,
    /// Fastest travel time from it to the target, in milliseconds.
    pub time_ms: u32,
}

/// Nodes by increasing travel time to a target: Dijkstra's algorithm on reversed arcs. Owns its
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
        let frontier = Frontier::new(network.node_count());
        Self {
            network,
            budget: 0,
            frontier,
        }
    }

    /// Starts again at another target, to settle at most `settle_budget` nodes.
    pub fn aim(&mut self, target: &Snap, settle_budget: usize) {
        self.budget = settle_budget;
        self.frontier.clear();
        for stub in self.network.stubs_in(target) {
            self.frontier.reach(stub.node, stub.time_ms);
        }
    }

    /// The network it walks.
    #[must_use]
    pub fn network(&self) -> &RoadNetwork {
        &self.network
    }

    /// How many more nodes it may settle.
    #[must_use]
    pub fn budget_left(&self) -> usize {
        self.budget
    }

    /// A time below which no node is left to settle: when it exceeds what the caller already holds,
    /// walking on cannot help. `None` when every node that reaches the target has been settled.
    #[must_use]
    pub fn next_time_ms(&self) -> Option<u32> {
        self.frontier
            .queue
            .peek()
            .map(|Reverse((time_ms, _))| *time_ms)
    }
}

impl Iterator for BackwardExpansion {
    type Item = Settled;

    /// The next node by travel time (equal times: by node number); `None` when the budget is spent
    /// or nothing is left.
    fn next(&mut self) -> Option<Settled> {
        if self.budget == 0 {
            return None;
        }
        let (node, time_ms) = self.frontier.settle()?;
        self.budget -= 1;
        for arc in self.network.arcs_into(node) {
            let arc_ms = self.network.arc_time_ms(arc);
            self.frontier
                .reach(self.network.arc(arc).tail, time_ms.saturating_add(arc_ms));
        }
        Some(Settled { node, time_ms })
    }
}

/// The nodes reached but not settled, and the best times so far.
struct Frontier {
    /// The current aim; an entry of `reached` stamped otherwise is left over from an earlier one.
    generation: u32,
    reached: Vec<Reached>,
    /// Soonest first. A node reached again, sooner, is in it twice.
    queue: BinaryHeap<Reverse<(u32, NodeId)>>,
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

    fn new(nodes: usize) -> Self {
        Self {
            generation: 0,
            reached: vec![Self::NEVER; nodes],
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

    fn reach(&mut self, node: NodeId, time_ms: u32) {
        let reached = &mut self.reached[node.index()];
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
            self.queue.push(Reverse((time_ms, node)));
        }
    }

    /// Takes the soonest node off the queue.
    fn settle(&mut self) -> Option<(NodeId, u32)> {
        loop {
            let Reverse((time_ms, node)) = self.queue.pop()?;
            // Otherwise it was reached sooner after this entry was queued, and is settled already.
            if self.reached[node.index()].time_ms == time_ms {
                return Some((node, time_ms));
            }
        }
    }
}
