//! The slow, obvious answer, to test the fast ones against. Not for production.
//!
//! The network becomes a `petgraph` graph whose nodes are cars at the end of an arc, told apart by all
//! of their past that any rule could ask for; a snap becomes a node of its own, joined to the ends of
//! its segment by edges for the parts of it; travel times come from petgraph's Dijkstra. Shares no code
//! with the approaches and the hierarchy, and reads the rules from the table rather than the graph.

use petgraph::algo::dijkstra;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{EdgeRef, Reversed};

use rustc_hash::FxHashMap;

use crate::RoadNetwork;
use crate::graph::ArcId;
use crate::hierarchy::UNREACHABLE_MS;
use crate::snap::Snap;
use crate::turns::{FORBIDDEN, Incidence, TURN_UNIT_MS, TurnChain};

/// Times in milliseconds, in 64 bits so that nothing overflows.
type TimeGraph = DiGraph<(), u64>;

/// Fastest travel time in milliseconds; `None` when there is no way.
#[must_use]
pub fn travel_time_ms(network: &RoadNetwork, from: &Snap, to: &Snap) -> Option<u32> {
    all_times_to(network, to, std::slice::from_ref(from))
        .pop()
        .flatten()
}

/// Fastest travel times in milliseconds from every source to the target.
#[must_use]
pub fn all_times_to(network: &RoadNetwork, target: &Snap, sources: &[Snap]) -> Vec<Option<u32>> {
    let mut oracle = Oracle::new(network);
    let target_node = oracle.add_arrival(target);
    let source_nodes: Vec<_> = sources
        .iter()
        .map(|source| oracle.add_departure(source))
        .collect();
    for (source, &node) in sources.iter().zip(&source_nodes) {
        oracle.add_direct((source, node), (target, target_node));
    }
    let reversed = Reversed(&oracle.graph);
    let times = dijkstra(reversed, target_node, None, |edge| *edge.weight());
    source_nodes
        .iter()
        .map(|node| times.get(node).copied().and_then(reachable))
        .collect()
}

/// Fastest travel times in milliseconds from the source to every target.
#[must_use]
pub fn all_times_from(network: &RoadNetwork, source: &Snap, targets: &[Snap]) -> Vec<Option<u32>> {
    let mut oracle = Oracle::new(network);
    let source_node = oracle.add_departure(source);
    let target_nodes: Vec<_> = targets
        .iter()
        .map(|target| oracle.add_arrival(target))
        .collect();
    for (target, &node) in targets.iter().zip(&target_nodes) {
        oracle.add_direct((source, source_node), (target, node));
    }
    let times = dijkstra(&oracle.graph, source_node, None, |edge| *edge.weight());
    target_nodes
        .iter()
        .map(|node| times.get(node).copied().and_then(reachable))
        .collect()
}

fn reachable(time_ms: u64) -> Option<u32> {
    u32::try_from(time_ms)
        .ok()
        .filter(|&time_ms| time_ms < UNREACHABLE_MS)
}

/// A car on an arc, with what of its past matters to the turns ahead.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    arc: ArcId,
    /// The arc before; `None` when it set out here.
    before: Option<ArcId>,
    /// It came onto destination-only roads from outside.
    is_visiting: bool,
}

/// The states that cars can be in, each standing for the end of its arc, and the turns between them.
struct Oracle<'a> {
    network: &'a RoadNetwork,
    graph: TimeGraph,
    states: Vec<State>,
    nodes: FxHashMap<State, NodeIndex>,
    cost_begins: Vec<usize>,
}

impl<'a> Oracle<'a> {
    fn new(network: &'a RoadNetwork) -> Self {
        let topology = &network.topology;
        let roads = Incidence {
            arcs: &topology.arcs,
            first_out: &topology.first_out,
            arcs_in: &topology.arcs_in,
            first_in: &topology.first_in,
        };
        let mut oracle = Self {
            network,
            graph: TimeGraph::new(),
            states: Vec::new(),
            nodes: FxHashMap::default(),
            cost_begins: roads.cost_begins(),
        };
        for arc in 0..network.arc_count() as u32 {
            oracle.node(State {
                arc: ArcId(arc),
                before: None,
                is_visiting: false,
            });
        }
        let mut next = 0;
        while let Some(&state) = oracle.states.get(next) {
            let from = NodeIndex::new(next);
            for (to, cost_ms) in oracle.exits(state) {
                let time_ms = cost_ms + u64::from(network.arc_time_ms(to.arc));
                let to = oracle.node(to);
                oracle.graph.add_edge(from, to, time_ms);
            }
            next += 1;
        }
        oracle
    }

    fn node(&mut self, state: State) -> NodeIndex {
        *self.nodes.entry(state).or_insert_with(|| {
            self.states.push(state);
            self.graph.add_node(())
        })
    }

