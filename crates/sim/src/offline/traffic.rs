//! How long roads take at each hour of the day, against a free road.

use std::sync::Arc;

use anyhow::Context;
use jitney_roads::{ArcId, RoadClass, RoadNetwork};

const HOUR_MS: i64 = 3_600_000;

/// Driving time on a large road at each hour, in percent of a free one: a morning and an evening peak.
/// Small streets are slowed down by half as much.
const CURVE: [u32; 24] = [
    100, 100, 100, 100, 100, 102, 110, 128, 140, 130, 118, 116, 118, 120, 118, 120, 128, 142, 146,
    134, 118, 110, 106, 102,
];

/// The roads at each hour.
pub(crate) struct Traffic {
    /// By hour of the day.
    hours: Vec<Arc<RoadNetwork>>,
}

impl Traffic {
    /// The roads as they are, at every hour.
    pub fn free(roads: &Arc<RoadNetwork>) -> Self {
        Self {
            hours: vec![Arc::clone(roads)],
        }
    }

    /// The roads under the built-in curve, for the hours from one moment to another, milliseconds
    /// after midnight; hours with the same traffic share their roads.
    pub fn by_hour(roads: &Arc<RoadNetwork>, from_ms: i64, to_ms: i64) -> anyhow::Result<Self> {
        let mut hours: Vec<Arc<RoadNetwork>> = vec![Arc::clone(roads); 24];
        // Rides that are under way at the end have an hour to end.
        for hour in from_ms / HOUR_MS..=to_ms / HOUR_MS + 1 {
            let hour = hour.rem_euclid(24) as usize;
            if CURVE[hour] == 100 {
                continue;
            }
            let same = (0..24)
                .find(|&other| CURVE[other] == CURVE[hour] && !Arc::ptr_eq(&hours[other], roads));
            hours[hour] = match same {
                Some(other) => Arc::clone(&hours[other]),
                None => Arc::new(slowed(roads, CURVE[hour])?),
            };
        }
        Ok(Self { hours })
    }

    /// The roads at a moment, milliseconds after midnight.
    pub fn at(&self, now_ms: i64) -> &Arc<RoadNetwork> {
        let hour = (now_ms / HOUR_MS).rem_euclid(self.hours.len() as i64);
        &self.hours[hour as usize]
    }
}

fn slowed(roads: &RoadNetwork, percent: u32) -> anyhow::Result<RoadNetwork> {
    let times = roads.arc_times_ms().iter().zip(0..);
    let times = times.map(|(&time_ms, arc)| {
        let class = roads
            .segment(roads.arc(ArcId(arc)).segment)
            .map(|segment| segment.class());
        let percent = match class {
            Some(
                RoadClass::Motorway | RoadClass::Trunk | RoadClass::Primary | RoadClass::Secondary,
            ) => percent,
            _ => (percent + 100) / 2,
        };
        let slowed = u64::from(time_ms) * u64::from(percent) / 100;
        u32::try_from(slowed).unwrap_or(u32::MAX).max(1)
    });
    roads
        .with_arc_times(times.collect())
        .context("the traffic does not fit the roads")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jitney_roads::testmap;

    use super::*;

    #[test]
    fn the_evening_is_slower_than_the_night() {
        let roads = Arc::new(testmap::grid(6, 6, 300.0));
        let traffic = Traffic::by_hour(&roads, 0, 24 * HOUR_MS).unwrap();
        let two = testmap::random_snaps(&roads, 3, 2);
        let at = |hour| traffic.at(hour * HOUR_MS).travel(&two[0], &two[1]).unwrap();
        assert_eq!(Some(at(2)), roads.travel(&two[0], &two[1]));
        assert!(at(18).duration_ms > at(2).duration_ms);
        assert_eq!(at(18), at(42), "the next day");
        let free = Traffic::free(&roads);
        assert!(Arc::ptr_eq(free.at(18 * HOUR_MS), &roads));
    }
}
