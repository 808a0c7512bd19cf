//! A driver with their car: where it is at any moment, and what it has done.

use std::time::Duration;

use jitney_matching::{
    fleet::DriverKey,
    ping::{PingRefusal, Sighting},
};
use jitney_proto::matching::v1::StopKind;
use jitney_roads::{LatLon, RoadNetwork, Route, Snap};

use crate::movement::{Drive, Position};

/// A drive from one place to another, exactly as long as its route takes.
pub(crate) struct Journey {
    drive: Drive,
    began_ms: i64,
    duration_ms: i64,
    goal: Snap,
}

impl Journey {
    /// Along a route that ends at `goal`.
    pub fn new(route: &Route, goal: Snap, now_ms: i64) -> Option<Self> {
        Some(Self {
            drive: Drive::along(route, 1.0)?,
            began_ms: now_ms,
            duration_ms: i64::from(route.travel.duration_ms),
            goal,
        })
    }

    /// When it ends.
    pub fn ends_ms(&self) -> i64 {
        self.began_ms + self.duration_ms
    }

    /// How long it takes, milliseconds.
    pub fn duration_ms(&self) -> i64 {
        self.duration_ms
    }

    /// The line's own clock knows no turns; this spreads their time over the whole.
    fn elapsed(&self, now_ms: i64) -> Duration {
        if now_ms >= self.ends_ms() {
            return Duration::MAX;
        }
        let share = (now_ms - self.began_ms).max(0) as f64 / self.duration_ms as f64;
        self.drive.duration().mul_f64(share)
    }

    fn position(&self, now_ms: i64) -> Position {
        self.drive.at(self.elapsed(now_ms))
    }

    fn covered_mm(&self, now_ms: i64) -> u64 {
        (self.drive.covered_m(self.elapsed(now_ms)) * 1000.0).round() as u64
    }
}

/// What a car is doing.
pub(crate) enum Motion {
    /// It stands there.
    Parked(Snap),
    /// It drives.
    Driving(Journey),
}

/// A driver.
pub(crate) struct Cab {
    pub key: DriverKey,
    pub motion: Motion,
    pub on_shift: bool,
    /// Wants to be off shift once the ride is over.
    pub leaves: bool,
    /// Rides they have.
    pub rides: u32,
    /// Parties in the car.
    pub aboard: u32,
    /// The stop they drive to, or are at: whose, by the request, and what for.
    pub goal: Option<(u32, StopKind)>,
    /// Riders are getting in.
    pub is_boarding: bool,
    /// Counts drives, so that the end of one that was broken off is told from the end of the next.
    pub drive_no: u32,
    /// Counts changes of the pinging rhythm, for the same reason.
    pub ping_no: u32,
    pub next_ping_ms: i64,
    /// What a parked car's phone says, worked out once.
    parked: Option<Result<Sighting, PingRefusal>>,
    /// Driven without a rider, millimetres.
    pub empty_mm: u64,
    /// Driven with one, millimetres.
    pub loaded_mm: u64,
    /// Fares, minor units.
    pub income: i64,
    /// Time with a rider or on the way to one, within the hours, milliseconds.
    pub engaged_ms: i64,
    pub engaged_since_ms: i64,
    /// Time on shift, within the hours, milliseconds.
    pub shift_ms: i64,
    pub shift_since_ms: i64,
}

impl Cab {
    /// A car that is parked, its driver off shift.
    pub fn new(key: DriverKey, place: Snap) -> Self {
        Self {
            key,
            motion: Motion::Parked(place),
            on_shift: false,
            leaves: false,
            rides: 0,
            aboard: 0,
            goal: None,
            is_boarding: false,
            drive_no: 0,
            ping_no: 0,
            next_ping_ms: 0,
            parked: None,
            empty_mm: 0,
            loaded_mm: 0,
            income: 0,
            engaged_ms: 0,
            engaged_since_ms: 0,
            shift_ms: 0,
            shift_since_ms: 0,
        }
    }

    /// Whether it drives.
    pub fn is_driving(&self) -> bool {
        matches!(self.motion, Motion::Driving(_))
    }

    /// Where it is, as its driver sees it: which way it faces is known while it drives.
    pub fn place(&self, roads: &RoadNetwork, now_ms: i64) -> Snap {
        match &self.motion {
            Motion::Parked(place) => *place,
            Motion::Driving(journey) => {
                let Position {
                    place, heading_deg, ..
                } = journey.position(now_ms);
                let snap = match heading_deg {
                    Some(deg) => roads.snap_driving(place, deg, f64::INFINITY),
                    None => roads.snap(place, f64::INFINITY),
                };
                // A map on which somebody drives has a road.
                snap.unwrap_or(journey.goal)
            }
        }
    }

    /// Sets out.
    pub fn set_out(&mut self, journey: Journey) {
        self.drive_no += 1;
        self.parked = None;
        self.motion = Motion::Driving(journey);
    }

    /// Stops: at the goal when the drive is over, else where it is. Gives the millimetres driven.
    pub fn stop(&mut self, roads: &RoadNetwork, now_ms: i64, loaded: bool) -> u64 {
        let Motion::Driving(journey) = &self.motion else {
            return 0;
        };
        let covered_mm = journey.covered_mm(now_ms);
        let place = if now_ms >= journey.ends_ms() {
            journey.goal
        } else {
            self.place(roads, now_ms)
        };
        *(if loaded {
            &mut self.loaded_mm
        } else {
            &mut self.empty_mm
        }) += covered_mm;
        self.drive_no += 1;
        self.motion = Motion::Parked(place);
        covered_mm
    }

    /// What its phone measures: place, heading degrees, speed in metres a second.
    pub fn measured(&self, now_ms: i64) -> (LatLon, Option<f64>, f64) {
        match &self.motion {
            Motion::Parked(place) => (place.point, None, 0.0),
            Motion::Driving(journey) => {
                let position = journey.position(now_ms);
                (position.place, position.heading_deg, position.speed_mps)
            }
        }
    }

    /// The sighting of a ping: read by `read`, for a parked car once.
    pub fn sighting(
        &mut self,
        read: impl FnOnce() -> Result<Sighting, PingRefusal>,
    ) -> Result<Sighting, PingRefusal> {
        match self.motion {
            Motion::Parked(_) => *self.parked.get_or_insert_with(read),
            Motion::Driving(_) => read(),
        }
    }
}
