//! The frozen roads: nodes, segments and arcs in flat arrays, numbered from zero.
//!
//! `Blueprint` is what is written down about a network, `Topology` is that plus everything
//! derived from it for speed. `Topology::build` is the only way from one to the other, and trusts
//! nothing: a blueprint read from a file may say anything.

use serde::{Deserialize, Serialize};

use crate::geo::{LatLon, Point};
use crate::hierarchy::Hierarchy;
use crate::network::MapId;
use crate::osm::ImportReport;
use crate::snap::SnapIndex;

/// Number of a graph node: a junction or the end of a street.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// Number of a segment: a piece of street between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u32);

/// Number of an arc: a segment driven in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArcId(pub u32);

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
    /// The order in which the hierarchy contracts the nodes.
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
    pub hierarchy: Hierarchy,
}

impl Topology {
    /// Checks the blueprint and derives the rest. Also gives the arcs' own travel times.
    ///
    /// # Errors
    /// What is wrong with the blueprint.
    pub fn build(id: MapId, plan: Blueprint) -> Result<(Self, Vec<u32>), String> {
        plan.check()?;
        let (arcs, first_out, arc_times_ms) = plan.arcs();
        let (first_in, arcs_in) = arcs_by_head(plan.nodes.len(), &arcs);
        let ends = plan.ends(&arcs);
        let snapper = SnapIndex::build(&plan);
        let hierarchy = Hierarchy::build(&first_out, &arcs, &plan.order);
        let topology = Self {
            id,
            plan,
            arcs,
            first_out,
            arcs_in,
            first_in,
            ends,
            snapper,
            hierarchy,
        };
        Ok((topology, arc_times_ms))
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
        let mut seen = vec![false; nodes];
        for &node in &self.order {
            match seen.get_mut(node as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err("the contraction order names a node twice".to_owned()),
            }
        }
        if self.order.len() != nodes {
            return Err("the contraction order leaves nodes out".to_owned());
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

    fn ends(&self, arcs: &[RoadArc]) -> Vec<SegmentEnds> {
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

    /// The arcs sorted by tail (within a tail: by segment, forwards first), where each node's
    /// begin, and their times.
    fn arcs(&self) -> (Vec<RoadArc>, Vec<u32>, Vec<u32>) {
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
        let first_out = first_of_each(self.nodes.len(), arcs.iter().map(|(arc, _)| arc.tail));
        let (arcs, times_ms) = arcs.into_iter().unzip();
        (arcs, first_out, times_ms)
    }
}

fn arcs_by_head(nodes: usize, arcs: &[RoadArc]) -> (Vec<u32>, Vec<u32>) {
    let mut by_head: Vec<u32> = (0..arcs.len() as u32).collect();
    by_head.sort_by_key(|&arc| arcs[arc as usize].head);
    let first_in = first_of_each(nodes, by_head.iter().map(|&arc| arcs[arc as usize].head));
    (first_in, by_head)
}

/// Where the run of each node begins in a list sorted by node, with the end of the list last.
fn first_of_each(nodes: usize, sorted: impl Iterator<Item = NodeId>) -> Vec<u32> {
    let mut first = vec![0; nodes + 1];
    for node in sorted {
        first[node.index() + 1] += 1;
    }
    for node in 0..nodes {
        first[node + 1] += first[node];
    }
    first
}
