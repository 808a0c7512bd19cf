//! How far riders were driven: the positions of their driver from boarding to the end, matched to roads.
//!
//! A track keeps a position whenever the car has come [`STEP_M`] farther, or [`STEP_MS`] have passed, so
//! that the way between two of them is short and the fastest way by road is the one that was driven. It is
//! kept for a while after the ride has ended, for the fare. Tracks live in memory only: after a restart,
//! or on another map, a ride that was under way has none, and its fare is that of its quote.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use jitney_proto::ids::TripId;
use jitney_roads::{LatLon, Snap};

use crate::{
    config::Config,
    nearest::Nearest,
    ping::Fix,
    rides::{Leg, Rides},
};

/// Metres, in a straight line, after which a position is kept.
const STEP_M: f64 = 80.0;
/// Milliseconds after which a position is kept that is nearer.
const STEP_MS: i64 = 20_000;
/// Positions of one ride, at most. Where there are more, every other one is let go.
const POSITIONS_MAX: usize = 2_000;
/// A way between two positions that is this much longer than the straight line, and
/// [`DETOUR_SPARE_M`] more, was matched to the wrong road: the straight line is counted.
const DETOUR_MAX: f64 = 2.5;
/// See [`DETOUR_MAX`]; metres.
const DETOUR_SPARE_M: f64 = 200.0;

/// Where a car was, and when.
#[derive(Clone, Copy, Debug)]
struct Position {
    snap: Snap,
    at: DateTime<Utc>,
}

/// One ride's way.
#[derive(Clone, Debug, Default)]
struct Track {
    /// Kept ones, and behind them the newest.
    positions: Vec<Position>,
    newest: Option<Position>,
    ended: bool,
}

/// A ride's way, out of the lock: to be measured where that disturbs nobody.
#[derive(Clone, Debug)]
pub struct Way(Vec<Position>);

/// What was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driven {
    /// Metres by road.
    pub distance_m: i64,
    /// From how many positions.
    pub positions: usize,
    /// The longest time between two of them, milliseconds.
    pub gap_ms: i64,
}

/// The ways of rides that are under way or ended lately.
#[derive(Debug)]
pub struct Meters {
    tracks: HashMap<TripId, Track>,
    /// Rides that ended, the oldest first.
    ended: VecDeque<TripId>,
    /// How many of them are kept.
    ended_max: usize,
}

impl Meters {
    /// None yet.
    pub fn new(config: &Config) -> Self {
        Self {
            tracks: HashMap::new(),
            ended: VecDeque::new(),
            ended_max: config.metered_rides_max,
        }
    }

    /// The riders are on board; their driver was last seen there.
    pub fn begin(&mut self, trip: TripId, fix: Option<&Fix>) {
        let track = self.tracks.entry(trip).or_default();
        if let Some(fix) = fix.filter(|_| track.positions.is_empty()) {
            track.see(fix);
        }
    }

    /// A driver's position was believed.
    pub fn see(&mut self, rides: &Rides, fix: &Fix) {
        for live in rides.iter().filter(|live| live.leg == Leg::ToDropoff) {
            if let Some(track) = self.tracks.get_mut(&live.ride.trip) {
                track.see(fix);
            }
        }
    }

    /// The ride has ended.
    pub fn end(&mut self, trip: TripId) {
        let Some(track) = self.tracks.get_mut(&trip).filter(|track| !track.ended) else {
            return;
        };
        track.ended = true;
        self.ended.push_back(trip);
        while self.ended.len() > self.ended_max {
            if let Some(oldest) = self.ended.pop_front() {
                self.tracks.remove(&oldest);
            }
        }
    }

    /// A ride's way so far; `None` when it was not followed.
    pub fn way(&self, trip: TripId) -> Option<Way> {
        let track = self.tracks.get(&trip)?;
        let mut positions = track.positions.clone();
        let last = positions.last()?.at;
        positions.extend(track.newest.filter(|newest| newest.at > last));
        Some(Way(positions))
    }
}

impl Track {
    fn see(&mut self, fix: &Fix) {
        let here = Position {
            snap: fix.snap,
            at: fix.at,
        };
        let is_kept = match self.positions.last() {
            None => true,
            Some(last) => {
                let passed_ms = (here.at - last.at).num_milliseconds();
                let moved_m = last.snap.point.distance_m(here.snap.point);
                passed_ms > 0 && (moved_m >= STEP_M || passed_ms >= STEP_MS)
            }
        };
        if !is_kept {
            self.newest = Some(here);
            return;
        }
        self.newest = None;
        self.positions.push(here);
        if self.positions.len() > POSITIONS_MAX {
            let mut number = 0_usize;
            self.positions.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
    }
}

impl Way {
    /// The places on the road where the car was, in driving order.
    pub fn places(&self) -> impl Iterator<Item = LatLon> {
        self.0.iter().map(|position| position.snap.point)
    }

