//! How cars move: along the line of a route, at the speed of each street times the time factor, and
//! never faster over the ground than [`GROUND_SPEED_MAX_MPS`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jitney_roads::{LatLon, Route};
use tokio::time::Instant;

use crate::config::GROUND_SPEED_MAX_MPS;

/// Where a car is and how it moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    pub place: LatLon,
    /// Degrees clockwise from north; `None` before the first move.
    pub heading_deg: Option<f64>,
    pub speed_mps: f64,
}

/// A way through the streets with the moment each bend is reached.
#[derive(Clone, Debug)]
pub(crate) struct Drive {
    /// Never empty; times never falling.
    bends: Vec<Bend>,
}

/// A place on a drive's line.
#[derive(Clone, Copy, Debug)]
struct Bend {
    /// Real seconds from the start.
    at_s: f64,
    /// Metres from the start.
    at_m: f64,
    place: LatLon,
}

impl Drive {
    /// A route driven `speed` times as fast as its streets allow, or at the ground speed limit where
    /// that is slower.
    pub fn along(route: &Route, speed: f64) -> Option<Self> {
        let mut bend = Bend {
            at_s: 0.0,
            at_m: 0.0,
            place: *route.line.first()?,
        };
        let mut bends = vec![bend];
        let mut steps = route.steps.iter().peekable();
        let mut limit_mps = GROUND_SPEED_MAX_MPS;
        for (index, piece) in route.line.windows(2).enumerate() {
            while let Some(step) = steps.next_if(|step| step.line_start <= index) {
                let street_mps = step.distance_m / (f64::from(step.duration_ms) / 1000.0);
                // A street of no length has no speed (NaN); the limit then stands.
                limit_mps = (street_mps * speed).min(GROUND_SPEED_MAX_MPS);
            }
            let piece_m = piece[0].distance_m(piece[1]);
            bend.at_m += piece_m;
            // At least a slow walk, whatever the map says.
            bend.at_s += piece_m / limit_mps.max(1.0);
            bend.place = piece[1];
            bends.push(bend);
        }
        Some(Self { bends })
    }

    /// How long it takes.
    pub fn duration(&self) -> Duration {
        let end = self.bends[self.bends.len() - 1];
        Duration::try_from_secs_f64(end.at_s).unwrap_or(Duration::MAX)
    }

    /// How far a car has come that set out this long ago, metres.
    pub fn covered_m(&self, elapsed: Duration) -> f64 {
        match self.piece(elapsed) {
            Some((from, to, share)) => from.at_m + (to.at_m - from.at_m) * share,
            None => self.bends[self.bends.len() - 1].at_m,
        }
    }

    /// Where a car is that set out this long ago; at the end once it has arrived.
    pub fn at(&self, elapsed: Duration) -> Position {
        let Some((from, to, share)) = self.piece(elapsed) else {
            let last_piece = self.bends.windows(2).last();
            let heading_deg = last_piece.map(|ends| ends[0].place.heading_deg(ends[1].place));
            let place = self.bends[self.bends.len() - 1].place;
            return Position {
                place,
                heading_deg,
                speed_mps: 0.0,
            };
        };
        Position {
            place: between(from.place, to.place, share),
            heading_deg: Some(from.place.heading_deg(to.place)),
            speed_mps: (to.at_m - from.at_m) / (to.at_s - from.at_s),
        }
    }

    /// The piece of the line a car is on that set out this long ago, and the share of it that lies
    /// behind; `None` once it has arrived.
    fn piece(&self, elapsed: Duration) -> Option<(Bend, Bend, f64)> {
        let elapsed_s = elapsed.as_secs_f64();
        // The first bend is reached at 0, so there is one before the next.
        let next = self.bends.partition_point(|bend| bend.at_s <= elapsed_s);
        let (from, to) = (self.bends[next - 1], *self.bends.get(next)?);
        Some((from, to, (elapsed_s - from.at_s) / (to.at_s - from.at_s)))
    }
}

