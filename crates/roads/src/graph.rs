//! The frozen roads: nodes, segments and arcs in flat arrays, numbered from zero.
//!
//! `Blueprint` is what is written down about a network, `Topology` is that plus everything
//! derived from it for speed. `Topology::build` is the only way from one to the other, and trusts
//! nothing: a blueprint read from a file may say anything.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::geo::{LatLon, Point};
use crate::hierarchy::Hierarchy;
use crate::network::MapId;
use crate::osm::ImportReport;
use crate::snap::SnapIndex;
use crate::streets::StreetIndex;
use crate::turns::{Incidence, TurnTable, Turns};

/// Number of a graph node: a junction or the end of a street.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// Number of a segment: a piece of street between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u32);

/// Number of an arc: a segment driven in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArcId(pub u32);

/// Number of an approach: arcs into one node from which driving on costs the same. What the searches
/// walk from and to; see the head of `turns.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApproachId(pub u32);

impl ApproachId {
    /// The number as an array index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// The number as an array index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl SegmentId {
    /// The number as an array index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ArcId {
    /// The number as an array index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A segment driven in one direction, from `tail` to `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoadArc {
    /// The node it leaves.
    pub tail: NodeId,
    /// The node it reaches.
    pub head: NodeId,
    /// The segment it drives along.
    pub segment: SegmentId,
    /// Whether it runs the way the segment's geometry does.
    pub forward: bool,
}

/// How important a road is: the car-carrying values of OpenStreetMap's `highway` key, with the
/// `_link` forms (ramps) folded into the road they serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoadClass {
    /// Motorways and their ramps.
    Motorway,
    /// Trunk roads and their ramps.
    Trunk,
    /// Primary roads and their ramps.
    Primary,
    /// Secondary roads and their ramps.
    Secondary,
    /// Tertiary roads and their ramps.
    Tertiary,
    /// Minor public roads, and roads whose class nobody knows.
    Unclassified,
    /// Streets people live in.
    Residential,
    /// Streets where walkers go first.
    LivingStreet,
    /// Drives, alleys and car parks.
    Service,
}

/// One segment as it is written down. A direction that may not be driven has a time of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    pub tail: u32,
    pub head: u32,
    pub class: RoadClass,
    /// Index into the street names, or [`UNNAMED`].
    pub street: u32,
    pub forward_ms: u32,
    pub backward_ms: u32,
    /// For those who begin or end there, not for driving through.
    pub destination_only: bool,
}

pub(crate) const UNNAMED: u32 = u32::MAX;
const NO_ARC: u32 = u32::MAX;

/// The longest time one arc may take, in milliseconds: a day. Keeps sums far from overflow.
pub const ARC_TIME_MS_MAX: u32 = 86_400_000;

/// Everything that is written down about a network; the rest is derived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blueprint {
    pub name: String,
    pub attribution: String,
    pub report: ImportReport,
    pub nodes: Vec<Point>,
    pub segments: Vec<SegmentRecord>,
    pub streets: Vec<String>,
    /// Segment `s` runs through `points[first_point[s]..first_point[s + 1]]`, ends included.
    pub first_point: Vec<u32>,
    pub points: Vec<Point>,
    /// Millimetres from the start of its segment to each of `points`.
    pub mileposts: Vec<u32>,
    pub turns: TurnTable,
    /// The order in which the hierarchy contracts the approaches.
    pub order: Vec<u32>,
}

/// What searches ask of a segment: a few numbers side by side, where they cost one look at memory.
#[derive(Clone, Copy)]
pub(crate) struct SegmentEnds {
    pub length_mm: u32,
    pub tail: NodeId,
    pub head: NodeId,
    /// Its arc forwards and its arc backwards, or [`NO_ARC`].
    arcs: [u32; 2],
}

impl SegmentEnds {
    /// The arc in that direction, when it may be driven.
    pub fn arc(&self, forward: bool) -> Option<ArcId> {
        let arc = self.arcs[usize::from(!forward)];
        (arc != NO_ARC).then_some(ArcId(arc))
    }
}

