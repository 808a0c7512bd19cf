//! A road network while it is being drawn: nodes and roads are added, then it is frozen.
//!
//! The importer draws from OpenStreetMap; tests draw streets by hand. Freezing keeps the largest
//! part in which every road reaches every other, so that any two places on the network have a way
//! between them, and numbers everything afresh.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, IntoNeighbors, Reversed, VisitMap, Visitable};
use rustc_hash::FxHashMap;

use crate::cache;
use crate::geo::{LatLon, Point};
use crate::graph::{
    ARC_TIME_MS_MAX, ArcId, Arcs, Blueprint, NodeId, RoadClass, SegmentRecord, UNNAMED,
};
use crate::hierarchy::contraction_order;
use crate::junction::{Junctions, Restriction};
use crate::osm::ImportReport;
use crate::progress::{ImportProgress, Phase, Told};
use crate::turns::{TurnTable, Turns};
use crate::{RoadNetwork, RoadsError};

/// Speeds are brought into this range, in km/h.
const SPEED_KMH: std::ops::RangeInclusive<f64> = 1.0..=300.0;

/// What a road is like, apart from where it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Road<'a> {
    /// Name of the street, if it has one.
    pub street: Option<&'a str>,
    /// How important it is.
    pub class: RoadClass,
    /// Speed from its first node to its second in km/h; `None` when that is forbidden.
    pub forward_kmh: Option<f64>,
    /// Speed from its second node to its first in km/h; `None` when that is forbidden.
    pub backward_kmh: Option<f64>,
    /// Time lost from its first node to its second at lights and crossings, in milliseconds.
    pub forward_delay_ms: u32,
    /// Time lost from its second node to its first, in milliseconds.
    pub backward_delay_ms: u32,
    /// For those who begin or end there, not for driving through.
    pub destination_only: bool,
}

impl Road<'_> {
    /// A nameless residential street for both directions.
    #[must_use]
    pub fn two_way(speed_kmh: f64) -> Self {
        let speed = Some(speed_kmh);
        Self {
            street: None,
            class: RoadClass::Residential,
            forward_kmh: speed,
            backward_kmh: speed,
            forward_delay_ms: 0,
            backward_delay_ms: 0,
            destination_only: false,
        }
    }

    /// A nameless residential street from its first node to its second only.
    #[must_use]
    pub fn one_way(speed_kmh: f64) -> Self {
        Self {
            backward_kmh: None,
            ..Self::two_way(speed_kmh)
        }
    }
}

/// Nodes and roads to be frozen into a [`RoadNetwork`].
pub struct Draft {
    name: String,
    attribution: String,
    nodes: Vec<Point>,
    roads: Vec<DraftRoad>,
    streets: Vec<String>,
    street_numbers: FxHashMap<String, u32>,
    junctions: Junctions,
}

/// Number of a road in a draft, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoadNo(pub u32);

/// Length and times of a road.
pub(crate) struct Measured {
    pub length_mm: u64,
    pub forward_ms: u64,
    pub backward_ms: u64,
}

struct DraftRoad {
    record: SegmentRecord,
    points: Vec<Point>,
    mileposts: Vec<u32>,
}