fn between(from: LatLon, to: LatLon, share: f64) -> LatLon {
    let lat = from.lat() + (to.lat() - from.lat()) * share;
    let lon = from.lon() + (to.lon() - from.lon()) * share;
    LatLon::new(lat, lon).unwrap_or(to)
}

/// What a car is doing, shared by its driver, who steers, and its phone, which reports.
#[derive(Debug)]
pub(crate) struct Car(Mutex<Motion>);

#[derive(Debug)]
struct Motion {
    /// Where it stands when it does not drive.
    stand: Position,
    /// What it drives, and since when.
    drive: Option<(Drive, Instant)>,
    /// What it has driven before, metres.
    driven_m: f64,
}

impl Car {
    /// A car that stands somewhere.
    pub fn standing(place: LatLon) -> Self {
        let stand = Position {
            place,
            heading_deg: None,
            speed_mps: 0.0,
        };
        Self(Mutex::new(Motion {
            stand,
            drive: None,
            driven_m: 0.0,
        }))
    }

    /// Where it is.
    pub fn position(&self, now: Instant) -> Position {
        self.motion().position(now)
    }

    /// How far it has driven so far, metres.
    pub fn driven_m(&self, now: Instant) -> f64 {
        self.motion().driven_m(now)
    }

    /// Sets out; answers when it will have arrived.
    pub fn set_out(&self, drive: Drive, now: Instant) -> Instant {
        let arrival = now + drive.duration();
        let mut motion = self.motion();
        motion.stop(now);
        motion.drive = Some((drive, now));
        arrival
    }

    /// When it arrives; `None` when it stands.
    pub fn arrival(&self, now: Instant) -> Option<Instant> {
        let motion = self.motion();
        let (drive, since) = motion.drive.as_ref()?;
        Some(*since + drive.duration()).filter(|arrival| *arrival > now)
    }

    /// Stops where it is.
    pub fn stop(&self, now: Instant) {
        self.motion().stop(now);
    }

    /// Puts it elsewhere: only for a car nobody has seen move yet.
    pub fn place_at(&self, place: LatLon) {
        let mut motion = self.motion();
        motion.drive = None;
        motion.stand = Position {
            place,
            heading_deg: None,
            speed_mps: 0.0,
        };
    }

    fn motion(&self) -> std::sync::MutexGuard<'_, Motion> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Motion {
    fn position(&self, now: Instant) -> Position {
        match &self.drive {
            Some((drive, since)) => drive.at(now.saturating_duration_since(*since)),
            None => self.stand,
        }
    }

    fn driven_m(&self, now: Instant) -> f64 {
        let covered_m = self.drive.as_ref().map_or(0.0, |(drive, since)| {
            drive.covered_m(now.saturating_duration_since(*since))
        });
        self.driven_m + covered_m
    }

