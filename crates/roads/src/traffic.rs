//! Live traffic: how fast the roads are driven, from where cars were seen.
//!
//! Two sightings of one car, some seconds apart, are an observation: the way between them is taken to be
//! the fastest, which for so short a way it nearly always is, and the time it took against the time it
//! takes freely is put down to every road on it, in proportion to the part driven. Each arc keeps the
//! mean of such ratios, weighted by how much of it was driven and fading with a half-life, so that a road
//! nobody drives goes back to its free speed. One odd observation moves a mean that many made only
//! within bounds.
//!
//! Snaps of cars that drive come from [`RoadNetwork::snap_driving`], so they are on the road that leads
//! their way.

use crate::RoadNetwork;
use crate::graph::{ARC_TIME_MS_MAX, ArcId};
use crate::snap::Snap;
use crate::travel::{PairSearch, Way};

/// What an observation must be like, and how observations add up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrafficRules {
    /// In this time an observation loses half of its weight, milliseconds.
    pub half_life_ms: u64,
    /// Weight of the free speed, in cars that drove the whole road just now.
    pub prior: f64,
    /// The shortest time between two sightings that tells anything, milliseconds.
    pub took_ms_min: u32,
    /// The longest time between two sightings whose way is still known, milliseconds.
    pub took_ms_max: u32,
    /// The shortest way that tells a driving car from a parked one, metres.
    pub way_m_min: f64,
    /// A road is slower than freely by this factor at most.
    pub ratio_max: f64,
}

impl Default for TrafficRules {
    fn default() -> Self {
        Self {
            half_life_ms: 300_000,
            prior: 1.0,
            took_ms_min: 2_000,
            took_ms_max: 60_000,
            way_m_min: 15.0,
            ratio_max: 8.0,
        }
    }
}

/// Roads are not driven faster than freely by more than this factor's inverse.
const RATIO_MIN: f64 = 0.6;
/// A way this much faster than freely means that a sighting was put on the wrong road.
const RATIO_ABSURD: f64 = 0.4;
/// The same for a way this much longer than the straight line, plus [`DETOUR_M`].
const DETOUR: f64 = 1.8;
/// See [`DETOUR`]; metres.
const DETOUR_M: f64 = 40.0;
/// An observation is brought within this factor of a mean that at least one whole car made.
const SURPRISE: f64 = 2.0;

/// Why an observation tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Useless {
    /// The sightings are too close in time, or too far apart.
    Timing,
    /// The car hardly moved.
    Parked,
    /// There is no way, or one that nobody drives: a sighting was put on the wrong road.
    Mismatch,
}

impl Useless {
    /// As metrics spell it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Timing => "timing",
            Self::Parked => "parked",
            Self::Mismatch => "mismatch",
        }
    }
}

/// What is known of an arc: to be kept over a restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArcTraffic {
    /// The arc.
    pub arc: ArcId,
    /// Whole cars' worth of observations, as of `at_ms`.
    pub weight: f64,
    /// Mean time against the free time.
    pub ratio: f64,
    /// When it was last observed, milliseconds since 1970.
    pub at_ms: u64,
}

#[derive(Clone, Copy, Default)]
struct Estimate {
    weight: f64,
    ratio: f64,
    at_ms: u64,
}

/// The traffic on one map. The same observations in the same order give the same times.
pub struct Traffic {
    free: RoadNetwork,
    rules: TrafficRules,
    search: PairSearch,
    estimates: Vec<Estimate>,
    /// Arcs that were observed since [`Traffic::take_changed`].
    changed: Vec<ArcId>,
}

impl Traffic {
    /// No traffic on that network, whose times are the free ones.
    #[must_use]
    pub fn new(free: RoadNetwork, rules: TrafficRules) -> Self {
        Self {
            search: PairSearch::new(free.clone()),
            estimates: vec![Estimate::default(); free.arc_count()],
            free,
            rules,
            changed: Vec::new(),
        }
    }