impl Draft {
    /// An empty draft of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            attribution: String::new(),
            nodes: Vec::new(),
            roads: Vec::new(),
            streets: Vec::new(),
            street_numbers: FxHashMap::default(),
            junctions: Junctions::default(),
        }
    }

    /// Sets whom to credit for the data.
    pub fn set_attribution(&mut self, attribution: &str) {
        attribution.clone_into(&mut self.attribution);
    }

    /// Adds a node. Its number is good for [`Draft::add_road`] only: freezing numbers afresh.
    pub fn add_node(&mut self, place: LatLon) -> NodeId {
        self.add_point(place.into())
    }

    /// Adds a road between two nodes, bending at the places between. A road that may be driven in
    /// neither direction, or that goes nowhere, is left out and has no number.
    ///
    /// # Errors
    /// [`RoadsError::TooLarge`] for a road longer than 4000 km or slower than a day.
    ///
    /// # Panics
    /// When a node is not of this draft.
    pub fn add_road(
        &mut self,
        from: NodeId,
        to: NodeId,
        bends: &[LatLon],
        road: &Road<'_>,
    ) -> Result<Option<RoadNo>, RoadsError> {
        let bends: Vec<Point> = bends.iter().map(|&place| place.into()).collect();
        self.add_segment(from, to, &bends, road)
    }

    pub(crate) fn add_point(&mut self, point: Point) -> NodeId {
        self.nodes.push(point);
        NodeId((self.nodes.len() - 1) as u32)
    }

    /// Adds a straight road whose length and times are known. A direction that may not be driven has
    /// a time of 0. The length is at least that of the straight line.
    pub(crate) fn add_measured(
        &mut self,
        from: NodeId,
        to: NodeId,
        measured: Measured,
    ) -> Result<(), RoadsError> {
        let time_ms = |time_ms: u64| match u32::try_from(time_ms) {
            Ok(time_ms) if time_ms <= ARC_TIME_MS_MAX => Ok(time_ms),
            _ => Err(too_slow()),
        };
        let length_mm =
            u32::try_from(measured.length_mm).map_err(|_| too_long(measured.length_mm))?;
        let record = SegmentRecord {
            tail: from.0,
            head: to.0,
            class: RoadClass::Unclassified,
            street: UNNAMED,
            forward_ms: time_ms(measured.forward_ms)?,
            backward_ms: time_ms(measured.backward_ms)?,
            destination_only: false,
        };
        self.roads.push(DraftRoad {
            record,
            points: vec![self.nodes[from.index()], self.nodes[to.index()]],
            mileposts: vec![0, length_mm],
        });
        Ok(())
    }

    pub(crate) fn add_segment(
        &mut self,
        from: NodeId,
        to: NodeId,
        bends: &[Point],
        road: &Road<'_>,
    ) -> Result<Option<RoadNo>, RoadsError> {
        if road.forward_kmh.is_none() && road.backward_kmh.is_none() {
            return Ok(None);
        }
        let mut points = vec![self.nodes[from.index()]];
        points.extend_from_slice(bends);
        points.dedup();
        let end = self.nodes[to.index()];
        // A place repeated by the last bend is the end itself; two nodes may still share a place.
        if points.len() > 1 && points.last() == Some(&end) {
            points.pop();
        }
        if points.len() == 1 && from == to {
            return Ok(None); // goes nowhere
        }
        points.push(end);
        let mileposts = mileposts(&points)?;
        let length_mm = mileposts.last().copied().unwrap_or(0);
        let record = SegmentRecord {
            tail: from.0,
            head: to.0,
            class: road.class,
            street: road
                .street
                .map_or(UNNAMED, |street| self.street_number(street)),
            forward_ms: road
                .forward_kmh
                .map_or(Ok(0), |kmh| drive_ms(length_mm, kmh, road.forward_delay_ms))?,
            backward_ms: road.backward_kmh.map_or(Ok(0), |kmh| {
                drive_ms(length_mm, kmh, road.backward_delay_ms)
            })?,
            destination_only: road.destination_only,
        };
        self.roads.push(DraftRoad {
            record,
            points,
            mileposts,
        });
        Ok(Some(RoadNo(self.roads.len() as u32 - 1)))
    }

    /// Charges for turns by their angle, and forbids U-turns where there is another way on. Without
    /// this, turns are free and cars turn round at every node.
    pub fn charge_turns(&mut self) {
        self.junctions.is_charged = true;
    }

    /// Whoever passes the node stops there for that long, in milliseconds: lights, a stop sign. Counts
    /// only where turns are charged for.
    pub fn delay_at(&mut self, node: NodeId, delay_ms: u32) {
        self.junctions.delays_ms.insert(node.0, delay_ms);
    }

    /// Restricts turns. Roads that do not follow each other are never driven that way, so restricting
    /// that changes nothing.
    pub fn restrict(&mut self, restriction: Restriction) {
        self.junctions.restrictions.push(restriction);
    }

    fn street_number(&mut self, street: &str) -> u32 {
        if let Some(&number) = self.street_numbers.get(street) {
            return number;
        }
        let number = self.streets.len() as u32;
        self.streets.push(street.to_owned());
        self.street_numbers.insert(street.to_owned(), number);
        number
    }

    /// Freezes into a network what every place can be reached from and reaches: the largest strongly
    /// connected part, and the destination-only roads at its edges.
    ///
    /// # Errors
    /// [`RoadsError::NoRoads`] when no road is left, [`RoadsError::TooLarge`] when there are more
    /// than can be numbered.
    pub fn freeze(self) -> Result<RoadNetwork, RoadsError> {
        self.freeze_with(ImportReport::default(), &mut |_| {})
    }

    /// Freezes, and files the report of where the draft came from with what freezing dropped.
    pub(crate) fn freeze_with(
        self,
        mut report: ImportReport,
        told: Told<'_>,
    ) -> Result<RoadNetwork, RoadsError> {
        let origin = self.name.clone();
        let junctions = self.junctions.clone();
        let mut plan = self.into_blueprint()?;
        let drawn = (plan.nodes.len(), plan.segments.len());
        let mut arcs = plan.arcs();
        // Where roads lead out of the extract, or nowhere, cars turn round: so first find out which do.
        let free = Turns::build(&arcs.incidence(), &plan.segments, &plan.turns);
        plan.turns = junctions.table(&plan, &arcs, &reachable(&arcs, &free));
        let mut turns = Turns::build(&arcs.incidence(), &plan.segments, &plan.turns);
        let mut kept = reachable(&arcs, &turns);
        // What only leads to roads that were dropped has to go too.
        while kept.contains(&false) {
            report.unreachable_arcs += kept.iter().filter(|kept| !**kept).count() as u64;
            plan = plan.keeping(&arcs, &kept);
            arcs = plan.arcs();
            turns = Turns::build(&arcs.incidence(), &plan.segments, &plan.turns);
            kept = reachable(&arcs, &turns);
        }
        if plan.segments.is_empty() {
            let reason = match drawn {
                (_, 0) => "it has no roads".to_owned(),
                (_, roads) => format!("none of its {roads} roads can be driven there and back"),
            };
            return Err(RoadsError::NoRoads { origin, reason });
        }
        told(ImportProgress::begins(Phase::Ordering));
        plan.order = contraction_order(&plan.nodes, &arcs.incidence(), &turns);
        report.unreachable_nodes = (drawn.0 - plan.nodes.len()) as u64;
        report.unreachable_segments = (drawn.1 - plan.segments.len()) as u64;
        report.nodes = plan.nodes.len() as u64;
        report.segments = plan.segments.len() as u64;
        report.arcs = arcs.arcs.len() as u64;
        report.turns = turns.turns.len() as u64;
        report.streets = plan.streets.len() as u64;
        let ends = plan.first_point[1..].iter();
        report.road_metres = ends
            .map(|&end| f64::from(plan.mileposts[end as usize - 1]) / 1000.0)
            .sum();
        plan.report = report;
        let id = cache::map_id(&plan);
        RoadNetwork::build(id, plan).map_err(|what| RoadsError::TooLarge { what })
    }

    fn into_blueprint(self) -> Result<Blueprint, RoadsError> {
        let point_count: usize = self.roads.iter().map(|road| road.points.len()).sum();
        if u32::try_from(point_count).is_err() {
            return Err(RoadsError::TooLarge {
                what: format!("{point_count} bends"),
            });
        }
        let mut segments = Vec::with_capacity(self.roads.len());
        let mut points = Vec::with_capacity(point_count);
        let mut mileposts = Vec::with_capacity(point_count);
        let mut first_point = vec![0];
        for road in self.roads {
            segments.push(road.record);
            points.extend(road.points);
            mileposts.extend(road.mileposts);
            first_point.push(points.len() as u32);
        }
        Ok(Blueprint {
            name: self.name,
            attribution: self.attribution,
            report: ImportReport::default(),
            nodes: self.nodes,
            segments,
            streets: self.streets,
            first_point,
            points,
            mileposts,
            turns: TurnTable::default(),
            order: Vec::new(),
        })
    }
}

