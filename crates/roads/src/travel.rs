//! Travel between two snaps: how long and how far.
//!
//! A trip is either driven along one segment without leaving it, or it leaves the first segment at
//! one of its ends (a [`Stub`] out), crosses the network from node to node, and enters the last
//! segment at one of its ends (a stub in). Both are tried, the faster wins. Vehicles may turn round
//! where they stand if their segment may be driven both ways.

use serde::{Deserialize, Serialize};

use crate::RoadNetwork;
use crate::graph::{ArcId, NodeId, SegmentEnds};
use crate::hierarchy::{Hierarchy, NONE, Sense, UNREACHABLE_MS};
use crate::metric::UpArcs;
use crate::snap::Snap;

/// How long and how far a trip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Travel {
    /// Travel time of the fastest way, in milliseconds.
    pub duration_ms: u32,
    /// Length of that way, in metres, rounded to the nearest.
    pub distance_m: u32,
}

/// The part of an arc between a snap and one of the arc's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The arc it is part of.
    pub arc: ArcId,
    /// The end it connects the snap with.
    pub node: NodeId,
    /// Time to drive it, in milliseconds.
    pub time_ms: u32,
    /// Its length, in millimetres.
    pub length_mm: u32,
}

impl RoadNetwork {
    /// Fastest travel from one snap to another; `None` when there is no way. For many pairs keep a
    /// [`PairSearch`], for many snaps and one place a [`TargetSearch`](crate::TargetSearch).
    #[must_use]
    pub fn travel(&self, from: &Snap, to: &Snap) -> Option<Travel> {
        PairSearch::new(self.clone()).travel(from, to)
    }

    /// The ways to leave a snap: the rest of its segment to each end it may be driven to, one or
    /// two. None for a snap of another network.
    pub fn stubs_out(&self, snap: &Snap) -> impl Iterator<Item = Stub> + use<> {
        self.stubs(snap, |ends, forward, offset_mm| {
            if forward {
                (ends.head, ends.length_mm - offset_mm)
            } else {
                (ends.tail, offset_mm)
            }
        })
    }

    /// The ways to reach a snap: its segment from each end it may be driven from, one or two. None
    /// for a snap of another network.
    pub fn stubs_in(&self, snap: &Snap) -> impl Iterator<Item = Stub> + use<> {
        self.stubs(snap, |ends, forward, offset_mm| {
            if forward {
                (ends.tail, offset_mm)
            } else {
                (ends.head, ends.length_mm - offset_mm)
            }
        })
    }

    /// The stubs of a snap, of its segment's arc forwards and of its arc backwards. `reach` says,
    /// of an arc, which end it connects the snap with and how far that is.
    fn stubs<F>(&self, snap: &Snap, reach: F) -> impl Iterator<Item = Stub> + use<F>
    where
        F: Fn(&SegmentEnds, bool, u32) -> (NodeId, u32),
    {
        let stub = |forward| {
            let ends = self.topology.ends.get(snap.segment.index())?;
            let arc = ends.arc(forward)?;
            let (node, length_mm) = reach(ends, forward, snap.offset_mm.min(ends.length_mm));
            let time_ms = part_ms(self.arc_time_ms(arc), length_mm, ends.length_mm);
            Some(Stub {
                arc,
                node,
                time_ms,
                length_mm,
            })
        };
        [stub(true), stub(false)].into_iter().flatten()
    }

    /// Time to drive from one snap to another without leaving their segment, in milliseconds;
    /// `None` when they lie on different segments or the segment may not be driven that way.
    #[must_use]
    pub fn time_along_segment_ms(&self, from: &Snap, to: &Snap) -> Option<u32> {
        self.along_segment(from, to).map(|part| part.time_ms)
    }

    /// Time to drive that many millimetres of an arc, rounded up; the whole arc takes
    /// [`RoadNetwork::arc_time_ms`].
    ///
    /// # Panics
    /// When the arc is not of this network.
    #[must_use]
    pub fn part_of_arc_ms(&self, arc: ArcId, length_mm: u32) -> u32 {
        let total_mm = self.topology.length_mm(self.arc(arc).segment);
        part_ms(self.arc_time_ms(arc), length_mm.min(total_mm), total_mm)
    }