    fn stop(&mut self, now: Instant) {
        self.driven_m = self.driven_m(now);
        self.stand = Position {
            speed_mps: 0.0,
            ..self.position(now)
        };
        self.drive = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jitney_roads::{RoadClass, Step, Travel};
    use proptest::prelude::*;

    use super::*;

    fn place(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    /// A route through places, each stretch between two being a street of its own speed.
    fn route(places: &[LatLon], speeds_mps: &[f64]) -> Route {
        let steps = places
            .windows(2)
            .zip(speeds_mps)
            .enumerate()
            .map(|(index, (ends, speed))| {
                let distance_m = ends[0].distance_m(ends[1]);
                Step {
                    street: None,
                    class: RoadClass::Primary,
                    distance_m,
                    duration_ms: (distance_m / speed * 1000.0).ceil() as u32,
                    line_start: index,
                }
            });
        let travel = Travel {
            duration_ms: 0,
            distance_m: 0,
        };
        Route {
            travel,
            line: places.to_vec(),
            steps: steps.collect(),
        }
    }

    #[test]
    fn a_drive_takes_its_streets_time() {
        let places = [place(43.70, 7.40), place(43.71, 7.40), place(43.71, 7.41)];
        let route = route(&places, &[10.0, 20.0]);
        let drive = Drive::along(&route, 1.0).unwrap();
        let expected_s: f64 = route
            .steps
            .iter()
            .map(|s| f64::from(s.duration_ms) / 1000.0)
            .sum();
        assert!((drive.duration().as_secs_f64() - expected_s).abs() < 0.01);
        let twice = Drive::along(&route, 2.0).unwrap();
        assert!((twice.duration().as_secs_f64() * 2.0 - expected_s).abs() < 0.01);
        assert_eq!(drive.at(Duration::ZERO).place, places[0]);
        assert_eq!(
            drive.at(drive.duration() + Duration::from_secs(1)).place,
            places[2]
        );
        let half_way = drive.at(Duration::from_millis(
            u64::from(route.steps[0].duration_ms) / 2,
        ));
        assert!((half_way.place.lat() - 43.705).abs() < 1e-5);
        assert!(half_way.heading_deg.unwrap().abs() < 0.1);
        assert!((half_way.speed_mps - 10.0).abs() < 0.01);
    }

    #[test]
    fn standing_at_the_goal_takes_no_time() {
        let here = place(43.7, 7.4);
        let drive = Drive::along(&route(&[here], &[]), 1.0).unwrap();
        assert_eq!(drive.duration(), Duration::ZERO);
        let position = Position {
            place: here,
            heading_deg: None,
            speed_mps: 0.0,
        };
        assert_eq!(drive.at(Duration::from_secs(1)), position);
        assert!(Drive::along(&route(&[], &[]), 1.0).is_none());
    }

    #[test]
    fn a_car_stops_where_it_is() {
        let places = [place(43.70, 7.40), place(43.71, 7.40)];
        let drive = Drive::along(&route(&places, &[10.0]), 1.0).unwrap();
        let start = Instant::now();
        let car = Car::standing(places[0]);
        let arrival = car.set_out(drive, start);
        let middle = start + (arrival - start) / 2;
        assert_eq!(car.arrival(middle), Some(arrival));
        let seen = car.position(middle).place;
        car.stop(middle);
        assert_eq!(car.position(arrival).place, seen);
        assert_eq!(car.arrival(middle), None);
        let half_m = places[0].distance_m(places[1]) / 2.0;
        assert!((car.driven_m(arrival) - half_m).abs() < 0.1);
    }

    proptest! {
        /// Whatever the streets and the factor say, two positions never imply a jump.
        #[test]
        fn nobody_is_ever_faster_than_the_limit(
            steps in prop::collection::vec((-0.01..0.01_f64, -0.01..0.01_f64, 0.5..80.0_f64), 1..12),
            speed in 0.1..4.0_f64,
            interval_ms in 20..5_000_u64,
        ) {
            let mut places = vec![place(43.7, 7.4)];
            for (lat, lon, _) in &steps {
                let last = places[places.len() - 1];
                places.push(place(last.lat() + lat, last.lon() + lon));
            }
            let speeds: Vec<f64> = steps.iter().map(|(_, _, speed)| *speed).collect();
            let drive = Drive::along(&route(&places, &speeds), speed).unwrap();
            let mut before = drive.at(Duration::ZERO).place;
            let end_ms = drive.duration().as_millis() as u64 + interval_ms;
            for at_ms in (interval_ms..=end_ms).step_by(interval_ms as usize).take(2_000) {
                let position = drive.at(Duration::from_millis(at_ms));
                let mps = before.distance_m(position.place) / (interval_ms as f64 / 1000.0);
                prop_assert!(mps <= GROUND_SPEED_MAX_MPS * 1.001, "{mps} m/s");
                prop_assert!(position.speed_mps <= GROUND_SPEED_MAX_MPS * 1.001);
                before = position.place;
            }
        }
    }
}