    /// Measures it by road; `None` for a way of one position.
    pub fn measure(&self, nearest: &Nearest) -> Option<Driven> {
        let Way(positions) = self;
        let mut driven = Driven {
            distance_m: 0,
            positions: positions.len(),
            gap_ms: 0,
        };
        if positions.len() < 2 {
            return None;
        }
        let mut metres = 0.0;
        for pair in positions.windows(2) {
            let straight_m = pair[0].snap.point.distance_m(pair[1].snap.point);
            let by_road = nearest.travel(&pair[0].snap, &pair[1].snap);
            let by_road_m = by_road.map_or(f64::INFINITY, |travel| f64::from(travel.distance_m));
            let is_detour = by_road_m > straight_m * DETOUR_MAX + DETOUR_SPARE_M;
            metres += if is_detour { straight_m } else { by_road_m };
            let gap_ms = (pair[1].at - pair[0].at).num_milliseconds();
            driven.gap_ms = driven.gap_ms.max(gap_ms);
        }
        #[allow(clippy::cast_possible_truncation)] // A ride's metres are far below.
        let whole = metres.round() as i64;
        driven.distance_m = whole;
        Some(driven)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;
    use jitney_roads::{LatLon, testmap};
    use uuid::Uuid;

    use super::*;

    fn trip(number: u128) -> TripId {
        TripId(Uuid::from_u128(number))
    }

    fn fix(place: LatLon, snap: Snap, second: i64) -> Fix {
        Fix {
            place,
            snap,
            heading_deg: None,
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
        }
    }

    #[test]
    fn a_way_is_as_long_as_the_roads_that_were_driven() {
        let roads = Arc::new(testmap::grid(8, 8, 150.0));
        let nearest = Nearest::new(Arc::clone(&roads), 1_000);
        let bounds = roads.bounds();
        // Along one side and up the next, a position every few seconds.
        let mut track = Track::default();
        let (a, b) = (bounds.south_west, bounds.north_east);
        let corner = LatLon::new(a.lat(), b.lon()).unwrap();
        let mut second = 0;
        let mut last = None;
        for (from, to) in [(a, corner), (corner, b)] {
            for step in 0..=20 {
                let part = f64::from(step) / 20.0;
                let between = |a: f64, b: f64| a + (b - a) * part;
                let place =
                    LatLon::new(between(from.lat(), to.lat()), between(from.lon(), to.lon()))
                        .unwrap();
                let snap = roads.snap(place, 500.0).unwrap();
                second += 3;
                track.see(&fix(place, snap, second));
                last = Some(snap);
            }
        }
        let mut meters = Meters {
            tracks: HashMap::from([(trip(1), track)]),
            ended: VecDeque::new(),
            ended_max: 1,
        };
        let driven = meters.way(trip(1)).unwrap().measure(&nearest).unwrap();
        let start = roads.snap(a, 500.0).unwrap();
        let turn = roads.snap(corner, 500.0).unwrap();
        let whole = nearest.travel(&start, &turn).unwrap().distance_m
            + nearest.travel(&turn, &last.unwrap()).unwrap().distance_m;
        let off = (driven.distance_m - i64::from(whole)).abs();
        assert!(off <= i64::from(whole) / 50 + 5, "{driven:?} of {whole}");
        assert!(driven.positions > 5 && driven.gap_ms <= STEP_MS);

        // It is kept after the end, until too many have ended.
        meters.end(trip(1));
        meters.end(trip(1));
        assert!(meters.way(trip(1)).is_some());
        meters.begin(trip(2), None);
        assert!(meters.way(trip(2)).is_none(), "nobody was seen yet");
        meters.end(trip(2));
        assert!(meters.way(trip(1)).is_none());
    }

    #[test]
    fn a_car_that_stands_drives_nothing_and_a_long_ride_is_thinned() {
        let roads = Arc::new(testmap::grid(4, 4, 150.0));
        let nearest = Nearest::new(Arc::clone(&roads), 1_000);
        let place = roads.bounds().south_west;
        let snap = roads.snap(place, 500.0).unwrap();
        let mut track = Track::default();
        for number in 0..i64::try_from(POSITIONS_MAX).unwrap() + 10 {
            track.see(&fix(place, snap, number * 20));
        }
        assert!(track.positions.len() <= POSITIONS_MAX / 2 + 20);
        let driven = Way(track.positions).measure(&nearest).unwrap();
        assert_eq!(driven.distance_m, 0);
        let mut alone = Track::default();
        alone.see(&fix(place, snap, 0));
        assert_eq!(Way(alone.positions).measure(&nearest), None);
    }
}