    /// The drive from `from` to `to` on their common segment; its `node` means nothing.
    pub(crate) fn along_segment(&self, from: &Snap, to: &Snap) -> Option<Stub> {
        if from.segment != to.segment {
            return None;
        }
        let ends = self.topology.ends.get(from.segment.index())?;
        let length_mm = from.offset_mm.abs_diff(to.offset_mm);
        let along = |forward| {
            let arc = ends.arc(forward)?;
            let time_ms = self.part_of_arc_ms(arc, length_mm);
            Some(Stub {
                arc,
                node: self.arc(arc).head,
                time_ms,
                length_mm,
            })
        };
        let forwards = (from.offset_mm <= to.offset_mm)
            .then(|| along(true))
            .flatten();
        let backwards = (from.offset_mm >= to.offset_mm)
            .then(|| along(false))
            .flatten();
        // Both only when standing still.
        forwards.or(backwards)
    }
}

/// Time for a part of an arc, in proportion to its length, rounded up.
fn part_ms(arc_time_ms: u32, length_mm: u32, total_mm: u32) -> u32 {
    (u64::from(arc_time_ms) * u64::from(length_mm)).div_ceil(u64::from(total_mm)) as u32
}

/// The fastest way between two snaps, as found by a [`PairSearch`].
pub(crate) enum Way {
    /// Along the common segment; the stub says how.
    Along(Stub),
    /// Out, through these arcs, and in.
    Across {
        out: Stub,
        arcs: Vec<ArcId>,
        into: Stub,
    },
}

impl Way {
    pub fn length_mm(&self, network: &RoadNetwork) -> u64 {
        match self {
            Self::Along(part) => u64::from(part.length_mm),
            Self::Across { out, arcs, into } => {
                let whole = arcs
                    .iter()
                    .map(|&arc| network.topology.length_mm(network.arc(arc).segment));
                let ends = [out.length_mm, into.length_mm];
                whole.chain(ends).map(u64::from).sum()
            }
        }
    }
}

/// Searches between pairs of snaps; owns its scratch space, so keep one per thread.
pub struct PairSearch {
    network: RoadNetwork,
    out: Chain,
    into: Chain,
}

impl PairSearch {
    /// A search on that network.
    #[must_use]
    pub fn new(network: RoadNetwork) -> Self {
        Self {
            network,
            out: Chain::default(),
            into: Chain::default(),
        }
    }

    /// The network it searches.
    #[must_use]
    pub fn network(&self) -> &RoadNetwork {
        &self.network
    }

    /// Fastest travel time in milliseconds; `None` when there is no way.
    pub fn time_ms(&mut self, from: &Snap, to: &Snap) -> Option<u32> {
        let along = self.network.time_along_segment_ms(from, to);
        let across = self.meet(from, to).map(|(time_ms, _)| time_ms);
        along.into_iter().chain(across).min()
    }

    /// Fastest travel time, and the distance of that way; `None` when there is no way.
    pub fn travel(&mut self, from: &Snap, to: &Snap) -> Option<Travel> {
        let (duration_ms, way) = self.way(from, to)?;
        let metres = (way.length_mm(&self.network) + 500) / 1000;
        Some(Travel {
            duration_ms,
            distance_m: u32::try_from(metres).unwrap_or(u32::MAX),
        })
    }

    /// The fastest way itself.
    pub(crate) fn way(&mut self, from: &Snap, to: &Snap) -> Option<(u32, Way)> {
        let along = self.network.along_segment(from, to);
        let across = self.meet(from, to);
        match (along, across) {
            (Some(part), across) if across.is_none_or(|(time_ms, _)| part.time_ms <= time_ms) => {
                Some((part.time_ms, Way::Along(part)))
            }
            (_, Some((time_ms, depth))) => Some((time_ms, self.unpack(from, to, depth)?)),
            (_, None) => None,
        }
    }

    /// Searches upwards from both sides. The fastest way that leaves the segments, and the depth
    /// at which its two halves meet.
    fn meet(&mut self, from: &Snap, to: &Snap) -> Option<(u32, usize)> {
        let hierarchy = &self.network.topology.hierarchy;
        let metric = &self.network.metric;
        self.out.climb(
            hierarchy,
            metric.up_arcs(Sense::Up),
            self.network.stubs_out(from),
        );
        self.into.climb(
            hierarchy,
            metric.up_arcs(Sense::Down),
            self.network.stubs_in(to),
        );
        // The two chains share the ancestors next to the root.
        let (out, into) = (&self.out.links, &self.into.links);
        out.iter()
            .zip(into)
            .take_while(|(out, into)| out.rank == into.rank)
            .map(|(out, into)| out.time_ms.saturating_add(into.time_ms))
            .enumerate()
            .map(|(depth, time_ms)| (time_ms, depth))
            .min()
            .filter(|&(time_ms, _)| time_ms < UNREACHABLE_MS)
    }

