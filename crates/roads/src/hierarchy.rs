//! The contraction hierarchy: what makes a travel time cost microseconds.
//!
//! A thin layer over the `cch` crate. The approaches of [`crate::turns`] are ranked once per map by
//! nested dissection ([`contraction_order`], the slow step, which the cache file keeps). Contracting
//! them in that order gives *up-arcs*, each from a lower to a higher rank; the lowest neighbour above
//! an approach is its parent in the *elimination tree*, and every up-arc leads to one of its ancestors
//! there. So a search from an approach visits its ancestors only, a few hundred at most, and needs no
//! queue.
//!
//! The times belong to the [`Metric`], which is another story: [`crate::metric`].

use std::ops::Range;

use cch::graph::Graph;
use cch::{Cch, INF_WEIGHT};

use crate::customization::Branches;
use crate::geo::{LatLon, Point};
use crate::graph::ApproachId;
use crate::metric::Metric;
use crate::turns::{Incidence, Turns};

/// A travel time that means "cannot be reached", in milliseconds; real ones are smaller (24 days).
pub const UNREACHABLE_MS: u32 = INF_WEIGHT;

/// Marks "none" in arrays of ranks and up-arcs.
pub(crate) const NONE: u32 = u32::MAX;

/// The contraction of a map's approaches, the same for every metric.
pub(crate) struct Hierarchy {
    pub cch: Cch,
    pub branches: Branches,
}

/// Which way an up-arc is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sense {
    /// From its lower end to its higher end.
    Up,
    /// From its higher end to its lower end.
    Down,
}

/// Orders the approaches for contraction: nested dissection by position. Deterministic.
///
/// Both directions of a road are cut together, so what is dissected are groups: an approach of one arc
/// goes with its segment, any other stands alone. That halves the work, and the order is as good.
pub(crate) fn contraction_order(nodes: &[Point], roads: &Incidence<'_>, turns: &Turns) -> Vec<u32> {
    let groups = Groups::of(nodes, roads, turns);
    let group = |approach: u32| groups.of_approach[approach as usize];
    let ends = turns
        .turns
        .iter()
        .map(|turn| (group(turn.from), group(turn.to)));
    let mut ends: Vec<(u32, u32)> = ends.map(|(a, b)| (a.min(b), a.max(b))).collect();
    ends.sort_unstable();
    ends.dedup();
    let (tails, heads): (Vec<u32>, Vec<u32>) = ends.into_iter().unzip();
    let count = groups.lats.len();
    let order = cch::inertial_order(count as u32, &tails, &heads, &groups.lats, &groups.lons);
    let mut place = vec![0_u32; count];
    for (at, &group) in (0..).zip(&order) {
        place[group as usize] = at;
    }
    let mut sorted: Vec<u32> = (0..turns.approach_count() as u32).collect();
    sorted.sort_by_key(|&approach| place[group(approach) as usize]);
    sorted
}

/// Approaches that are dissected together, and where they are.
struct Groups {
    of_approach: Vec<u32>,
    lats: Vec<f32>,
    lons: Vec<f32>,
}

impl Groups {
    fn of(nodes: &[Point], roads: &Incidence<'_>, turns: &Turns) -> Self {
        let mut groups = Self {
            of_approach: Vec::with_capacity(turns.approach_count()),
            lats: Vec::new(),
            lons: Vec::new(),
        };
        let mut of_segment: Vec<Option<u32>> = Vec::new();
        for (approach, &node) in (0..).zip(&turns.node_of) {
            let group = match turns.arcs(approach) {
                [arc] => {
                    let arc = roads.arcs[arc.index()];
                    let segment = arc.segment.index();
                    if of_segment.len() <= segment {
                        of_segment.resize(segment + 1, None);
                    }
                    *of_segment[segment]
                        .get_or_insert_with(|| groups.add(nodes, [arc.tail.0, arc.head.0]))
                }
                _ => groups.add(nodes, [node, node]),
            };
            groups.of_approach.push(group);
        }
        groups
    }

