//! What a turn costs, and which turns are forbidden: from the roads' angles and the restrictions drawn
//! with them to the table of [`crate::turns`].
//!
//! The costs are the time a car loses against driving straight on: slowing down for the curve, and
//! for a turn across oncoming traffic waiting for a gap. They follow from a comfortable cornering speed
//! (2 m/s² sideways on a radius of 10 to 15 m: about 17 km/h), which costs 2 to 3 s out of 50 km/h, and
//! grow smoothly with the angle; the free routers charge the like (OSRM's car profile up to 7.5 s). A
//! bend where no other road joins costs nothing: its speed is the road's.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::draft::RoadNo;
use crate::geo::{LatLon, Point};
use crate::graph::{Arcs, Blueprint, RoadArc};
use crate::turns::{FORBIDDEN, TURN_UNIT_MS, TurnChain, TurnCost, TurnTable};

/// Time lost in a right-angled turn with the traffic (right where one drives on the right), seconds.
pub const NEAR_TURN_S: f64 = 2.5;

/// Time lost in a right-angled turn across the oncoming traffic, seconds.
pub const FAR_TURN_S: f64 = 4.5;

/// Time lost in turning round, seconds.
pub const U_TURN_S: f64 = 20.0;

/// Up to this angle one drives straight on, degrees.
pub const STRAIGHT_DEG: f64 = 25.0;

/// The heading at an end of a road is that of its last metres.
const HEADING_OVER_MM: u32 = 12_000;

/// A road of a draft driven in one direction: along its geometry, or against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Drive {
    /// The road.
    pub road: RoadNo,
    /// Whether along its geometry.
    pub forward: bool,
}

/// A rule about turns: who comes from one road, by another if one is named, may not drive on into a
/// third, or into no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// Where one comes from.
    pub from: Drive,
    /// The road in between; `None` when the two meet.
    pub via: Option<Drive>,
    /// The road the rule is about.
    pub to: Drive,
    /// It is the only one allowed, rather than the one forbidden.
    pub is_only: bool,
}

/// What a draft knows of its junctions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Junctions {
    pub is_charged: bool,
    /// By node.
    pub delays_ms: FxHashMap<u32, u32>,
    pub restrictions: Vec<Restriction>,
}

impl Junctions {
    /// The table of a draft's arcs, of which only some lead anywhere.
    pub fn table(&self, plan: &Blueprint, arcs: &Arcs, leads_on: &[bool]) -> TurnTable {
        let ends = plan.ends(&arcs.arcs);
        let arc = |drive: Drive| -> Option<u32> {
            let arc = ends.get(drive.road.0 as usize)?.arc(drive.forward)?;
            Some(arc.0)
        };
        let mut table = TurnTable::default();
        let mut rules = Rules::default();
        for rule in &self.restrictions {
            let (Some(from), Some(to)) = (arc(rule.from), arc(rule.to)) else {
                continue; // Nobody can drive there anyway.
            };
            match rule.via.map(arc) {
                None if rule.is_only => {
                    rules.only.entry(from).or_default().push(to);
                }
                None => {
                    rules.forbidden.insert((from, to));
                }
                Some(None) => {}
                Some(Some(via)) => table.chains.push(TurnChain {
                    from,
                    via,
                    to,
                    is_only: rule.is_only,
                }),
            }
        }
        let follows =
            |from: u32, to: u32| arcs.arcs[from as usize].head == arcs.arcs[to as usize].tail;
        table
            .chains
            .retain(|chain| follows(chain.from, chain.via) && follows(chain.via, chain.to));
        rules.only.retain(|&from, to| {
            to.retain(|&to| follows(from, to));
            !to.is_empty()
        });
        table.chains.sort_unstable();
        table.chains.dedup();
        if self.is_charged || !rules.only.is_empty() || !rules.forbidden.is_empty() {
            table.costs = self.costs(plan, arcs, leads_on, &rules);
        }
        table
    }