    /// A car was at `from` and, `took_ms` milliseconds later, at `to`, which was at `at_ms`.
    ///
    /// # Errors
    /// Why that tells nothing.
    pub fn observe(
        &mut self,
        from: &Snap,
        to: &Snap,
        took_ms: u32,
        at_ms: u64,
    ) -> Result<(), Useless> {
        if !(self.rules.took_ms_min..=self.rules.took_ms_max).contains(&took_ms) {
            return Err(Useless::Timing);
        }
        let straight_m = from.point.distance_m(to.point);
        if straight_m < self.rules.way_m_min {
            return Err(Useless::Parked);
        }
        let (free_ms, way) = self.search.way(from, to).ok_or(Useless::Mismatch)?;
        let way_m = way.length_mm(&self.free) as f64 / 1000.0;
        let ratio = f64::from(took_ms) / f64::from(free_ms.max(1));
        if way_m > straight_m * DETOUR + DETOUR_M || ratio < RATIO_ABSURD {
            return Err(Useless::Mismatch);
        }
        let ratio = ratio.clamp(RATIO_MIN, self.rules.ratio_max);
        let mut parts: Vec<(ArcId, u64)> = Vec::new();
        match way {
            Way::Along(part) => parts.push((part.arc, u64::from(part.length_mm))),
            Way::Across { out, turns, into } => {
                parts.push((out.arc, u64::from(out.length_mm)));
                parts.extend(turns.iter().map(|&turn| {
                    let arc = self.free.topology.turns.turns[turn as usize].arc;
                    (arc, self.length_mm(arc))
                }));
                parts.push((into.arc, u64::from(into.length_mm)));
            }
        }
        for (arc, length_mm) in parts {
            let share = length_mm as f64 / self.length_mm(arc) as f64;
            self.add(arc, share, ratio, at_ms);
        }
        Ok(())
    }

    fn add(&mut self, arc: ArcId, share: f64, mut ratio: f64, at_ms: u64) {
        let faded = self.weight_at(arc, at_ms);
        // One that comes late has faded as well by the time of what is known.
        let late_ms = self.estimates[arc.index()].at_ms.saturating_sub(at_ms);
        let share = share * self.fading(late_ms);
        let estimate = &mut self.estimates[arc.index()];
        if faded >= 1.0 {
            ratio = ratio.clamp(estimate.ratio / SURPRISE, estimate.ratio * SURPRISE);
        }
        let weight = faded + share;
        if weight > 0.0 {
            estimate.ratio = (estimate.ratio * faded + ratio * share) / weight;
            estimate.weight = weight;
            estimate.at_ms = estimate.at_ms.max(at_ms);
            self.changed.push(arc);
        }
    }

    /// Times of all arcs at a moment, in milliseconds, for [`RoadNetwork::with_arc_times`].
    #[must_use]
    pub fn arc_times_ms(&self, now_ms: u64) -> Vec<u32> {
        let free = self.free.arc_times_ms().iter().enumerate();
        free.map(|(arc, &free_ms)| {
            let slowness = self.slowness(ArcId(arc as u32), now_ms);
            let time_ms = (f64::from(free_ms) * slowness).round() as u32;
            time_ms.clamp(1, ARC_TIME_MS_MAX)
        })
        .collect()
    }

    /// How much longer an arc takes than freely, as a factor.
    #[must_use]
    pub fn slowness(&self, arc: ArcId, now_ms: u64) -> f64 {
        let weight = self.weight_at(arc, now_ms);
        let trust = weight / (weight + self.rules.prior);
        1.0 + (self.estimates[arc.index()].ratio - 1.0) * trust
    }

    /// Whole cars' worth of what is known of an arc at a moment.
    #[must_use]
    pub fn weight_at(&self, arc: ArcId, now_ms: u64) -> f64 {
        let estimate = &self.estimates[arc.index()];
        estimate.weight * self.fading(now_ms.saturating_sub(estimate.at_ms))
    }

    /// What is left of a weight after that many milliseconds, as a share.
    fn fading(&self, age_ms: u64) -> f64 {
        let half_lives = age_ms as f64 / self.rules.half_life_ms.max(1) as f64;
        (-half_lives).exp2()
    }

    /// Arcs of which at least that many whole cars' worth is known.
    pub fn observed(&self, weight_min: f64, now_ms: u64) -> impl Iterator<Item = ArcId> {
        (0..self.estimates.len() as u32)
            .map(ArcId)
            .filter(move |&arc| self.weight_at(arc, now_ms) >= weight_min)
    }