/// A blueprint with all that is derived from it. Never changes once built.
pub(crate) struct Topology {
    pub id: MapId,
    pub plan: Blueprint,
    /// Arcs sorted by tail: those of node `n` are `first_out[n]..first_out[n + 1]`.
    pub arcs: Vec<RoadArc>,
    pub first_out: Vec<u32>,
    /// Arcs sorted by head, as numbers into `arcs`.
    pub arcs_in: Vec<u32>,
    pub first_in: Vec<u32>,
    /// What every search asks of a segment, in one place.
    pub ends: Vec<SegmentEnds>,
    pub snapper: SnapIndex,
    /// Streets by name, once somebody has asked.
    pub streets: OnceLock<StreetIndex>,
    pub turns: Turns,
    pub hierarchy: Hierarchy,
}

/// The arcs of a blueprint, in the order that gives them their numbers.
pub(crate) struct Arcs {
    /// Sorted by tail (within a tail: by segment, forwards first).
    pub arcs: Vec<RoadArc>,
    pub first_out: Vec<u32>,
    /// Sorted by head, as numbers into `arcs`.
    pub arcs_in: Vec<u32>,
    pub first_in: Vec<u32>,
    pub times_ms: Vec<u32>,
}

impl Arcs {
    pub fn incidence(&self) -> Incidence<'_> {
        Incidence {
            arcs: &self.arcs,
            first_out: &self.first_out,
            arcs_in: &self.arcs_in,
            first_in: &self.first_in,
        }
    }
}

impl Topology {
    /// Checks the blueprint and derives the rest. Also gives the arcs' own travel times.
    ///
    /// # Errors
    /// What is wrong with the blueprint.
    pub fn build(id: MapId, plan: Blueprint) -> Result<(Self, Vec<u32>), String> {
        plan.check()?;
        let arcs = plan.arcs();
        let roads = arcs.incidence();
        plan.turns.check(&roads)?;
        let turns = Turns::build(&roads, &plan.segments, &plan.turns);
        check_order(&plan.order, turns.approach_count())?;
        let ends = plan.ends(&arcs.arcs);
        // The two slow parts know nothing of each other.
        let (snapper, hierarchy) = std::thread::scope(|scope| {
            let snapper = scope.spawn(|| SnapIndex::build(&plan));
            let hierarchy = Hierarchy::build(&turns, &plan.order);
            let snapper = snapper.join();
            let snapper = snapper.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (snapper, hierarchy)
        });
        let Arcs {
            arcs,
            first_out,
            arcs_in,
            first_in,
            times_ms,
        } = arcs;
        let topology = Self {
            id,
            plan,
            arcs,
            first_out,
            arcs_in,
            first_in,
            ends,
            snapper,
            streets: OnceLock::new(),
            turns,
            hierarchy,
        };
        Ok((topology, times_ms))
    }

    pub fn node_count(&self) -> usize {
        self.plan.nodes.len()
    }

    /// Length of the segment in millimetres.
    pub fn length_mm(&self, segment: SegmentId) -> u32 {
        self.ends[segment.index()].length_mm
    }

    /// The bends of the segment with the millimetres to each, ends included.
    pub fn course(&self, segment: SegmentId) -> (&[Point], &[u32]) {
        self.plan.course(segment.index())
    }

    /// The piece of the segment that holds the offset, and how far along that piece it lies.
    pub fn piece_at(&self, segment: SegmentId, offset_mm: u32) -> (Point, Point, f64) {
        let (points, mileposts) = self.course(segment);
        let last_piece = points.len() - 2;
        let piece = mileposts
            .partition_point(|&post| post <= offset_mm)
            .saturating_sub(1)
            .min(last_piece);
        let (start, end) = (mileposts[piece], mileposts[piece + 1]);
        let share = f64::from(offset_mm.min(end) - start) / f64::from(end - start);
        (points[piece], points[piece + 1], share)
    }

    pub fn point_at(&self, segment: SegmentId, offset_mm: u32) -> LatLon {
        let (from, to, share) = self.piece_at(segment, offset_mm);
        crate::geo::between(from, to, share)
    }
}

