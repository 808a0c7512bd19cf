//! Travel between two snaps: how long and how far.
//!
//! A trip is either driven along one segment without leaving it, or it leaves the first segment at
//! one of its ends (a [`Stub`] out), crosses the network from approach to approach, and turns into the
//! last segment at one of its ends (a stub in). Both are tried, the faster wins. A car that faces
//! either way ([`Facing`](crate::Facing)) may set out in each direction its segment allows.

use serde::{Deserialize, Serialize};

use crate::RoadNetwork;
use crate::graph::{ApproachId, ArcId};
use crate::hierarchy::{Hierarchy, NONE, Sense, UNREACHABLE_MS};
use crate::snap::Snap;

/// How long and how far a trip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Travel {
    /// Travel time of the fastest way, in milliseconds.
    pub duration_ms: u32,
    /// Length of that way, in metres, rounded to the nearest.
    pub distance_m: u32,
}

/// The part of an arc between a snap and one of the arc's ends, and for a stub in the turn into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The arc it is part of.
    pub arc: ArcId,
    /// What it connects the snap with: the approach at the arc's end, or one it is entered from.
    pub approach: ApproachId,
    /// Time to drive it, in milliseconds; of a stub in, with the turn.
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
        let stub = |forward| {
            let ends = self.topology.ends.get(snap.segment.index())?;
            let arc = ends.arc(forward).filter(|_| snap.facing.allows(forward))?;
            let offset_mm = snap.offset_mm.min(ends.length_mm);
            let length_mm = if forward {
                ends.length_mm - offset_mm
            } else {
                offset_mm
            };
            Some(Stub {
                arc,
                approach: self.approach_of(arc),
                time_ms: part_ms(self.arc_time_ms(arc), length_mm, ends.length_mm),
                length_mm,
            })
        };
        [stub(true), stub(false)].into_iter().flatten()
    }

    /// The ways to reach a snap: its segment from each end it may be driven from, by each turn into
    /// it there. None for a snap of another network.
    pub fn stubs_in(&self, snap: &Snap) -> impl Iterator<Item = Stub> {
        let part = |forward| {
            let ends = self.topology.ends.get(snap.segment.index())?;
            let arc = ends.arc(forward)?;
            let offset_mm = snap.offset_mm.min(ends.length_mm);
            let length_mm = if forward {
                offset_mm
            } else {
                ends.length_mm - offset_mm
            };
            let time_ms = part_ms(self.arc_time_ms(arc), length_mm, ends.length_mm);
            Some((arc, time_ms, length_mm))
        };
        [part(true), part(false)]
            .into_iter()
            .flatten()
            .flat_map(|(arc, time_ms, length_mm)| {
                self.topology.turns.onto(arc).iter().map(move |entry| Stub {
                    arc,
                    approach: ApproachId(entry.from),
                    time_ms: time_ms + entry.cost_ms,
                    length_mm,
                })
            })
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

    /// The drive from `from` to `to` on their common segment, as a stub out.
    pub(crate) fn along_segment(&self, from: &Snap, to: &Snap) -> Option<Stub> {
        if from.segment != to.segment {
            return None;
        }
        let ends = self.topology.ends.get(from.segment.index())?;
        let length_mm = from.offset_mm.abs_diff(to.offset_mm);
        let along = |forward| {
            let arc = ends.arc(forward).filter(|_| from.facing.allows(forward))?;
            let time_ms = self.part_of_arc_ms(arc, length_mm);
            Some(Stub {
                arc,
                approach: self.approach_of(arc),
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
    /// Out, by these turns, and in.
    Across {
        out: Stub,
        turns: Vec<u32>,
        into: Stub,
    },
}

impl Way {
    pub fn length_mm(&self, network: &RoadNetwork) -> u64 {
        match self {
            Self::Along(part) => u64::from(part.length_mm),
            Self::Across { out, turns, into } => {
                let whole = turns.iter().map(|&turn| {
                    let arc = network.topology.turns.turns[turn as usize].arc;
                    network.topology.length_mm(network.arc(arc).segment)
                });
                let ends = [out.length_mm, into.length_mm];
                whole.chain(ends).map(u64::from).sum()
            }
        }
    }
}

/// Searches between pairs of snaps; owns its scratch space, so keep one per thread.
pub struct PairSearch {
    network: RoadNetwork,
    out: Climb,
    into: Climb,
}

impl PairSearch {
    /// A search on that network.
    #[must_use]
    pub fn new(network: RoadNetwork) -> Self {
        let approaches = network.approach_count();
        Self {
            network,
            out: Climb::new(approaches),
            into: Climb::new(approaches),
        }
    }

    /// Goes on with the same roads under other travel times. Costs nothing.
    ///
    /// # Panics
    /// When it is another map.
    pub fn rebind(&mut self, network: RoadNetwork) {
        assert_eq!(self.network.id(), network.id(), "the roads are the same");
        self.network = network;
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
            (_, Some((time_ms, rank))) => Some((time_ms, self.unpack(from, to, rank)?)),
            (_, None) => None,
        }
    }

    /// Searches upwards from both sides. The fastest way that leaves the segments, and the rank at
    /// which its two halves meet.
    fn meet(&mut self, from: &Snap, to: &Snap) -> Option<(u32, u32)> {
        let network = &self.network;
        self.out.run(network, Sense::Up, network.stubs_out(from));
        self.into.run(network, Sense::Down, network.stubs_in(to));
        let times = self.out.ranks.iter().map(|&rank| {
            let (out_ms, into_ms) = (self.out.time_ms(rank), self.into.time_ms(rank));
            (out_ms.saturating_add(into_ms), rank)
        });
        times.min().filter(|&(time_ms, _)| time_ms < UNREACHABLE_MS)
    }

    /// The way whose two halves meet at that rank; `None` only for a rank at which none do.
    fn unpack(&self, from: &Snap, to: &Snap, rank: u32) -> Option<Way> {
        let network = &self.network;
        let hierarchy = &network.topology.hierarchy;
        let mut turns = Vec::new();
        let (first, mut climbed) = self.out.descend(hierarchy, rank);
        climbed.reverse();
        for up_arc in climbed {
            hierarchy.unpack(&network.metric, up_arc, Sense::Up, &mut turns);
        }
        let (last, descended) = self.into.descend(hierarchy, rank);
        for up_arc in descended {
            hierarchy.unpack(&network.metric, up_arc, Sense::Down, &mut turns);
        }
        let out = fastest_at(network.stubs_out(from), hierarchy, first)?;
        let into = fastest_at(network.stubs_in(to), hierarchy, last)?;
        Some(Way::Across { out, turns, into })
    }
}

/// Of a snap's stubs, the fastest one at the approach of that rank.
fn fastest_at(stubs: impl Iterator<Item = Stub>, hierarchy: &Hierarchy, rank: u32) -> Option<Stub> {
    stubs
        .filter(|stub| hierarchy.rank(stub.approach) == rank)
        .min_by_key(|stub| stub.time_ms)
}

/// A search upwards from a snap, to the ancestors of its approaches in the elimination tree.
pub(crate) struct Climb {
    /// The current search; an entry of `links` stamped otherwise is left over from an earlier one.
    generation: u32,
    links: Vec<Link>,
    /// The ranks it visited, lowest first.
    ranks: Vec<u32>,
    begin: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Link {
    generation: u32,
    time_ms: u32,
    /// The up-arc it was reached by, or [`NONE`] where the search began.
    reached_by: u32,
}

impl Climb {
    const UNKNOWN: Link = Link {
        generation: 0,
        time_ms: UNREACHABLE_MS,
        reached_by: NONE,
    };

    pub fn new(approaches: usize) -> Self {
        Self {
            generation: 0,
            links: vec![Self::UNKNOWN; approaches],
            ranks: Vec::new(),
            begin: Vec::new(),
        }
    }

    /// Forgets the last search and climbs from the stubs' approaches.
    pub fn run(&mut self, network: &RoadNetwork, sense: Sense, stubs: impl Iterator<Item = Stub>) {
        self.next_generation();
        let hierarchy = &network.topology.hierarchy;
        let up_arcs = network.metric.up_arcs(sense);
        self.ranks.clear();
        self.begin.clear();
        for stub in stubs {
            let rank = hierarchy.rank(stub.approach);
            if !self.begin.contains(&rank) {
                self.begin.push(rank);
            }
            self.reach(rank, stub.time_ms, NONE);
        }
        let mut begin = std::mem::take(&mut self.begin);
        hierarchy.each_ancestor(&mut begin, |rank| {
            self.ranks.push(rank);
            let time_ms = self.time_ms(rank);
            if time_ms < UNREACHABLE_MS {
                for (number, up_arc) in up_arcs.numbered(rank) {
                    self.reach(up_arc.upper, time_ms.saturating_add(up_arc.time_ms), number);
                }
            }
        });
        self.begin = begin;
    }

    fn reach(&mut self, rank: u32, time_ms: u32, reached_by: u32) {
        if time_ms < self.time_ms(rank) {
            self.links[rank as usize] = Link {
                generation: self.generation,
                time_ms,
                reached_by,
            };
        }
    }

    /// The ranks that were visited, lowest first.
    pub fn ranks(&self) -> &[u32] {
        &self.ranks
    }

    /// The time found at a rank; [`UNREACHABLE_MS`] where none was.
    pub fn time_ms(&self, rank: u32) -> u32 {
        let link = &self.links[rank as usize];
        if link.generation == self.generation {
            link.time_ms
        } else {
            UNREACHABLE_MS
        }
    }

    /// Walks back from a rank to where the search began: that rank, and the up-arcs on the way,
    /// highest first.
    fn descend(&self, hierarchy: &Hierarchy, mut rank: u32) -> (u32, Vec<u32>) {
        let mut up_arcs = Vec::new();
        loop {
            let reached_by = self.links[rank as usize].reached_by;
            if reached_by == NONE {
                return (rank, up_arcs);
            }
            up_arcs.push(reached_by);
            rank = hierarchy.lower_end(reached_by);
        }
    }

    fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Stamps of four thousand million searches ago would look fresh.
            self.links.fill(Self::UNKNOWN);
            self.generation = 1;
        }
    }
}