    /// What has changed since the last time, by arc, to be kept.
    pub fn take_changed(&mut self) -> Vec<ArcTraffic> {
        self.changed.sort_unstable();
        self.changed.dedup();
        let changed = std::mem::take(&mut self.changed);
        let kept = |arc: ArcId| {
            let estimate = self.estimates[arc.index()];
            ArcTraffic {
                arc,
                weight: estimate.weight,
                ratio: estimate.ratio,
                at_ms: estimate.at_ms,
            }
        };
        changed.into_iter().map(kept).collect()
    }

    /// Puts back what was kept; what makes no sense, or is of an arc the map does not have, is left out.
    pub fn restore(&mut self, kept: &[ArcTraffic]) {
        for kept in kept {
            let is_sound = kept.weight.is_finite()
                && kept.weight >= 0.0
                && (RATIO_MIN..=self.rules.ratio_max).contains(&kept.ratio);
            if let Some(estimate) = self
                .estimates
                .get_mut(kept.arc.index())
                .filter(|_| is_sound)
            {
                *estimate = Estimate {
                    weight: kept.weight,
                    ratio: kept.ratio,
                    at_ms: kept.at_ms,
                };
            }
        }
    }

    fn length_mm(&self, arc: ArcId) -> u64 {
        u64::from(self.free.topology.length_mm(self.free.arc(arc).segment))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::LatLon;
    use crate::snap::Facing;
    use crate::testmap::{self, Dice};

    const NOW: u64 = 1_000_000_000;

    /// A street of a grid at 10 m/s; places on it by their metres from its western end.
    fn street() -> (RoadNetwork, impl Fn(f64) -> Snap) {
        let network = testmap::grid(6, 6, 200.0);
        let roads = network.clone();
        let at = move |east_m: f64| {
            let place = LatLon::new(400.0 / 111_195.0, east_m / 111_195.0).unwrap();
            let mut snap = roads.snap(place, 5.0).unwrap();
            snap.facing = Facing::Either;
            snap
        };
        (network, at)
    }

    fn time_ms(traffic: &Traffic, from: &Snap, to: &Snap, now_ms: u64) -> u32 {
        let roads = traffic
            .free
            .with_arc_times(traffic.arc_times_ms(now_ms))
            .unwrap();
        roads.travel(from, to).unwrap().duration_ms
    }

    #[test]
    fn a_jam_is_seen_and_dissolves() {
        let (network, at) = street();
        let mut traffic = Traffic::new(network, TrafficRules::default());
        let free_ms = time_ms(&traffic, &at(210.0), &at(390.0), NOW);
        for car in 0..20 {
            // 50 m in 20 s: a quarter of the free speed.
            traffic
                .observe(&at(220.0), &at(270.0), 20_000, NOW + car)
                .unwrap();
            traffic
                .observe(&at(270.0), &at(320.0), 20_000, NOW + car)
                .unwrap();
        }
        let jammed_ms = time_ms(&traffic, &at(210.0), &at(390.0), NOW);
        assert!(jammed_ms > free_ms * 3, "{jammed_ms} against {free_ms}");
        let back_ms = time_ms(&traffic, &at(390.0), &at(210.0), NOW);
        assert_eq!(back_ms, free_ms, "the other direction is free");
        let later_ms = time_ms(&traffic, &at(210.0), &at(390.0), NOW + 10 * 300_000);
        assert!(later_ms < free_ms * 11 / 10, "{later_ms} against {free_ms}");
        assert!(traffic.observed(1.0, NOW).count() >= 1);
        assert_eq!(traffic.observed(1.0, NOW + 20 * 300_000).count(), 0);
    }

    #[test]
    fn one_odd_car_moves_little() {
        let (network, at) = street();
        let mut traffic = Traffic::new(network, TrafficRules::default());
        for car in 0..10 {
            traffic
                .observe(&at(210.0), &at(390.0), 18_000, NOW + car)
                .unwrap();
        }
        let before_ms = time_ms(&traffic, &at(210.0), &at(390.0), NOW);
        traffic
            .observe(&at(210.0), &at(230.0), 60_000, NOW)
            .unwrap();
        let after_ms = time_ms(&traffic, &at(210.0), &at(390.0), NOW);
        assert!(
            after_ms < before_ms * 105 / 100,
            "{after_ms} against {before_ms}"
        );
    }

    #[test]
    fn what_comes_late_counts_as_what_it_is_worth() {
        let (network, at) = street();
        let rules = TrafficRules::default();
        let fast =
            |traffic: &mut Traffic, at_ms| traffic.observe(&at(220.0), &at(320.0), 10_000, at_ms);
        let slow =
            |traffic: &mut Traffic, at_ms| traffic.observe(&at(220.0), &at(320.0), 40_000, at_ms);
        let (mut in_order, mut late) = (
            Traffic::new(network.clone(), rules),
            Traffic::new(network, rules),
        );
        slow(&mut in_order, NOW - 300_000).unwrap();
        fast(&mut in_order, NOW).unwrap();
        fast(&mut late, NOW).unwrap();
        slow(&mut late, NOW - 300_000).unwrap();
        assert_eq!(late.arc_times_ms(NOW), in_order.arc_times_ms(NOW));
        assert_ne!(late.arc_times_ms(NOW), late.free.arc_times_ms());
    }

    #[test]
    fn what_tells_nothing_is_refused() {
        let (network, at) = street();
        let mut traffic = Traffic::new(network, TrafficRules::default());
        let mut observe =
            |from: f64, to: f64, took_ms| traffic.observe(&at(from), &at(to), took_ms, NOW);
        assert_eq!(observe(210.0, 390.0, 1_000), Err(Useless::Timing));
        assert_eq!(observe(210.0, 390.0, 61_000), Err(Useless::Timing));
        assert_eq!(observe(210.0, 212.0, 30_000), Err(Useless::Parked));
        assert_eq!(
            observe(210.0, 390.0, 5_000),
            Err(Useless::Mismatch),
            "36 m/s"
        );
        // A car that faces east was not behind itself after three seconds.
        let mut east = at(330.0);
        east.facing = Facing::Forward;
        assert_eq!(
            traffic.observe(&east, &at(310.0), 30_000, NOW),
            Err(Useless::Mismatch)
        );
        assert!(traffic.take_changed().is_empty());
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let (network, at) = street();
        let mut traffic = Traffic::new(network.clone(), TrafficRules::default());
        traffic
            .observe(&at(210.0), &at(590.0), 60_000, NOW)
            .unwrap();
        let kept = traffic.take_changed();
        assert!(!kept.is_empty() && traffic.take_changed().is_empty());
        let mut restored = Traffic::new(network, TrafficRules::default());
        let nonsense = ArcTraffic {
            weight: f64::NAN,
            ..kept[0]
        };
        let beyond = ArcTraffic {
            arc: ArcId(1_000_000),
            ..kept[0]
        };
        restored.restore(&[nonsense, beyond]);
        assert_eq!(restored.arc_times_ms(NOW), restored.free.arc_times_ms());
        restored.restore(&kept);
        assert_eq!(restored.arc_times_ms(NOW), traffic.arc_times_ms(NOW));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn times_stay_sound_and_are_the_same_again(seed in any::<u64>()) {
            let network = testmap::random_with_rules(seed, 60);
            let run = || {
                let mut traffic = Traffic::new(network.clone(), TrafficRules::default());
                let mut dice = Dice::new(seed);
                for pair in testmap::random_snaps(&network, seed, 400).chunks(2) {
                    let took_ms = 2_000 + dice.below(58_000);
                    let _ = traffic.observe(&pair[0], &pair[1], took_ms, NOW + u64::from(dice.below(900_000)));
                }
                traffic.arc_times_ms(NOW + 450_000)
            };
            let times = run();
            prop_assert_eq!(&times, &run());
            for (&time_ms, &free_ms) in times.iter().zip(network.arc_times_ms()) {
                prop_assert!(time_ms >= 1 && f64::from(time_ms) >= f64::from(free_ms) * RATIO_MIN - 1.0);
                prop_assert!(f64::from(time_ms) <= f64::from(free_ms) * 8.0 + 1.0);
            }
            network.with_arc_times(times).unwrap();
        }
    }
}