    /// Where a car may drive on to, with the cost of the turn in milliseconds.
    fn exits(&self, state: State) -> Vec<(State, u64)> {
        let plan = &self.network.topology.plan;
        let ordinary =
            |arc: ArcId| !plan.segments[self.network.arc(arc).segment.index()].destination_only;
        let mut exits = Vec::new();
        for (place, out) in self
            .network
            .arcs_from(self.network.arc(state.arc).head)
            .enumerate()
        {
            let costs = &plan.turns.costs;
            let cost = costs
                .get(self.cost_begins[state.arc.index()] + place)
                .copied();
            let holds = |chain: &&TurnChain| {
                let arcs = [chain.from, chain.via, chain.to].map(ArcId);
                arcs.iter().all(|&arc| ordinary(arc))
                    && state.before == Some(arcs[0])
                    && state.arc == arcs[1]
            };
            let chains = || plan.turns.chains.iter().filter(holds);
            let only: Vec<u32> = chains()
                .filter(|chain| chain.is_only)
                .map(|chain| chain.to)
                .collect();
            let is_forbidden = chains().any(|chain| !chain.is_only && chain.to == out.0)
                || (!only.is_empty() && !only.contains(&out.0));
            if cost == Some(FORBIDDEN) || is_forbidden {
                continue;
            }
            if state.is_visiting && ordinary(out) {
                continue;
            }
            let to = State {
                arc: out,
                before: Some(state.arc),
                is_visiting: !ordinary(out) && (state.is_visiting || ordinary(state.arc)),
            };
            exits.push((to, u64::from(cost.unwrap_or(0)) * u64::from(TURN_UNIT_MS)));
        }
        exits
    }

    /// Time for a stretch of the snap's segment in that direction; `None` when it is forbidden.
    fn stretch_ms(&self, snap: &Snap, forward: bool, length_mm: u32) -> Option<u64> {
        let segment = self.network.segment(snap.segment)?;
        let whole_ms = u64::from(self.network.arc_time_ms(segment.arc(forward)?));
        Some((whole_ms * u64::from(length_mm)).div_ceil(u64::from(segment.length_mm())))
    }

    /// A node for the snap with edges to the ends of its segment.
    fn add_departure(&mut self, snap: &Snap) -> NodeIndex {
        let here = self.graph.add_node(());
        let Some(segment) = self.network.segment(snap.segment) else {
            return here;
        };
        let to_head_mm = segment.length_mm() - snap.offset_mm;
        for (forward, rest_mm) in [(true, to_head_mm), (false, snap.offset_mm)] {
            if let Some(arc) = segment.arc(forward)
                && snap.facing.allows(forward)
                && let Some(time_ms) = self.stretch_ms(snap, forward, rest_mm)
            {
                self.graph
                    .add_edge(here, NodeIndex::new(arc.index()), time_ms);
            }
        }
        here
    }

    /// A node for the snap with an edge from every state that may turn into its segment.
    fn add_arrival(&mut self, snap: &Snap) -> NodeIndex {
        let here = self.graph.add_node(());
        let Some(segment) = self.network.segment(snap.segment) else {
            return here;
        };
        let to_head_mm = segment.length_mm() - snap.offset_mm;
        for (forward, part_mm) in [(true, snap.offset_mm), (false, to_head_mm)] {
            let arc = segment.arc(forward);
            let (Some(arc), Some(part_ms)) = (arc, self.stretch_ms(snap, forward, part_mm)) else {
                continue;
            };
            for number in 0..self.states.len() {
                let state = self.states[number];
                if self.network.arc(state.arc).head != self.network.arc(arc).tail {
                    continue;
                }
                for (to, cost_ms) in self.exits(state) {
                    if to.arc == arc {
                        let from = NodeIndex::new(number);
                        self.graph.add_edge(from, here, cost_ms + part_ms);
                    }
                }
            }
        }
        here
    }

    /// An edge between two snaps of one segment, where it may be driven that way.
    fn add_direct(
        &mut self,
        (from, from_node): (&Snap, NodeIndex),
        (to, to_node): (&Snap, NodeIndex),
    ) {
        if from.segment != to.segment {
            return;
        }
        let length_mm = from.offset_mm.abs_diff(to.offset_mm);
        for (forward, is_ahead) in [
            (true, from.offset_mm <= to.offset_mm),
            (false, from.offset_mm >= to.offset_mm),
        ] {
            if is_ahead
                && from.facing.allows(forward)
                && let Some(time_ms) = self.stretch_ms(from, forward, length_mm)
            {
                self.graph.add_edge(from_node, to_node, time_ms);
            }
        }
    }
}
