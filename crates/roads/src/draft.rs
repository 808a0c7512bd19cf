//! A road network while it is being drawn: nodes and roads are added, then it is frozen.
//!
//! The importer draws from OpenStreetMap; tests draw streets by hand. Freezing keeps the largest
//! part in which every node reaches every other, so that any two places on the network have a way
//! between them, and numbers everything afresh.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use rustc_hash::FxHashMap;

use crate::cache;
use crate::geo::{LatLon, Point};
use crate::graph::{ARC_TIME_MS_MAX, Blueprint, NodeId, RoadClass, SegmentRecord, UNNAMED};
use crate::hierarchy::contraction_order;
use crate::osm::ImportReport;
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
    /// neither direction, or that goes nowhere, is left out.
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
    ) -> Result<(), RoadsError> {
        let bends: Vec<Point> = bends.iter().map(|&place| place.into()).collect();
        self.add_segment(from, to, &bends, road)
    }

    pub(crate) fn add_point(&mut self, point: Point) -> NodeId {
        self.nodes.push(point);
        NodeId((self.nodes.len() - 1) as u32)
    }

    pub(crate) fn add_segment(
        &mut self,
        from: NodeId,
        to: NodeId,
        bends: &[Point],
        road: &Road<'_>,
    ) -> Result<(), RoadsError> {
        if road.forward_kmh.is_none() && road.backward_kmh.is_none() {
            return Ok(());
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
            return Ok(()); // goes nowhere
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
                .map_or(Ok(0), |kmh| drive_ms(length_mm, kmh))?,
            backward_ms: road
                .backward_kmh
                .map_or(Ok(0), |kmh| drive_ms(length_mm, kmh))?,
        };
        self.roads.push(DraftRoad {
            record,
            points,
            mileposts,
        });
        Ok(())
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

    /// Freezes the largest strongly connected part into a network.
    ///
    /// # Errors
    /// [`RoadsError::NoRoads`] when no road is left, [`RoadsError::TooLarge`] when there are more
    /// than can be numbered.
    pub fn freeze(self) -> Result<RoadNetwork, RoadsError> {
        self.freeze_with(ImportReport::default())
    }

    /// Freezes, and files the report of where the draft came from with what freezing dropped.
    pub(crate) fn freeze_with(
        mut self,
        mut report: ImportReport,
    ) -> Result<RoadNetwork, RoadsError> {
        let origin = self.name.clone();
        let drawn = (self.nodes.len(), self.roads.len());
        self.keep_largest_part();
        if self.roads.is_empty() {
            let reason = match drawn {
                (_, 0) => "it has no roads".to_owned(),
                (_, roads) => format!("none of its {roads} roads can be driven there and back"),
            };
            return Err(RoadsError::NoRoads { origin, reason });
        }
        report.unreachable_nodes = (drawn.0 - self.nodes.len()) as u64;
        report.unreachable_segments = (drawn.1 - self.roads.len()) as u64;
        let plan = self.into_blueprint(report)?;
        let id = cache::map_id(&plan);
        RoadNetwork::build(id, plan).map_err(|what| RoadsError::TooLarge { what })
    }

    /// Drops every node and road outside the largest strongly connected part, and the names only
    /// they had; numbers the rest in the order of the roads.
    fn keep_largest_part(&mut self) {
        let part = self.largest_part();
        let mut numbers = vec![None; self.nodes.len()];
        let mut street_numbers = vec![None; self.streets.len()];
        let (mut nodes, mut streets) = (Vec::new(), Vec::new());
        let mut number_node = |node: u32| {
            *numbers[node as usize].get_or_insert_with(|| {
                nodes.push(self.nodes[node as usize]);
                nodes.len() as u32 - 1
            })
        };
        self.roads
            .retain(|road| part[road.record.tail as usize] && part[road.record.head as usize]);
        for DraftRoad { record, .. } in &mut self.roads {
            record.tail = number_node(record.tail);
            record.head = number_node(record.head);
            if record.street != UNNAMED {
                let street = record.street as usize;
                record.street = *street_numbers[street].get_or_insert_with(|| {
                    streets.push(std::mem::take(&mut self.streets[street]));
                    streets.len() as u32 - 1
                });
            }
        }
        self.nodes = nodes;
        self.streets = streets;
    }

    /// For every node, whether it is in the largest strongly connected part; of parts equally
    /// large, the one with the lowest node.
    fn largest_part(&self) -> Vec<bool> {
        let mut graph = DiGraph::<(), ()>::with_capacity(self.nodes.len(), self.roads.len() * 2);
        let nodes: Vec<_> = self.nodes.iter().map(|_| graph.add_node(())).collect();
        for DraftRoad { record, .. } in &self.roads {
            let (tail, head) = (nodes[record.tail as usize], nodes[record.head as usize]);
            if record.forward_ms > 0 {
                graph.add_edge(tail, head, ());
            }
            if record.backward_ms > 0 {
                graph.add_edge(head, tail, ());
            }
        }
        let parts = kosaraju_scc(&graph);
        let lowest = |part: &Vec<_>| part.iter().min().copied();
        let largest = parts
            .iter()
            .max_by_key(|part| (part.len(), std::cmp::Reverse(lowest(part))));
        let mut inside = vec![false; self.nodes.len()];
        for node in largest.into_iter().flatten() {
            inside[node.index()] = true;
        }
        inside
    }

    fn into_blueprint(self, mut report: ImportReport) -> Result<Blueprint, RoadsError> {
        let ends = self
            .roads
            .iter()
            .map(|road| (road.record.tail, road.record.head));
        let order = contraction_order(&self.nodes, ends);
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
            report.road_metres += f64::from(road.mileposts.last().copied().unwrap_or(0)) / 1000.0;
            report.arcs +=
                u64::from(road.record.forward_ms > 0) + u64::from(road.record.backward_ms > 0);
            segments.push(road.record);
            points.extend(road.points);
            mileposts.extend(road.mileposts);
            first_point.push(points.len() as u32);
        }
        report.nodes = self.nodes.len() as u64;
        report.segments = segments.len() as u64;
        report.streets = self.streets.len() as u64;
        Ok(Blueprint {
            name: self.name,
            attribution: self.attribution,
            report,
            nodes: self.nodes,
            segments,
            streets: self.streets,
            first_point,
            points,
            mileposts,
            order,
        })
    }
}