    /// The way whose two halves meet at that depth; `None` only for a depth at which none do.
    fn unpack(&self, from: &Snap, to: &Snap, depth: usize) -> Option<Way> {
        let network = &self.network;
        let hierarchy = &network.topology.hierarchy;
        let mut arcs = Vec::new();
        let (first, mut climbed) = self.out.descend(hierarchy, depth);
        climbed.reverse();
        for up_arc in climbed {
            hierarchy.unpack(&network.metric, up_arc, Sense::Up, &mut arcs);
        }
        let (last, descended) = self.into.descend(hierarchy, depth);
        for up_arc in descended {
            hierarchy.unpack(&network.metric, up_arc, Sense::Down, &mut arcs);
        }
        let out = fastest_at(network.stubs_out(from), hierarchy, first)?;
        let into = fastest_at(network.stubs_in(to), hierarchy, last)?;
        Some(Way::Across { out, arcs, into })
    }
}

/// Of a snap's stubs, the faster one at the node of that rank.
fn fastest_at(stubs: impl Iterator<Item = Stub>, hierarchy: &Hierarchy, rank: u32) -> Option<Stub> {
    stubs
        .filter(|stub| hierarchy.rank(stub.node) == rank)
        .min_by_key(|stub| stub.time_ms)
}

/// The ancestors of a snap's ends in the elimination tree, root first, with the times found.
#[derive(Default)]
struct Chain {
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    rank: u32,
    time_ms: u32,
    /// The up-arc it was reached by, or [`NONE`] where the search began.
    reached_by: u32,
}

impl Chain {
    /// Searches upwards from the stubs' nodes. They are ends of one segment, hence neighbours,
    /// hence one is an ancestor of the other: a single walk to the root passes both.
    fn climb(
        &mut self,
        hierarchy: &Hierarchy,
        up_arcs: &UpArcs,
        stubs: impl Iterator<Item = Stub>,
    ) {
        self.links.clear();
        let mut begin = [None; 2];
        for (slot, stub) in begin.iter_mut().zip(stubs) {
            *slot = Some((hierarchy.rank(stub.node), stub.time_ms));
        }
        let Some(lowest) = begin.iter().flatten().map(|&(rank, _)| rank).min() else {
            return;
        };
        let unreached = Link {
            rank: NONE,
            time_ms: UNREACHABLE_MS,
            reached_by: NONE,
        };
        self.links.resize(hierarchy.depth(lowest) + 1, unreached);
        for &(rank, time_ms) in begin.iter().flatten() {
            let link = &mut self.links[hierarchy.depth(rank)];
            link.time_ms = link.time_ms.min(time_ms);
        }
        let mut next = Some(lowest);
        while let Some(rank) = next {
            let link = &mut self.links[hierarchy.depth(rank)];
            link.rank = rank;
            let time_ms = link.time_ms;
            if time_ms < UNREACHABLE_MS {
                for (number, up_arc) in up_arcs.numbered(rank) {
                    let candidate_ms = time_ms.saturating_add(up_arc.time_ms);
                    let link = &mut self.links[hierarchy.depth(up_arc.upper)];
                    if candidate_ms < link.time_ms {
                        link.time_ms = candidate_ms;
                        link.reached_by = number;
                    }
                }
            }
            next = hierarchy.parent(rank);
        }
    }

    /// Walks back from the link at `depth` to where the search began: that rank, and the up-arcs on
    /// the way, highest first.
    fn descend(&self, hierarchy: &Hierarchy, depth: usize) -> (u32, Vec<u32>) {
        let mut link = &self.links[depth];
        let mut up_arcs = Vec::new();
        while link.reached_by != NONE {
            up_arcs.push(link.reached_by);
            link = &self.links[hierarchy.depth(hierarchy.lower_end(link.reached_by))];
        }
        (link.rank, up_arcs)
    }
}