/// For every arc, whether it is reached from the largest strongly connected part of the approaches
/// and reaches it. Of parts equally large, the one with the lowest approach.
fn reachable(arcs: &Arcs, turns: &Turns) -> Vec<bool> {
    let index = |approach: u32| NodeIndex::<u32>::new(approach as usize);
    let mut graph = DiGraph::<(), ()>::with_capacity(turns.approach_count(), turns.turns.len());
    for _ in 0..turns.approach_count() {
        graph.add_node(());
    }
    for turn in &turns.turns {
        graph.add_edge(index(turn.from), index(turn.to), ());
    }
    let parts = kosaraju_scc(&graph);
    let lowest = |part: &Vec<_>| part.iter().min().copied();
    let largest = parts
        .iter()
        .max_by_key(|part| (part.len(), std::cmp::Reverse(lowest(part))));
    let Some(core) = largest else {
        return vec![false; arcs.arcs.len()];
    };
    let from_core = visited(&graph, core);
    let to_core = visited(Reversed(&graph), core);
    (0..arcs.arcs.len())
        .map(|arc| {
            let leaves = to_core.is_visited(&index(turns.approach_of[arc]));
            let mut entries = turns.onto(ArcId(arc as u32)).iter();
            let is_entered = entries.any(|entry| from_core.is_visited(&index(entry.from)));
            leaves && is_entered
        })
        .collect()
}