/// Millimetres from the first point to each; every piece is rounded up and at least one.
fn mileposts(points: &[Point]) -> Result<Vec<u32>, RoadsError> {
    let mut total_mm = 0_u64;
    let mut posts = vec![0];
    for ends in points.windows(2) {
        let metres = LatLon::from(ends[0]).distance_m(ends[1].into());
        total_mm += ((metres * 1000.0).ceil() as u64).max(1);
        let post = u32::try_from(total_mm);
        posts.push(post.map_err(|_| RoadsError::TooLarge {
            what: format!("one road alone is {} km long", total_mm / 1_000_000),
        })?);
    }
    Ok(posts)
}

/// Time to drive that far at that speed, rounded up, at least a millisecond.
fn drive_ms(length_mm: u32, speed_kmh: f64) -> Result<u32, RoadsError> {
    let speed_kmh = speed_kmh.clamp(*SPEED_KMH.start(), *SPEED_KMH.end());
    // 1 km/h is 1/3.6 millimetres per millisecond. What is not a number casts to 0 and becomes 1.
    let time_ms = ((f64::from(length_mm) * 3.6 / speed_kmh).ceil() as u32).max(1);
    if time_ms > ARC_TIME_MS_MAX {
        return Err(RoadsError::TooLarge {
            what: "one road alone takes more than a day".to_owned(),
        });
    }
    Ok(time_ms)
}