    /// A group half-way between two nodes.
    fn add(&mut self, nodes: &[Point], ends: [u32; 2]) -> u32 {
        let [a, b] = ends.map(|node| LatLon::from(nodes[node as usize]));
        self.lats.push(f64::midpoint(a.lat(), b.lat()) as f32);
        self.lons.push(f64::midpoint(a.lon(), b.lon()) as f32);
        self.lats.len() as u32 - 1
    }
}

impl Hierarchy {
    /// Contracts the graph. `order` must name every approach once.
    pub fn build(turns: &Turns, order: &[u32]) -> Self {
        let graph = Graph {
            first_out: turns.first_from.clone(),
            head: turns.turns.iter().map(|turn| turn.to).collect(),
            weight: Vec::new(),
        };
        let cch = Cch::build(&graph, order);
        let branches = Branches::of(&cch.elimination_tree_parent);
        Self { cch, branches }
    }

    pub fn rank(&self, approach: ApproachId) -> u32 {
        self.cch.rank[approach.index()]
    }

    /// The next rank on the way to the root.
    pub fn parent(&self, rank: u32) -> Option<u32> {
        let parent = self.cch.elimination_tree_parent[rank as usize];
        (parent != NONE).then_some(parent)
    }

    /// Calls `visit` with each of the given ranks, which must differ, and of their ancestors: once,
    /// lowest first. Leaves `ranks` empty.
    pub fn each_ancestor(&self, ranks: &mut Vec<u32>, mut visit: impl FnMut(u32)) {
        while let Some(place) = (0..ranks.len()).min_by_key(|&place| ranks[place]) {
            let lowest = ranks[place];
            visit(lowest);
            match self.parent(lowest) {
                Some(parent) if !ranks.contains(&parent) => ranks[place] = parent,
                _ => drop(ranks.swap_remove(place)),
            }
        }
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

    /// Appends the turns an up-arc stands for, by number, in driving order.
    pub fn unpack(&self, metric: &Metric, up_arc: u32, sense: Sense, path: &mut Vec<u32>) {
        let mut pending = vec![(up_arc, sense)];
        while let Some((up_arc, sense)) = pending.pop() {
            let time = metric.times(sense)[up_arc as usize];
            if let Some(turn) = self.turn(metric, up_arc, sense, time) {
                path.push(turn);
            } else if let Some([first, second]) = self.halves(metric, up_arc, sense, time) {
                pending.push(second);
                pending.push(first);
            } else {
                debug_assert!(false, "up-arc {up_arc} stands for nothing");
            }
        }
    }

    /// The turn that alone accounts for the up-arc's time.
    fn turn(&self, metric: &Metric, up_arc: u32, sense: Sense, time: u32) -> Option<u32> {
        self.turns_of(up_arc as usize, sense)
            .find(|&turn| metric.turn_times_ms[turn as usize] == time)
    }

    /// The turns that lead straight from one end of an up-arc to the other.
    pub fn turns_of(&self, up_arc: usize, sense: Sense) -> impl Iterator<Item = u32> {
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
        let parallel = extra_from[up_arc] as usize..extra_from[up_arc + 1] as usize;
        std::iter::once(first[up_arc])
            .chain(extra[parallel].iter().copied())
            .filter(|&turn| turn != NONE)
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
        self.down_arcs_among(rank, 0..rank)
    }

    /// Lower neighbours of a rank that are among these, ascending, each with the up-arc that joins them.
    pub fn down_arcs_among(
        &self,
        rank: u32,
        ranks: Range<u32>,
    ) -> impl Iterator<Item = (u32, u32)> {
        let first = &self.cch.down_first_out;
        let begin = first[rank as usize] as usize;
        let nodes = &self.cch.down_head[begin..first[rank as usize + 1] as usize];
        let place = |end| begin + nodes.partition_point(|&node| node < end);
        let range = place(ranks.start)..place(ranks.end);
        let nodes = self.cch.down_head[range.clone()].iter().copied();
        nodes.zip(self.cch.down_to_up[range].iter().copied())
    }
}
