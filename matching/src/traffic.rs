//! Live traffic: from the positions that drivers report to the travel times that searches go by.
//!
//! Under the lock two positions of one driver are only set aside ([`Observations`]). Every so often a
//! task takes them, works out how fast the roads are driven ([`jitney_roads::Traffic`]), customizes the
//! hierarchy for those times on a thread of its own, and swaps them in; searches never wait for it. What
//! was learnt is written down now and then, for the next start.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use jitney_roads::{ArcTraffic, RoadNetwork, Snap, Traffic, TrafficRules};
use serde::{Deserialize, Serialize};

use crate::{dispatch::Ground, metrics, ping::Fix};

/// Live traffic, as an operator sets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrafficConfig {
    /// Whether travel times follow the traffic; without it roads are driven at their free speeds.
    pub enabled: bool,
    /// How often travel times are worked out anew.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// In this time what was seen loses half of its weight; a road that nobody drives goes back to its
    /// free speed.
    #[serde(with = "humantime_serde")]
    pub half_life: Duration,
    /// How often what was learnt is written down.
    #[serde(with = "humantime_serde")]
    pub save_interval: Duration,
    /// Pairs of positions that wait to be looked at, at most; what comes beyond is dropped and counted.
    pub observations_max: usize,
    /// Roads in one TrafficSnapshot, at most.
    pub snapshot_max: usize,
}

impl Default for TrafficConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(10),
            half_life: Duration::from_secs(300),
            save_interval: Duration::from_secs(60),
            observations_max: 50_000,
            snapshot_max: 5_000,
        }
    }
}

/// A driver was at one place and then at another.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    from: Snap,
    to: Snap,
    took_ms: u32,
    at_ms: u64,
}

/// Observations that wait to be looked at.
#[derive(Debug)]
pub struct Observations {
    waiting: Vec<Observation>,
    most: usize,
}

impl Observations {
    /// None yet; with traffic switched off there never are any.
    pub fn new(config: &TrafficConfig) -> Self {
        Self {
            waiting: Vec::new(),
            most: if config.enabled {
                config.observations_max
            } else {
                0
            },
        }
    }

    /// Sets two positions of a driver aside.
    pub fn add(&mut self, last: &Fix, fix: &Fix) {
        let rules = TrafficRules::default();
        let took_ms = (fix.at - last.at).num_milliseconds();
        let took_ms = u32::try_from(took_ms).unwrap_or(0);
        let may_tell = (rules.took_ms_min..=rules.took_ms_max).contains(&took_ms);
        if self.most == 0 || !may_tell {
            return;
        }
        if self.waiting.len() == self.most {
            metrics::traffic_refused("overflow", 1);
            return;
        }
        self.waiting.push(Observation {
            from: last.snap,
            to: fix.snap,
            took_ms,
            at_ms: millis(fix.at),
        });
    }

    /// All that wait.
    pub fn take(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.waiting)
    }
}

/// The traffic on the map, and the thread that customizes for it.
pub struct LiveTraffic {
    traffic: Mutex<Traffic>,
    /// One thread: the others are for searches.
    customizing: rayon::ThreadPool,
}

impl LiveTraffic {
    /// The traffic as it was kept.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn restore(ground: &Ground, kept: &[ArcTraffic]) -> anyhow::Result<Self> {
        let rules = TrafficRules {
            half_life_ms: crate::policy::millis(ground.config.traffic.half_life).max(1),
            ..TrafficRules::default()
        };
        let mut traffic = Traffic::new(RoadNetwork::clone(&ground.roads), rules);
        traffic.restore(kept);
        Ok(Self {
            traffic: Mutex::new(traffic),
            customizing: rayon::ThreadPoolBuilder::new()
                .num_threads(1)
                .thread_name(|_| "customizing".to_owned())
                .build()?,
        })
    }

    /// What is known.
    pub fn look(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes observations in and swaps in the times of now. Takes as long as a customization and more:
    /// call it where that disturbs nobody.
    pub fn follow(&self, ground: &Ground, observations: &[Observation], now: DateTime<Utc>) {
        let times = {
            let mut traffic = self.look();
            for seen in observations {
                match traffic.observe(&seen.from, &seen.to, seen.took_ms, seen.at_ms) {
                    Ok(()) => metrics::traffic_observed(),
                    Err(useless) => metrics::traffic_refused(useless.reason(), 1),
                }
            }
            traffic.arc_times_ms(millis(now))
        };
        if times == ground.nearest.roads().arc_times_ms() {
            return;
        }
        let begun = Instant::now();
        match self
            .customizing
            .install(|| ground.roads.with_arc_times(times))
        {
            Ok(roads) => {
                ground.nearest.swap(Arc::new(roads));
                metrics::traffic_swapped(begun.elapsed());
            }
            // The times are brought into range before; this would be a defect.
            Err(error) => tracing::error!(%error, "the traffic does not fit the roads"),
        }
    }
}

/// A moment in milliseconds since 1970.
pub fn millis(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp_millis()).unwrap_or(0)
}
