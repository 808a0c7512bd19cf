//! The slow, obvious answer, to test the fast ones against. Not for production.
//!
//! The network becomes a `petgraph` graph with the same nodes and arcs; a snap becomes a node of
//! its own, joined to the ends of its segment by edges for the parts of it; travel times come from
//! petgraph's Dijkstra. Shares no code with the hierarchy, and reads the segments rather than the
//! stubs the searches begin with.

use petgraph::algo::dijkstra;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{EdgeRef, Reversed};

use crate::RoadNetwork;
use crate::hierarchy::UNREACHABLE_MS;
use crate::snap::Snap;

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
    let mut graph = roads(network);
    let target_node = add_arrival(network, &mut graph, target);
    let source_nodes: Vec<_> = sources
        .iter()
        .map(|source| add_departure(network, &mut graph, source))
        .collect();
    for (source, &node) in sources.iter().zip(&source_nodes) {
        add_direct(network, &mut graph, (source, node), (target, target_node));
    }
    let times = dijkstra(Reversed(&graph), target_node, None, |edge| *edge.weight());
    source_nodes
        .iter()
        .map(|node| times.get(node).copied().and_then(reachable))
        .collect()
}

/// Fastest travel times in milliseconds from the source to every target.
#[must_use]
pub fn all_times_from(network: &RoadNetwork, source: &Snap, targets: &[Snap]) -> Vec<Option<u32>> {
    let mut graph = roads(network);
    let source_node = add_departure(network, &mut graph, source);
    let target_nodes: Vec<_> = targets
        .iter()
        .map(|target| add_arrival(network, &mut graph, target))
        .collect();
    for (target, &node) in targets.iter().zip(&target_nodes) {
        add_direct(network, &mut graph, (source, source_node), (target, node));
    }
    let times = dijkstra(&graph, source_node, None, |edge| *edge.weight());
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

fn roads(network: &RoadNetwork) -> TimeGraph {
    let mut graph = TimeGraph::with_capacity(network.node_count(), network.arc_count());
    for _ in 0..network.node_count() {
        graph.add_node(());
    }
    for segment in network.segments() {
        let ends = [segment.tail(), segment.head()].map(|node| NodeIndex::new(node.index()));
        for (forward, from, to) in [(true, ends[0], ends[1]), (false, ends[1], ends[0])] {
            if let Some(arc) = segment.arc(forward) {
                graph.add_edge(from, to, u64::from(network.arc_time_ms(arc)));
            }
        }
    }
    graph
}

/// Time for a stretch of the snap's segment in that direction; `None` when it is forbidden.
fn stretch_ms(network: &RoadNetwork, snap: &Snap, forward: bool, length_mm: u32) -> Option<u64> {
    let segment = network.segment(snap.segment)?;
    let whole_ms = u64::from(network.arc_time_ms(segment.arc(forward)?));
    Some((whole_ms * u64::from(length_mm)).div_ceil(u64::from(segment.length_mm())))
}

/// A node for the snap with edges to the ends of its segment.
fn add_departure(network: &RoadNetwork, graph: &mut TimeGraph, snap: &Snap) -> NodeIndex {
    let here = graph.add_node(());
    if let Some(segment) = network.segment(snap.segment) {
        let to_head_mm = segment.length_mm() - snap.offset_mm;
        if let Some(time_ms) = stretch_ms(network, snap, true, to_head_mm) {
            graph.add_edge(here, NodeIndex::new(segment.head().index()), time_ms);
        }
        if let Some(time_ms) = stretch_ms(network, snap, false, snap.offset_mm) {
            graph.add_edge(here, NodeIndex::new(segment.tail().index()), time_ms);
        }
    }
    here
}

/// A node for the snap with edges from the ends of its segment.
fn add_arrival(network: &RoadNetwork, graph: &mut TimeGraph, snap: &Snap) -> NodeIndex {
    let here = graph.add_node(());
    if let Some(segment) = network.segment(snap.segment) {
        let to_head_mm = segment.length_mm() - snap.offset_mm;
        if let Some(time_ms) = stretch_ms(network, snap, true, snap.offset_mm) {
            graph.add_edge(NodeIndex::new(segment.tail().index()), here, time_ms);
        }
        if let Some(time_ms) = stretch_ms(network, snap, false, to_head_mm) {
            graph.add_edge(NodeIndex::new(segment.head().index()), here, time_ms);
        }
    }
    here
}

/// An edge between two snaps of one segment, where it may be driven that way.
fn add_direct(
    network: &RoadNetwork,
    graph: &mut TimeGraph,
    (from, from_node): (&Snap, NodeIndex),
    (to, to_node): (&Snap, NodeIndex),
) {
    if from.segment != to.segment {
        return;
    }
    let length_mm = from.offset_mm.abs_diff(to.offset_mm);
    for (forward, possible) in [
        (true, from.offset_mm <= to.offset_mm),
        (false, from.offset_mm >= to.offset_mm),
    ] {
        if possible && let Some(time_ms) = stretch_ms(network, from, forward, length_mm) {
            graph.add_edge(from_node, to_node, time_ms);
        }
    }
}