impl Blueprint {
    pub fn course(&self, segment: usize) -> (&[Point], &[u32]) {
        let range = self.first_point[segment] as usize..self.first_point[segment + 1] as usize;
        (&self.points[range.clone()], &self.mileposts[range])
    }

    fn check(&self) -> Result<(), String> {
        let (nodes, segments) = (self.nodes.len(), self.segments.len());
        if nodes == 0 || segments == 0 {
            return Err("it has no roads".to_owned());
        }
        // Two arcs per segment are numbered with u32, and one number is kept for "none".
        if nodes >= u32::MAX as usize / 2 || segments >= u32::MAX as usize / 2 {
            return Err("it has more roads than can be numbered".to_owned());
        }
        if !self
            .nodes
            .iter()
            .chain(&self.points)
            .all(|point| point.is_on_earth())
        {
            return Err("a coordinate is not on Earth".to_owned());
        }
        if self.points.len() != self.mileposts.len()
            || self.first_point.len() != segments + 1
            || self.first_point.first() != Some(&0)
            || self.first_point.last().map(|&end| end as usize) != Some(self.points.len())
            || !self
                .first_point
                .windows(2)
                .all(|pair| pair[0] + 2 <= pair[1])
        {
            return Err("the geometry does not match the segments".to_owned());
        }
        for (number, segment) in self.segments.iter().enumerate() {
            self.check_segment(number, segment)
                .map_err(|what| format!("segment {number} {what}"))?;
        }
        Ok(())
    }

