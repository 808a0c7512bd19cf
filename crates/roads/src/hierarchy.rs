//! The contraction hierarchy: what makes a travel time cost microseconds.
//!
//! A thin layer over the `cch` crate. Nodes are ranked once per map by nested dissection
//! ([`contraction_order`], the slow step, which the cache file keeps). Contracting them in that
//! order gives *up-arcs*, each from a lower to a higher rank; the lowest neighbour above a node is
//! its parent in the *elimination tree*, and every up-arc of a node leads to one of its ancestors
//! there. So a search from a node visits its ancestors only, a few hundred at most, and needs no
//! queue.
//!
//! The times belong to the [`Metric`], which is another story: [`crate::metric`].

use cch::graph::Graph;
use cch::{Cch, INF_WEIGHT};

use crate::geo::{LatLon, Point};
use crate::graph::{ArcId, NodeId, RoadArc};
use crate::metric::Metric;

/// A travel time that means "cannot be reached", in milliseconds; real ones are smaller (24 days).
pub const UNREACHABLE_MS: u32 = INF_WEIGHT;

/// Marks "none" in arrays of ranks and up-arcs.
pub(crate) const NONE: u32 = u32::MAX;

/// The contraction of a map's nodes, the same for every metric.
pub(crate) struct Hierarchy {
    pub cch: Cch,
    /// Ancestors above each rank in the elimination tree.
    depth: Vec<u32>,
}

/// Which way an up-arc is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sense {
    /// From its lower end to its higher end.
    Up,
    /// From its higher end to its lower end.
    Down,
}

/// Orders the nodes for contraction: nested dissection by position. Deterministic.
pub(crate) fn contraction_order(
    nodes: &[Point],
    ends: impl Iterator<Item = (u32, u32)>,
) -> Vec<u32> {
    let (tails, heads): (Vec<u32>, Vec<u32>) = ends.unzip();
    let places = nodes.iter().map(|&node| LatLon::from(node));
    let (lats, lons): (Vec<f32>, Vec<f32>) = places
        .map(|place| (place.lat() as f32, place.lon() as f32))
        .unzip();
    cch::inertial_order(nodes.len() as u32, &tails, &heads, &lats, &lons)
}

impl Hierarchy {
    /// Contracts the graph. `order` must name every node once.
    pub fn build(first_out: &[u32], arcs: &[RoadArc], order: &[u32]) -> Self {
        let graph = Graph {
            first_out: first_out.to_vec(),
            head: arcs.iter().map(|arc| arc.head.0).collect(),
            weight: Vec::new(),
        };
        let cch = Cch::build(&graph, order);
        let mut depth = vec![0; cch.node_count()];
        for rank in (0..depth.len()).rev() {
            // A parent ranks higher, so its depth is known by now.
            let parent = cch.elimination_tree_parent[rank];
            depth[rank] = if parent == NONE {
                0
            } else {
                depth[parent as usize] + 1
            };
        }
        Self { cch, depth }
    }

    pub fn rank(&self, node: NodeId) -> u32 {
        self.cch.rank[node.index()]
    }

    /// Number of ancestors of a rank; its place on the chain from the root.
    pub fn depth(&self, rank: u32) -> usize {
        self.depth[rank as usize] as usize
    }

    /// The next rank on the way to the root.
    pub fn parent(&self, rank: u32) -> Option<u32> {
        let parent = self.cch.elimination_tree_parent[rank as usize];
        (parent != NONE).then_some(parent)
    }

    /// The up-arcs of a rank, as numbers into the metric, with their upper ends.
    pub fn up_arcs(&self, rank: u32) -> (std::ops::Range<usize>, &[u32]) {
        let first = &self.cch.up_first_out;
        let range = first[rank as usize] as usize..first[rank as usize + 1] as usize;
        (range.clone(), &self.cch.up_head[range])
    }

    /// The lower end of an up-arc.
    pub fn lower_end(&self, up_arc: u32) -> u32 {
        self.cch.up_tail[up_arc as usize]
    }

    /// Appends the road arcs an up-arc stands for, in driving order.
    pub fn unpack(&self, metric: &Metric, up_arc: u32, sense: Sense, path: &mut Vec<ArcId>) {
        let mut pending = vec![(up_arc, sense)];
        while let Some((up_arc, sense)) = pending.pop() {
            let time = metric.times(sense)[up_arc as usize];
            if let Some(arc) = self.road_arc(metric, up_arc, sense, time) {
                path.push(arc);
            } else if let Some([first, second]) = self.halves(metric, up_arc, sense, time) {
                pending.push(second);
                pending.push(first);
            } else {
                debug_assert!(false, "up-arc {up_arc} stands for nothing");
            }
        }
    }

    /// The road arc that alone accounts for the up-arc's time.
    fn road_arc(&self, metric: &Metric, up_arc: u32, sense: Sense, time: u32) -> Option<ArcId> {
        let (first, extra_from, extra) = match sense {
            Sense::Up => (
                &self.cch.forward_input_arc_of_cch,
                &self.cch.first_extra_forward_input_arc_of_cch,
                &self.cch.extra_forward_input_arc_of_cch,
            ),
            Sense::Down => (
                &self.cch.backward_input_arc_of_cch,
                &self.cch.first_extra_backward_input_arc_of_cch,
                &self.cch.extra_backward_input_arc_of_cch,
            ),
        };
        let up_arc = up_arc as usize;
        let parallel = extra_from[up_arc] as usize..extra_from[up_arc + 1] as usize;
        std::iter::once(first[up_arc])
            .chain(extra[parallel].iter().copied())
            .filter(|&arc| arc != NONE)
            .find(|&arc| metric.arc_times_ms[arc as usize] == time)
            .map(ArcId)
    }

    /// The two up-arcs below, through one lower node, that together account for the up-arc's time.
    fn halves(
        &self,
        metric: &Metric,
        up_arc: u32,
        sense: Sense,
        time: u32,
    ) -> Option<[(u32, Sense); 2]> {
        // Driving from `start` to `end`, whichever of them is the higher: the first half comes down
        // from `start` to the common lower neighbour, the second climbs to `end`.
        let (low, high) = (self.lower_end(up_arc), self.cch.up_head[up_arc as usize]);
        let (start, end) = if sense == Sense::Up {
            (low, high)
        } else {
            (high, low)
        };
        let (mut from_start, mut from_end) = (self.down_arcs(start), self.down_arcs(end));
        let (mut a, mut b) = (from_start.next(), from_end.next());
        while let (Some((node_a, down)), Some((node_b, up))) = (a, b) {
            if node_a == node_b {
                let sum = metric.times(Sense::Down)[down as usize]
                    .saturating_add(metric.times(Sense::Up)[up as usize]);
                if sum == time {
                    return Some([(down, Sense::Down), (up, Sense::Up)]);
                }
            }
            if node_a <= node_b {
                a = from_start.next();
            }
            if node_b <= node_a {
                b = from_end.next();
            }
        }
        None
    }

    /// Lower neighbours of a rank, ascending, each with the up-arc that joins them.
    pub fn down_arcs(&self, rank: u32) -> impl Iterator<Item = (u32, u32)> {
        let first = &self.cch.down_first_out;
        let range = first[rank as usize] as usize..first[rank as usize + 1] as usize;
        let nodes = self.cch.down_head[range.clone()].iter().copied();
        nodes.zip(self.cch.down_to_up[range].iter().copied())
    }
}
