//! A metric: the travel times of all arcs under one set of speeds, customized for searching.
//!
//! Customization gives every up-arc of the [`Hierarchy`] the time of the fastest way *below* it, in
//! each direction. Turns lead one way only, so half of the up-arcs cannot be driven in a given
//! direction at all; those are left out of what the searches walk, which is laid out in the order in
//! which they walk it.
//!
//! The times can be tightened further, from the top down over every triangle of the hierarchy
//! ([`Metric::tightened`]): an up-arc that gets faster by it was not worth driving, and is left out as
//! well. That makes searches nearly twice as fast and takes longer than everything else here, so it is
//! done after a metric is in use rather than before.

use std::ops::Range;
use std::sync::Arc;

use crate::customization::customize;
use crate::graph::{ApproachId, Topology};
use crate::hierarchy::{Hierarchy, Sense, UNREACHABLE_MS};
use crate::turns::Turns;

/// Travel times of every arc, and of the hierarchy's up-arcs, under one set of speeds.
#[derive(Clone)]
pub(crate) struct Metric {
    pub arc_times_ms: Vec<u32>,
    /// By turn: its own cost and the time of the arc it leads onto.
    pub turn_times_ms: Vec<u32>,
    /// See [`RoadNetwork::top_speed_m_per_s`](crate::RoadNetwork::top_speed_m_per_s).
    pub top_speed_m_per_s: f64,
    /// The turns, sorted by the approach they lead to.
    inbound: Vec<Inbound>,
    customized: Arc<cch::Metric>,
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
        let customized = customize(hierarchy, &turn_times_ms);
        let inbound = topology.turns.by_target().iter().map(|&turn| Inbound {
            from: topology.turns.turns[turn as usize].from,
            time_ms: turn_times_ms[turn as usize],
        });
        let inbound = inbound.collect();
        let cch::Metric { forward, backward } = &customized;
        let (upwards, downwards) = rayon::join(
            || UpArcs::worth_driving(hierarchy, forward, forward),
            || UpArcs::worth_driving(hierarchy, backward, backward),
        );
        Self {
            arc_times_ms,
            turn_times_ms,
            inbound,
            top_speed_m_per_s: top_mm_per_ms * (1.0 + CURVATURE),
            upwards,
            downwards,
            customized: Arc::new(customized),
        }
    }

    /// The same times with fewer up-arcs to search.
    pub fn tightened(&self, topology: &Topology) -> Self {
        let hierarchy = &topology.hierarchy;
        let tight = tightened(hierarchy, &self.customized);
        let cch::Metric { forward, backward } = &*self.customized;
        let (upwards, downwards) = rayon::join(
            || UpArcs::worth_driving(hierarchy, forward, &tight.forward),
            || UpArcs::worth_driving(hierarchy, backward, &tight.backward),
        );
        Self {
            upwards,
            downwards,
            ..self.clone()
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

    /// The up-arcs worth driving that way.
    pub fn up_arcs(&self, sense: Sense) -> &UpArcs {
        match sense {
            Sense::Up => &self.upwards,
            Sense::Down => &self.downwards,
        }
    }
}

/// The times of the fastest ways there are between the ends of every up-arc.
fn tightened(hierarchy: &Hierarchy, customized: &cch::Metric) -> cch::Metric {
    let cch = &hierarchy.cch;
    let cch::Metric {
        mut forward,
        mut backward,
    } = customized.clone();
    let mut arc_to = vec![0_u32; cch.node_count()];
    // From the top down, so that the times between higher ranks are tight when they are needed.
    for mid in (0..cch.node_count() as u32).rev() {
        let (own, upper_ends) = hierarchy.up_arcs(mid);
        for (up_arc, &upper) in own.zip(upper_ends) {
            arc_to[upper as usize] = up_arc as u32;
        }
        for (low, to_mid) in hierarchy.down_arcs(mid) {
            let to_mid = to_mid as usize;
            let (own, upper_ends) = hierarchy.up_arcs(low);
            for (to_top, &top) in own.zip(upper_ends).rev().take_while(|(_, top)| **top > mid) {
                // Whatever two neighbours a rank has above it, they are neighbours of each other.
                let mid_to_top = arc_to[top as usize] as usize;
                let (up, down) = (forward[mid_to_top], backward[mid_to_top]);
                forward[to_top] = forward[to_top].min(forward[to_mid].saturating_add(up));
                forward[to_mid] = forward[to_mid].min(forward[to_top].saturating_add(down));
                backward[to_top] = backward[to_top].min(backward[to_mid].saturating_add(down));
                backward[to_mid] = backward[to_mid].min(backward[to_top].saturating_add(up));
            }
        }
    }
    cch::Metric { forward, backward }
}

/// Up-arcs, driven one way, that a fastest way may use; by lower end, lowest first.
#[derive(Clone)]
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
    /// Those that can be driven, and are no slower than the fastest way known between their ends.
    fn worth_driving(hierarchy: &Hierarchy, times: &[u32], fastest: &[u32]) -> Self {
        let mut kept = Self {
            first: vec![0],
            up_arcs: Vec::new(),
            numbers: Vec::new(),
        };
        for rank in 0..hierarchy.cch.node_count() as u32 {
            let (up_arcs, upper_ends) = hierarchy.up_arcs(rank);
            for (number, &upper) in up_arcs.zip(upper_ends) {
                let time_ms = times[number];
                if time_ms < UNREACHABLE_MS && time_ms == fastest[number] {
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