    fn check_segment(&self, number: usize, segment: &SegmentRecord) -> Result<(), &'static str> {
        let ends = (
            self.nodes.get(segment.tail as usize),
            self.nodes.get(segment.head as usize),
        );
        let (Some(tail), Some(head)) = ends else {
            return Err("ends at a node that does not exist");
        };
        let (points, mileposts) = self.course(number);
        if points.first() != Some(tail) || points.last() != Some(head) {
            return Err("does not begin and end at its nodes");
        }
        if mileposts[0] != 0 || !mileposts.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err("has a length that does not grow along the way");
        }
        if segment.forward_ms == 0 && segment.backward_ms == 0 {
            return Err("cannot be driven at all");
        }
        if segment.forward_ms.max(segment.backward_ms) > ARC_TIME_MS_MAX {
            return Err("takes more than a day");
        }
        if segment.street != UNNAMED && segment.street as usize >= self.streets.len() {
            return Err("has a street name that does not exist");
        }
        Ok(())
    }

    pub fn ends(&self, arcs: &[RoadArc]) -> Vec<SegmentEnds> {
        let lengths = self.first_point[1..]
            .iter()
            .map(|&end| self.mileposts[end as usize - 1]);
        let mut ends: Vec<SegmentEnds> = self
            .segments
            .iter()
            .zip(lengths)
            .map(|(record, length_mm)| {
                let (tail, head) = (NodeId(record.tail), NodeId(record.head));
                SegmentEnds {
                    length_mm,
                    tail,
                    head,
                    arcs: [NO_ARC; 2],
                }
            })
            .collect();
        for (number, arc) in arcs.iter().enumerate() {
            ends[arc.segment.index()].arcs[usize::from(!arc.forward)] = number as u32;
        }
        ends
    }

    /// What is left when only some arcs, numbered as in `arcs`, are kept: their roads with the nodes
    /// and names these have, numbered in the order of the roads. Has no contraction order yet.
    pub fn keeping(self, arcs: &Arcs, kept: &[bool]) -> Self {
        let mut old_arcs = vec![[NO_ARC; 2]; self.segments.len()];
        for (number, arc) in arcs
            .arcs
            .iter()
            .enumerate()
            .filter(|(number, _)| kept[*number])
        {
            old_arcs[arc.segment.index()][usize::from(!arc.forward)] = number as u32;
        }
        let mut plan = Self {
            name: self.name,
            attribution: self.attribution,
            report: self.report,
            nodes: Vec::new(),
            segments: Vec::new(),
            streets: Vec::new(),
            first_point: vec![0],
            points: Vec::new(),
            mileposts: Vec::new(),
            turns: TurnTable::default(),
            order: Vec::new(),
        };
        let mut nodes = vec![None; self.nodes.len()];
        let mut streets = vec![None; self.streets.len()];
        let mut old_segments = Vec::new();
        for (number, record) in self.segments.iter().enumerate() {
            let [forward, backward] = old_arcs[number];
            if forward == NO_ARC && backward == NO_ARC {
                continue;
            }
            let mut number_node = |node: u32| {
                *nodes[node as usize].get_or_insert_with(|| {
                    plan.nodes.push(self.nodes[node as usize]);
                    plan.nodes.len() as u32 - 1
                })
            };
            let (tail, head) = (number_node(record.tail), number_node(record.head));
            let street = if record.street == UNNAMED {
                UNNAMED
            } else {
                *streets[record.street as usize].get_or_insert_with(|| {
                    plan.streets
                        .push(self.streets[record.street as usize].clone());
                    plan.streets.len() as u32 - 1
                })
            };
            let time = |arc: u32, time_ms: u32| if arc == NO_ARC { 0 } else { time_ms };
            plan.segments.push(SegmentRecord {
                tail,
                head,
                street,
                forward_ms: time(forward, record.forward_ms),
                backward_ms: time(backward, record.backward_ms),
                ..*record
            });
            let range = self.first_point[number] as usize..self.first_point[number + 1] as usize;
            plan.points.extend_from_slice(&self.points[range.clone()]);
            plan.mileposts.extend_from_slice(&self.mileposts[range]);
            plan.first_point.push(plan.points.len() as u32);
            old_segments.push(number);
        }
        let new_arcs = plan.arcs();
        let old_arc =
            |arc: &RoadArc| old_arcs[old_segments[arc.segment.index()]][usize::from(!arc.forward)];
        let old: Vec<u32> = new_arcs.arcs.iter().map(old_arc).collect();
        plan.turns = self
            .turns
            .renumbered(&arcs.incidence(), &new_arcs.incidence(), &old);
        plan
    }

    /// The arcs, in order.
    pub fn arcs(&self) -> Arcs {
        let mut arcs = Vec::with_capacity(self.segments.len() * 2);
        for (number, segment) in self.segments.iter().enumerate() {
            let (tail, head) = (NodeId(segment.tail), NodeId(segment.head));
            let segment_id = SegmentId(number as u32);
            if segment.forward_ms > 0 {
                let arc = RoadArc {
                    tail,
                    head,
                    segment: segment_id,
                    forward: true,
                };
                arcs.push((arc, segment.forward_ms));
            }
            if segment.backward_ms > 0 {
                let arc = RoadArc {
                    tail: head,
                    head: tail,
                    segment: segment_id,
                    forward: false,
                };
                arcs.push((arc, segment.backward_ms));
            }
        }
        arcs.sort_by_key(|(arc, _)| arc.tail);
        let nodes = self.nodes.len();
        let first_out = first_of_each(nodes, arcs.iter().map(|(arc, _)| arc.tail.0));
        let (arcs, times_ms): (Vec<RoadArc>, _) = arcs.into_iter().unzip();
        let mut arcs_in: Vec<u32> = (0..arcs.len() as u32).collect();
        arcs_in.sort_by_key(|&arc| arcs[arc as usize].head);
        let heads = arcs_in.iter().map(|&arc| arcs[arc as usize].head.0);
        let first_in = first_of_each(nodes, heads);
        Arcs {
            arcs,
            first_out,
            arcs_in,
            first_in,
            times_ms,
        }
    }
}

fn check_order(order: &[u32], approaches: usize) -> Result<(), String> {
    let mut seen = vec![false; approaches];
    for &approach in order {
        match seen.get_mut(approach as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err("the contraction order names an approach twice".to_owned()),
        }
    }
    if order.len() != approaches {
        return Err("the contraction order leaves approaches out".to_owned());
    }
    Ok(())
}

/// Where the run of each number begins in a sorted list of them, with the end of the list last.
pub(crate) fn first_of_each(count: usize, sorted: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut first = vec![0; count + 1];
    for number in sorted {
        first[number as usize + 1] += 1;
    }
    for number in 0..count {
        first[number + 1] += first[number];
    }
    first
}
