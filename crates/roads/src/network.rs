//! [`RoadNetwork`]: a frozen map under one set of speeds, and what can be read off it.
//!
//! Searches live elsewhere: [`crate::snap`], [`crate::travel`], [`crate::route`], [`crate::search`]
//! and [`crate::expansion`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::RoadsError;
use crate::geo::{BoundingBox, LatLon};
use crate::graph::{
    ARC_TIME_MS_MAX, ApproachId, ArcId, Blueprint, NodeId, RoadArc, RoadClass, SegmentId, Topology,
    UNNAMED,
};
use crate::metric::Metric;
use crate::osm::ImportReport;
use crate::snap::{Facing, Snap};

/// Identity of a map: equal for equal content, on every machine. Prints as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MapId(pub u64);

impl fmt::Display for MapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A frozen road network under one set of travel times. Cloning shares everything.
#[derive(Clone)]
pub struct RoadNetwork {
    pub(crate) topology: Arc<Topology>,
    pub(crate) metric: Arc<Metric>,
}

impl fmt::Debug for RoadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoadNetwork")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("nodes", &self.node_count())
            .field("segments", &self.segment_count())
            .finish()
    }
}

impl RoadNetwork {
    /// Builds the network of a blueprint; the error says what is wrong with it.
    pub(crate) fn build(id: MapId, plan: Blueprint) -> Result<Self, String> {
        let (topology, arc_times_ms) = Topology::build(id, plan)?;
        let metric = Arc::new(Metric::customize(&topology, arc_times_ms));
        Ok(Self {
            topology: Arc::new(topology),
            metric,
        })
    }

    /// The same roads under other travel times, one per arc in milliseconds: live traffic. The
    /// roads are shared, so snaps, node, segment and arc numbers stay valid; costs one
    /// customization.
    ///
    /// # Errors
    /// [`RoadsError::ArcTimes`] unless there is one time per arc, each from 1 ms to
    /// [`ARC_TIME_MS_MAX`].
    pub fn with_arc_times(&self, arc_times_ms: Vec<u32>) -> Result<Self, RoadsError> {
        let refuse = |reason| Err(RoadsError::ArcTimes { reason });
        if arc_times_ms.len() != self.arc_count() {
            return refuse(format!(
                "{} given for {} arcs",
                arc_times_ms.len(),
                self.arc_count()
            ));
        }
        if let Some(arc) = arc_times_ms
            .iter()
            .position(|time| !(1..=ARC_TIME_MS_MAX).contains(time))
        {
            return refuse(format!(
                "{} ms for arc {arc} is not from 1 to {ARC_TIME_MS_MAX} ms",
                arc_times_ms[arc]
            ));
        }
        let metric = Arc::new(Metric::customize(&self.topology, arc_times_ms));
        Ok(Self {
            topology: Arc::clone(&self.topology),
            metric,
        })
    }

    /// The same network, searched nearly twice as fast: worth its price, about twice that of a
    /// customization, for travel times that stay in use for a while.
    #[must_use]
    pub fn tightened(&self) -> Self {
        Self {
            topology: Arc::clone(&self.topology),
            metric: Arc::new(self.metric.tightened(&self.topology)),
        }
    }

