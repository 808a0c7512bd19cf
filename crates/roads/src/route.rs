//! Routes: the fastest way between two snaps as a line to draw and streets to follow.

use serde::{Deserialize, Serialize};

use crate::RoadNetwork;
use crate::geo::LatLon;
use crate::graph::{ArcId, RoadClass};
use crate::snap::Snap;
use crate::travel::{PairSearch, Travel, Way};

/// The fastest way from one snap to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its time and length; equal to what [`RoadNetwork::travel`] gives for the same pair.
    pub travel: Travel,
    /// The places it passes, from the first snap to the second: at least one, and no place twice in
    /// a row.
    pub line: Vec<LatLon>,
    /// The streets it follows, in order. Together they are as long as the route, up to rounding.
    pub steps: Vec<Step>,
}

/// A stretch of route on one street.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Name of the street, or its reference; `None` where it has neither.
    pub street: Option<String>,
    /// Class of its first segment.
    pub class: RoadClass,
    /// Its length, in metres.
    pub distance_m: f64,
    /// Time to drive it, in milliseconds, with the turns into its segments.
    pub duration_ms: u32,
    /// Index of its first place in [`Route::line`].
    pub line_start: usize,
}

impl RoadNetwork {
    /// The fastest way from one snap to another; `None` when there is none.
    #[must_use]
    pub fn route(&self, from: &Snap, to: &Snap) -> Option<Route> {
        PairSearch::new(self.clone()).route(from, to)
    }
}

impl PairSearch {
    /// The fastest way from one snap to another; `None` when there is none.
    pub fn route(&mut self, from: &Snap, to: &Snap) -> Option<Route> {
        let (duration_ms, way) = self.way(from, to)?;
        let mut drawing = Drawing::new(self.network());
        match way {
            Way::Along(part) => {
                drawing.drive(part.arc, from.offset_mm, to.offset_mm, part.time_ms);
            }
            Way::Across { out, turns, into } => {
                let network = self.network();
                drawing.drive(
                    out.arc,
                    from.offset_mm,
                    end_mm(network, out.arc),
                    out.time_ms,
                );
                for turn in turns {
                    let arc = network.topology.turns.turns[turn as usize].arc;
                    let time_ms = network.metric.turn_times_ms[turn as usize];
                    let (start_mm, end_mm) = (start_mm(network, arc), end_mm(network, arc));
                    drawing.drive(arc, start_mm, end_mm, time_ms);
                }
                drawing.drive(
                    into.arc,
                    start_mm(network, into.arc),
                    to.offset_mm,
                    into.time_ms,
                );
            }
        }
        let metres = (drawing.length_mm + 500) / 1000;
        let distance_m = u32::try_from(metres).unwrap_or(u32::MAX);
        let travel = Travel {
            duration_ms,
            distance_m,
        };
        Some(Route {
            travel,
            line: drawing.line,
            steps: drawing.steps,
        })
    }
}

/// The segment offset at which an arc begins.
fn start_mm(network: &RoadNetwork, arc: ArcId) -> u32 {
    let arc = network.arc(arc);
    if arc.forward {
        0
    } else {
        network.topology.length_mm(arc.segment)
    }
}

/// The segment offset at which an arc ends.
fn end_mm(network: &RoadNetwork, arc: ArcId) -> u32 {
    let arc = network.arc(arc);
    if arc.forward {
        network.topology.length_mm(arc.segment)
    } else {
        0
    }
}

/// A route while it is being drawn.
struct Drawing<'a> {
    network: &'a RoadNetwork,
    line: Vec<LatLon>,
    steps: Vec<Step>,
    length_mm: u64,
}

impl<'a> Drawing<'a> {
    fn new(network: &'a RoadNetwork) -> Self {
        Self {
            network,
            line: Vec::new(),
            steps: Vec::new(),
            length_mm: 0,
        }
    }

    /// Drives a part of an arc, between two offsets of its segment.
    fn drive(&mut self, arc: ArcId, from_mm: u32, to_mm: u32, time_ms: u32) {
        let segment_id = self.network.arc(arc).segment;
        self.draw(self.network.point_on_segment(segment_id, from_mm));
        let length_mm = from_mm.abs_diff(to_mm);
        if length_mm == 0 {
            return;
        }
        self.name(arc, length_mm, time_ms);
        let (points, mileposts) = self.network.topology.course(segment_id);
        let inner = |post: &u32| from_mm.min(to_mm) < *post && *post < from_mm.max(to_mm);
        let passed = points.iter().zip(mileposts).filter(|(_, post)| inner(post));
        if from_mm < to_mm {
            passed.for_each(|(&point, _)| self.draw(point.into()));
        } else {
            passed.rev().for_each(|(&point, _)| self.draw(point.into()));
        }
        self.draw(self.network.point_on_segment(segment_id, to_mm));
        self.length_mm += u64::from(length_mm);
    }

    /// Adds the drive to the last step, or begins one on another street.
    fn name(&mut self, arc: ArcId, length_mm: u32, time_ms: u32) {
        let Some(segment) = self.network.segment(self.network.arc(arc).segment) else {
            return;
        };
        let distance_m = f64::from(length_mm) / 1000.0;
        match self.steps.last_mut() {
            Some(step) if step.street.as_deref() == segment.street() => {
                step.distance_m += distance_m;
                step.duration_ms = step.duration_ms.saturating_add(time_ms);
            }
            _ => self.steps.push(Step {
                street: segment.street().map(str::to_owned),
                class: segment.class(),
                distance_m,
                duration_ms: time_ms,
                line_start: self.line.len() - 1,
            }),
        }
    }

    fn draw(&mut self, place: LatLon) {
        if self.line.last() != Some(&place) {
            self.line.push(place);
        }
    }
}
