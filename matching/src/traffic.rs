//! Live traffic: from the positions that drivers report to the travel times that searches go by.
//!
//! Under the lock two positions of one driver are only set aside ([`Observations`]), far enough apart to
//! tell something however often the app reports. Every so often a task takes them, works out how fast
//! the roads are driven ([`jitney_roads::Traffic`]), customizes the hierarchy for those times on a thread
//! of its own, and swaps them in; searches never wait for it. What was learnt is written down now and
//! then, for the next start.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use jitney_roads::{ArcTraffic, RoadNetwork, Snap, Traffic, TrafficRules, Useless};
use serde::{Deserialize, Serialize};

use crate::{dispatch::Ground, fleet::DriverKey, metrics, ping::Fix, store::Store};

/// Positions that follow each other faster belong to one drive, milliseconds: in less time the error of
/// a phone's position counts for too much of the way.
const DRIVE_MS_MIN: u32 = 5_000;
/// A car that was within [`STILL_M`] for this long is parked, or stands at a light, whose delay the turns
/// have already; what it drives next is measured from there. Milliseconds.
const STILL_MS: u32 = 10_000;
/// See [`STILL_MS`]; metres.
const STILL_M: f64 = 5.0;

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

/// Where the drive began that a driver is on.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    snap: Snap,
    at_ms: u64,
}

/// Observations that wait to be looked at, and what the next ones will be measured from.
#[derive(Debug)]
pub struct Observations {
    waiting: Vec<Observation>,
    most: usize,
    /// By driver.
    beginnings: Vec<Option<Beginning>>,
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
            beginnings: Vec::new(),
        }
    }

    /// A position of a driver was believed. Where it tells how fast they drove since the drive began, it
    /// is set aside with that beginning, and the next drive begins. With `anywhere` they did not drive
    /// here: they have just come on shift.
    pub fn see(&mut self, driver: DriverKey, fix: &Fix, anywhere: bool) {
        if self.most == 0 {
            return;
        }
        if self.beginnings.len() <= driver.index() {
            self.beginnings.resize(driver.index() + 1, None);
        }
        let here = Beginning {
            snap: fix.snap,
            at_ms: millis(fix.at),
        };
        let known = self.beginnings[driver.index()].filter(|_| !anywhere);
        let Some(from) = known else {
            self.beginnings[driver.index()] = Some(here);
            return;
        };
        let rules = TrafficRules::default();
        let took_ms = u32::try_from(here.at_ms.saturating_sub(from.at_ms)).unwrap_or(u32::MAX);
        let moved_m = from.snap.point.distance_m(here.snap.point);
        if took_ms > rules.took_ms_max {
            metrics::traffic_refused(Useless::Timing.reason(), 1);
        } else if took_ms >= DRIVE_MS_MIN && moved_m >= rules.way_m_min {
            self.set_aside(Observation {
                from: from.snap,
                to: here.snap,
                took_ms,
                at_ms: here.at_ms,
            });
        } else if took_ms >= STILL_MS && moved_m < STILL_M {
            metrics::traffic_refused(Useless::Parked.reason(), 1);
        } else {
            return;
        }
        self.beginnings[driver.index()] = Some(here);
    }

    fn set_aside(&mut self, observation: Observation) {
        if self.waiting.len() == self.most {
            metrics::traffic_refused(metrics::TRAFFIC_OVERFLOW, 1);
        } else {
            self.waiting.push(observation);
        }
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

    /// The traffic as the store kept it for that map, and the map driven on by it.
    ///
    /// # Errors
    /// The database's, and as [`LiveTraffic::restore`].
    pub async fn load(
        ground: &Arc<Ground>,
        store: &Store,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        let mut kept = Vec::new();
        if ground.config.traffic.enabled {
            kept = store.load_traffic(ground.roads.id()).await?;
        }
        let ground = Arc::clone(ground);
        tokio::task::spawn_blocking(move || {
            let traffic = Self::restore(&ground, &kept)?;
            if !kept.is_empty() {
                traffic.follow(&ground, &[], now);
            }
            Ok(traffic)
        })
        .await?
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
                let roads = Arc::new(roads);
                ground.nearest.swap(Arc::clone(&roads));
                metrics::traffic_swapped(begun.elapsed());
                // The same times again, quicker to search by.
                let tightened = self.customizing.install(|| roads.tightened());
                ground.nearest.swap_if(&roads, Arc::new(tightened));
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use jitney_roads::{LatLon, testmap};

    use super::*;

    const ANNA: DriverKey = DriverKey(3);

    /// What is set aside of a driver who was at these metres along the southern street of a grid, at
    /// these seconds.
    fn seen(config: &TrafficConfig, track: &[(f64, i64)]) -> Vec<Observation> {
        let mut observations = Observations::new(config);
        track
            .iter()
            .for_each(|&(east_m, second)| observations.see(ANNA, &fix(east_m, second), false));
        observations.take()
    }

    fn fix(east_m: f64, second: i64) -> Fix {
        let place = LatLon::new(0.0, east_m / 111_195.0).unwrap();
        Fix {
            place,
            snap: testmap::grid(6, 2, 500.0).snap(place, 50.0).unwrap(),
            heading_deg: None,
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
        }
    }

    /// A position a second at that speed, for half a minute.
    fn track(mps: f64) -> Vec<(f64, i64)> {
        (0..=30)
            .map(|second| (mps * second as f64, second))
            .collect()
    }

    #[test]
    fn positions_of_every_second_are_joined() {
        let config = TrafficConfig::default();
        let took = |mps| -> Vec<u32> {
            let seen = seen(&config, &track(mps));
            seen.iter().map(|seen| seen.took_ms).collect()
        };
        assert_eq!(took(10.0), [5_000; 6]);
        assert_eq!(took(1.6), [10_000; 3], "however slow the jam is");
        assert!(took(0.3).is_empty(), "parked");
        let sparse = [
            (0.0, 0),
            (50.0, 30),
            (100.0, 60),
            (900.0, 121),
            (950.0, 126),
        ];
        let seen = seen(&config, &sparse);
        let took: Vec<u32> = seen.iter().map(|seen| seen.took_ms).collect();
        assert_eq!(took, [30_000, 30_000, 5_000], "61 s are too long");
    }

    #[test]
    fn waiting_is_not_driving() {
        let stop = (0..40).map(|second| (100.0, second));
        let leaving: Vec<(f64, i64)> = stop.chain([(150.0, 45), (200.0, 50)]).collect();
        let seen = seen(&TrafficConfig::default(), &leaving);
        assert!(seen.iter().all(|seen| seen.took_ms <= 15_000), "{seen:?}");
    }

    #[test]
    fn who_comes_on_shift_did_not_drive_there() {
        let mut observations = Observations::new(&TrafficConfig::default());
        observations.see(ANNA, &fix(0.0, 0), false);
        observations.see(ANNA, &fix(300.0, 30), true);
        assert!(observations.take().is_empty());
        observations.see(ANNA, &fix(350.0, 40), false);
        assert_eq!(observations.take()[0].took_ms, 10_000);
    }

    #[test]
    fn no_more_wait_than_may() {
        let few = |observations_max| TrafficConfig {
            observations_max,
            ..TrafficConfig::default()
        };
        assert_eq!(seen(&few(2), &track(10.0)).len(), 2);
        let off = TrafficConfig {
            enabled: false,
            ..TrafficConfig::default()
        };
        assert!(seen(&off, &track(10.0)).is_empty());
    }
}