fn visited<G>(graph: G, from: &[NodeIndex]) -> G::Map
where
    G: IntoNeighbors<NodeId = NodeIndex> + Visitable,
{
    let mut walk = Dfs::empty(graph);
    walk.stack.extend_from_slice(from);
    while walk.next(graph).is_some() {}
    walk.discovered
}

/// Millimetres from the first point to each; every piece is rounded up and at least one.
fn mileposts(points: &[Point]) -> Result<Vec<u32>, RoadsError> {
    let mut total_mm = 0_u64;
    let mut posts = vec![0];
    for ends in points.windows(2) {
        let metres = LatLon::from(ends[0]).distance_m(ends[1].into());
        total_mm += ((metres * 1000.0).ceil() as u64).max(1);
        let post = u32::try_from(total_mm);
        posts.push(post.map_err(|_| too_long(total_mm))?);
    }
    Ok(posts)
}

/// Time to drive that far at that speed and stand that long, rounded up, at least a millisecond.
fn drive_ms(length_mm: u32, speed_kmh: f64, delay_ms: u32) -> Result<u32, RoadsError> {
    let speed_kmh = speed_kmh.clamp(*SPEED_KMH.start(), *SPEED_KMH.end());
    // 1 km/h is 1/3.6 millimetres per millisecond. What is not a number casts to 0 and becomes 1.
    let time_ms = ((f64::from(length_mm) * 3.6 / speed_kmh).ceil() as u32).max(1);
    let time_ms = time_ms.saturating_add(delay_ms);
    if time_ms > ARC_TIME_MS_MAX {
        return Err(too_slow());
    }
    Ok(time_ms)
}

fn too_long(length_mm: u64) -> RoadsError {
    RoadsError::TooLarge {
        what: format!("one road alone is {} km long", length_mm / 1_000_000),
    }
}

fn too_slow() -> RoadsError {
    RoadsError::TooLarge {
        what: "one road alone takes more than a day".to_owned(),
    }
}
