//! A metric: the travel times of all arcs under one set of speeds, customized for searching.
//!
//! Customization gives every up-arc of the [`Hierarchy`] the time of the fastest way *below* it, in
//! each direction. Turns lead one way only, so half of the up-arcs cannot be driven in a given
//! direction at all; those are left out of what the searches walk, which is laid out in the order in
//! which they walk it.
//!
//! The times could be tightened further, from the top down over every triangle of the hierarchy, to
//! find up-arcs that no fastest way drives. On Porto that leaves out a quarter of what is left and makes
//! searches up to twice as fast, but takes twice as long as everything else here, and live traffic needs
//! a new metric every few seconds.

use std::ops::Range;

use crate::graph::{ApproachId, Topology};
use crate::hierarchy::{Hierarchy, Sense, UNREACHABLE_MS};
use crate::turns::Turns;

/// Travel times of every arc, and of the hierarchy's up-arcs, under one set of speeds.
pub(crate) struct Metric {
    pub arc_times_ms: Vec<u32>,
    /// By turn: its own cost and the time of the arc it leads onto.
    pub turn_times_ms: Vec<u32>,
    /// See [`RoadNetwork::top_speed_m_per_s`](crate::RoadNetwork::top_speed_m_per_s).
    pub top_speed_m_per_s: f64,
    /// The turns, sorted by the approach they lead to.
    inbound: Vec<Inbound>,
    customized: cch::Metric,
    upwards: UpArcs,
    downwards: UpArcs,
}

/// A turn as a search against the traffic sees it.
#[derive(Clone, Copy)]
pub(crate) struct Inbound {
    /// The approach it comes from.
    pub from: u32,
    pub time_ms: u32,
}

/// Room for the curvature of the Earth: a piece of road is straight in degrees, its length is
/// measured along the great circle. For pieces up to 30 km the two differ by less than this.
const CURVATURE: f64 = 1e-6;

impl Metric {
    /// Customizes for those arc times, one per arc.
    pub fn customize(topology: &Topology, arc_times_ms: Vec<u32>) -> Self {
        let speeds = topology.arcs.iter().zip(&arc_times_ms);
        let top_mm_per_ms = speeds
            .map(|(arc, &time_ms)| f64::from(topology.length_mm(arc.segment)) / f64::from(time_ms))
            .fold(0.0, f64::max);
        let hierarchy = &topology.hierarchy;
        let turns = topology.turns.turns.iter();
        let turn_times_ms: Vec<u32> = turns
            .map(|turn| arc_times_ms[turn.arc.index()] + turn.cost_ms)
            .collect();
        let customized = hierarchy.cch.customize(&turn_times_ms);
        let inbound = topology.turns.by_target().iter().map(|&turn| Inbound {
            from: topology.turns.turns[turn as usize].from,
            time_ms: turn_times_ms[turn as usize],
        });
        let inbound = inbound.collect();
        Self {
            arc_times_ms,
            turn_times_ms,
            inbound,
            top_speed_m_per_s: top_mm_per_ms * (1.0 + CURVATURE),
            upwards: UpArcs::drivable(hierarchy, &customized.forward),
            downwards: UpArcs::drivable(hierarchy, &customized.backward),
            customized,
        }
    }

    /// The turns that lead to an approach.
    pub fn inbound(&self, turns: &Turns, approach: ApproachId) -> &[Inbound] {
        &self.inbound[turns.range_to(approach.0)]
    }

    /// Times of all up-arcs driven that way, by up-arc.
    pub fn times(&self, sense: Sense) -> &[u32] {
        match sense {
            Sense::Up => &self.customized.forward,
            Sense::Down => &self.customized.backward,
        }
    }

    /// The up-arcs that can be driven that way.
    pub fn up_arcs(&self, sense: Sense) -> &UpArcs {
        match sense {
            Sense::Up => &self.upwards,
            Sense::Down => &self.downwards,
        }
    }
}

/// Up-arcs that can be driven one way; by lower end, lowest first.
pub(crate) struct UpArcs {
    /// Those of rank `r` are `first[r]..first[r + 1]`.
    first: Vec<u32>,
    up_arcs: Vec<UpArc>,
    /// Of each, its number in the hierarchy.
    numbers: Vec<u32>,
}

/// An up-arc as a search sees it.
#[derive(Clone, Copy)]
pub(crate) struct UpArc {
    /// Rank of its upper end.
    pub upper: u32,
    pub time_ms: u32,
}

impl UpArcs {
    fn drivable(hierarchy: &Hierarchy, times: &[u32]) -> Self {
        let mut kept = Self {
            first: vec![0],
            up_arcs: Vec::new(),
            numbers: Vec::new(),
        };
        for rank in 0..hierarchy.cch.node_count() as u32 {
            let (up_arcs, upper_ends) = hierarchy.up_arcs(rank);
            for (number, &upper) in up_arcs.zip(upper_ends) {
                let time_ms = times[number];
                if time_ms < UNREACHABLE_MS {
                    kept.up_arcs.push(UpArc { upper, time_ms });
                    kept.numbers.push(number as u32);
                }
            }
            kept.first.push(kept.up_arcs.len() as u32);
        }
        kept
    }

    /// The up-arcs of a rank.
    pub fn of(&self, rank: u32) -> &[UpArc] {
        &self.up_arcs[self.range(rank)]
    }

    /// The up-arcs of a rank, each with its number in the hierarchy.
    pub fn numbered(&self, rank: u32) -> impl Iterator<Item = (u32, UpArc)> {
        let range = self.range(rank);
        let numbers = self.numbers[range.clone()].iter().copied();
        numbers.zip(self.up_arcs[range].iter().copied())
    }

    fn range(&self, rank: u32) -> Range<usize> {
        self.first[rank as usize] as usize..self.first[rank as usize + 1] as usize
    }
}