    fn costs(
        &self,
        plan: &Blueprint,
        arcs: &Arcs,
        leads_on: &[bool],
        rules: &Rules,
    ) -> Vec<TurnCost> {
        let roads = arcs.incidence();
        let headings: Vec<[f64; 2]> = arcs.arcs.iter().map(|arc| headings(plan, arc)).collect();
        let mut costs = Vec::with_capacity(roads.turn_count());
        for node in roads.nodes() {
            let legs = legs(arcs, leads_on, node);
            let delay_ms = self.delays_ms.get(&(node as u32)).copied().unwrap_or(0);
            for &into in roads.inbound_at(node) {
                let begin = costs.len();
                for out in roads.outbound_at(node) {
                    let turns_round = is_u_turn(&arcs.arcs, into, out);
                    costs.push(if rules.forbids(into, out) || !leads_on[out as usize] {
                        FORBIDDEN
                    } else if !self.is_charged {
                        0
                    } else if turns_round {
                        FORBIDDEN
                    } else {
                        let [_, heading_in] = headings[into as usize];
                        let [heading_out, _] = headings[out as usize];
                        let bend_s = if legs > 2 {
                            turn_s(heading_out - heading_in)
                        } else {
                            0.0
                        };
                        units(bend_s * 1000.0 + f64::from(delay_ms))
                    });
                }
                // Nowhere else to go: a dead end, or everything else is forbidden.
                if costs[begin..].iter().all(|&cost| cost == FORBIDDEN) {
                    for (out, cost) in roads.outbound_at(node).zip(&mut costs[begin..]) {
                        let may = is_u_turn(&arcs.arcs, into, out) && !rules.forbids(into, out);
                        if may {
                            *cost = units(U_TURN_S * 1000.0);
                        }
                    }
                }
            }
        }
        costs
    }
}

#[derive(Default)]
struct Rules {
    forbidden: FxHashSet<(u32, u32)>,
    /// By arc: into what alone one may drive from it. Several rules allow each of theirs.
    only: FxHashMap<u32, Vec<u32>>,
}

impl Rules {
    fn forbids(&self, from: u32, to: u32) -> bool {
        self.forbidden.contains(&(from, to))
            || self.only.get(&from).is_some_and(|only| !only.contains(&to))
    }
}

fn is_u_turn(arcs: &[RoadArc], into: u32, out: u32) -> bool {
    let (into, out) = (arcs[into as usize], arcs[out as usize]);
    into.segment == out.segment && into.forward != out.forward
}

/// How many ends of roads that lead anywhere meet at a node.
fn legs(arcs: &Arcs, leads_on: &[bool], node: usize) -> usize {
    let roads = arcs.incidence();
    // A two-way road's end has an arc in and an arc out, a one-way road's has one of them.
    let end = |arc: u32, at_head: bool| {
        let arc = roads.arcs[arc as usize];
        (arc.segment, arc.forward == at_head)
    };
    let leads_on = |arc: &u32| leads_on[*arc as usize];
    let into = roads.inbound_at(node).iter().copied().filter(leads_on);
    let out = roads.outbound_at(node).filter(leads_on);
    let mut ends: Vec<_> = into.map(|arc| end(arc, true)).collect();
    ends.extend(out.map(|arc| end(arc, false)));
    ends.sort_unstable();
    ends.dedup();
    ends.len()
}

/// Headings of an arc at its beginning and at its end, in degrees.
fn headings(plan: &Blueprint, arc: &RoadArc) -> [f64; 2] {
    let (points, mileposts) = plan.course(arc.segment.index());
    let length_mm = mileposts[mileposts.len() - 1];
    let first = points[0];
    let last = points[points.len() - 1];
    let near_first = place_at(points, mileposts, HEADING_OVER_MM.min(length_mm));
    let near_last = place_at(points, mileposts, length_mm.saturating_sub(HEADING_OVER_MM));
    let (first, last) = (LatLon::from(first), LatLon::from(last));
    if arc.forward {
        [first.heading_deg(near_first), near_last.heading_deg(last)]
    } else {
        [last.heading_deg(near_last), near_first.heading_deg(first)]
    }
}

fn place_at(points: &[Point], mileposts: &[u32], offset_mm: u32) -> LatLon {
    let next = mileposts.partition_point(|&post| post < offset_mm).max(1);
    let (from_mm, to_mm) = (mileposts[next - 1], mileposts[next]);
    let share = f64::from(offset_mm - from_mm) / f64::from(to_mm - from_mm);
    crate::geo::between(points[next - 1], points[next], share)
}

/// Time lost in a turn by that many degrees clockwise, in seconds.
fn turn_s(by_deg: f64) -> f64 {
    let by_deg = (by_deg + 180.0).rem_euclid(360.0) - 180.0;
    // Clockwise is to the right.
    let right_angle_s = if by_deg > 0.0 {
        NEAR_TURN_S
    } else {
        FAR_TURN_S
    };
    let sharpness = (by_deg.abs() - STRAIGHT_DEG).max(0.0) / (90.0 - STRAIGHT_DEG);
    right_angle_s * sharpness.min(2.0)
}

/// A cost in the table's units; the dearest is just below forbidden.
fn units(cost_ms: f64) -> TurnCost {
    let units = (cost_ms / f64::from(TURN_UNIT_MS)).round();
    (units as u32).min(u32::from(FORBIDDEN) - 1) as TurnCost
}