    /// Whether the other is this network under these travel times, rather than equal ones.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.topology, &other.topology) && Arc::ptr_eq(&self.metric, &other.metric)
    }

    /// Name of the map, usually of its city.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.topology.plan.name
    }

    /// Whom to credit wherever the map is shown.
    #[must_use]
    pub fn attribution(&self) -> &str {
        &self.topology.plan.attribution
    }

    /// What the import kept and dropped.
    #[must_use]
    pub fn report(&self) -> &ImportReport {
        &self.topology.plan.report
    }

    /// Identity of the roads; the same under every set of travel times.
    #[must_use]
    pub fn id(&self) -> MapId {
        self.topology.id
    }

    /// Number of nodes; they are numbered from 0.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.topology.node_count()
    }

    /// Number of segments; they are numbered from 0.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.topology.plan.segments.len()
    }

    /// Number of arcs; they are numbered from 0.
    #[must_use]
    pub fn arc_count(&self) -> usize {
        self.topology.arcs.len()
    }

    /// Number of approaches; they are numbered from 0.
    #[must_use]
    pub fn approach_count(&self) -> usize {
        self.topology.turns.approach_count()
    }

    /// The approach of whoever begins on that arc.
    ///
    /// # Panics
    /// When the arc is not of this network.
    #[must_use]
    pub fn approach_of(&self, arc: ArcId) -> ApproachId {
        ApproachId(self.topology.turns.approach_of[arc.index()])
    }

    /// The arcs that share an approach, for whoever begins on them.
    ///
    /// # Panics
    /// When the approach is not of this network.
    #[must_use]
    pub fn arcs_of(&self, approach: ApproachId) -> &[ArcId] {
        self.topology.turns.arcs(approach.0)
    }

    /// The smallest box around all roads.
    #[must_use]
    pub fn bounds(&self) -> BoundingBox {
        self.topology.snapper.bounds()
    }

    /// Where a node is.
    ///
    /// # Panics
    /// When the node is not of this network.
    #[must_use]
    pub fn node_position(&self, node: NodeId) -> LatLon {
        self.topology.plan.nodes[node.index()].into()
    }

    /// A segment, or `None` when the network has no such number.
    #[must_use]
    pub fn segment(&self, segment: SegmentId) -> Option<Segment<'_>> {
        (segment.index() < self.segment_count()).then_some(Segment {
            network: self,
            id: segment,
        })
    }

    /// All segments, in the order of their numbers.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> {
        (0..self.segment_count()).map(|number| Segment {
            network: self,
            id: SegmentId(number as u32),
        })
    }

    /// The ends, segment and direction of an arc.
    ///
    /// # Panics
    /// When the arc is not of this network.
    #[must_use]
    pub fn arc(&self, arc: ArcId) -> RoadArc {
        self.topology.arcs[arc.index()]
    }

    /// Time to drive the whole arc, in milliseconds.
    ///
    /// # Panics
    /// When the arc is not of this network.
    #[must_use]
    pub fn arc_time_ms(&self, arc: ArcId) -> u32 {
        self.metric.arc_times_ms[arc.index()]
    }

    /// Times of all arcs in milliseconds, by arc number.
    #[must_use]
    pub fn arc_times_ms(&self) -> &[u32] {
        &self.metric.arc_times_ms
    }

    /// Arcs leaving a node.
    ///
    /// # Panics
    /// When the node is not of this network.
    pub fn arcs_from(&self, node: NodeId) -> impl ExactSizeIterator<Item = ArcId> + use<> {
        let first = &self.topology.first_out;
        (first[node.index()]..first[node.index() + 1]).map(ArcId)
    }

    /// Arcs reaching a node.
    ///
    /// # Panics
    /// When the node is not of this network.
    pub fn arcs_into(&self, node: NodeId) -> impl ExactSizeIterator<Item = ArcId> {
        let first = &self.topology.first_in;
        let range = first[node.index()] as usize..first[node.index() + 1] as usize;
        self.topology.arcs_in[range].iter().copied().map(ArcId)
    }

    /// The place `offset_mm` millimetres from the start of the segment; an offset beyond its end
    /// gives the end.
    ///
    /// # Panics
    /// When the segment is not of this network.
    #[must_use]
    pub fn point_on_segment(&self, segment: SegmentId, offset_mm: u32) -> LatLon {
        self.topology.point_at(segment, offset_mm)
    }

    /// The snap at that place of the segment, as if a coordinate had been exactly there.
    ///
    /// # Panics
    /// When the segment is not of this network.
    #[must_use]
    pub fn snap_on_segment(&self, segment: SegmentId, offset_mm: u32) -> Snap {
        let offset_mm = offset_mm.min(self.topology.length_mm(segment));
        let point = self.point_on_segment(segment, offset_mm);
        Snap {
            segment,
            offset_mm,
            point,
            distance_m: 0.0,
            facing: Facing::Either,
        }
    }

    /// Heading of the road at that place when driven forwards, in degrees clockwise from north.
    ///
    /// # Panics
    /// When the segment is not of this network.
    #[must_use]
    pub fn heading_on_segment_deg(&self, segment: SegmentId, offset_mm: u32) -> f64 {
        let (from, to, _) = self.topology.piece_at(segment, offset_mm);
        LatLon::from(from).heading_deg(to.into())
    }

    /// The highest speed any arc allows, in metres per second. No drive between two snaps is faster
    /// than the straight line between their [`Snap::point`]s at this speed (which see
    /// [`RoadNetwork::travel_ms_min`] turns into a time).
    #[must_use]
    pub fn top_speed_m_per_s(&self) -> f64 {
        self.metric.top_speed_m_per_s
    }

    /// A lower bound in milliseconds of the travel time between two snaps at these points: the
    /// straight line at the top speed, rounded down. Never above the real travel time, so a search
    /// may stop once this exceeds what it has.
    #[must_use]
    pub fn travel_ms_min(&self, from: LatLon, to: LatLon) -> u32 {
        // A snap's offset is whole millimetres, so each end may be half of one off.
        let straight_m = (from.distance_m(to) - 0.001).max(0.0);
        (straight_m / self.top_speed_m_per_s() * 1000.0) as u32
    }
}

/// A segment of a network, to read from.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    network: &'a RoadNetwork,
    id: SegmentId,
}

impl<'a> Segment<'a> {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The street's name, or its reference ("A 8") when it has no name.
    #[must_use]
    pub fn street(&self) -> Option<&'a str> {
        let plan = &self.network.topology.plan;
        let street = plan.segments[self.id.index()].street;
        (street != UNNAMED).then(|| plan.streets[street as usize].as_str())
    }

    /// How important the road is.
    #[must_use]
    pub fn class(&self) -> RoadClass {
        self.network.topology.plan.segments[self.id.index()].class
    }

    /// The node its geometry begins at.
    #[must_use]
    pub fn tail(&self) -> NodeId {
        self.network.topology.ends[self.id.index()].tail
    }

    /// The node its geometry ends at.
    #[must_use]
    pub fn head(&self) -> NodeId {
        self.network.topology.ends[self.id.index()].head
    }

    /// Its length in millimetres; offsets run from 0 to this.
    #[must_use]
    pub fn length_mm(&self) -> u32 {
        self.network.topology.length_mm(self.id)
    }

    /// Its length in metres.
    #[must_use]
    pub fn length_m(&self) -> f64 {
        f64::from(self.length_mm()) / 1000.0
    }

    /// The arc driven the way the geometry runs (`true`) or against it, when that is allowed.
    #[must_use]
    pub fn arc(&self, forward: bool) -> Option<ArcId> {
        self.network.topology.ends[self.id.index()].arc(forward)
    }

    /// Whether it may be driven in one direction only.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.arc(true).is_none() || self.arc(false).is_none()
    }

    /// Its bends from tail to head, ends included.
    pub fn line(&self) -> impl ExactSizeIterator<Item = LatLon> + DoubleEndedIterator + use<'a> {
        let (points, _) = self.network.topology.course(self.id);
        points.iter().map(|&point| LatLon::from(point))
    }
}
