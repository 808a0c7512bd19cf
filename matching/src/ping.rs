//! Judging pings: which measured positions are believed. Pure; the snapping to roads is done before.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jitney_proto::{matching::v1 as wire, time::moment};
use jitney_roads::{LatLon, RoadNetwork, Snap};

use crate::config::{Config, delta};

/// Where a driver was last seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    /// As measured.
    pub place: LatLon,
    /// On the road.
    pub snap: Snap,
    /// Degrees clockwise from north.
    pub heading_deg: Option<f32>,
    /// When it was measured.
    pub at: DateTime<Utc>,
}

/// Why a ping is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingRefusal {
    /// A coordinate, heading, speed or time that cannot be.
    OutOfRange,
    /// Measured later than now, by more than the clocks may differ.
    FromTheFuture,
    /// Measured too long ago.
    TooOld,
    /// Not measured after the last one.
    OutOfOrder,
    /// Farther from the last one than any car drives.
    Jump,
    /// No road near.
    OutsideMap,
}

impl PingRefusal {
    /// As apps read it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::FromTheFuture => "FROM_THE_FUTURE",
            Self::TooOld => "TOO_OLD",
            Self::OutOfOrder => "OUT_OF_ORDER",
            Self::Jump => "JUMP",
            Self::OutsideMap => "OUTSIDE_MAP",
        }
    }
}

/// From this speed on a phone's heading is that of the car, and the car cannot turn round on the spot;
/// metres a second.
pub const DRIVING_MPS: f32 = 2.0;

/// A ping that is a position on the map, not yet held against the driver's last one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    place: LatLon,
    snap: Snap,
    heading_deg: Option<f32>,
    /// `None`: now, whenever that is.
    recorded_at: Option<DateTime<Utc>>,
}

impl Sighting {
    /// Reads a ping and puts it on the road.
    ///
    /// # Errors
    /// [`PingRefusal::OutOfRange`] and [`PingRefusal::OutsideMap`].
    pub fn read(
        ping: &wire::Ping,
        roads: &RoadNetwork,
        snap_distance_max_m: f64,
    ) -> Result<Self, PingRefusal> {
        let place = ping
            .location
            .as_ref()
            .and_then(|point| LatLon::new(point.latitude, point.longitude).ok())
            .ok_or(PingRefusal::OutOfRange)?;
        let heading_is_sound = ping
            .heading_degrees
            .is_none_or(|deg| (0.0..=360.0).contains(&deg));
        let speed_is_sound = ping
            .speed_mps
            .is_none_or(|mps| mps.is_finite() && mps >= 0.0);
        if !(heading_is_sound && speed_is_sound) {
            return Err(PingRefusal::OutOfRange);
        }
        let recorded_at = ping
            .recorded_at
            .as_ref()
            .map(|at| moment(at, "recorded_at"))
            .transpose()
            .map_err(|_| PingRefusal::OutOfRange)?;
        let is_driving = ping.speed_mps.is_some_and(|mps| mps >= DRIVING_MPS);
        let snap = match ping.heading_degrees.filter(|_| is_driving) {
            Some(deg) => roads.snap_driving(place, f64::from(deg), snap_distance_max_m),
            None => roads.snap(place, snap_distance_max_m),
        };
        let snap = snap.map_err(|_| PingRefusal::OutsideMap)?;
        Ok(Self {
            place,
            snap,
            heading_deg: ping.heading_degrees,
            recorded_at,
        })
    }
}

/// What makes a ping believable.
#[derive(Clone, Copy, Debug)]
pub struct PingRules {
    /// See [`Config::ping_skew_max`].
    pub skew_max: Duration,
    /// See [`Config::ping_age_max`].
    pub age_max: Duration,
    /// See [`Config::ping_speed_max_mps`].
    pub speed_max_mps: f64,
    /// See [`Config::ping_noise_m`].
    pub noise_m: f64,
    /// After this long without a position, a driver may be anywhere.
    pub silence_max: Duration,
}

impl PingRules {
    /// The rules an operator set.
    pub fn of(config: &Config) -> Self {
        Self {
            skew_max: config.ping_skew_max,
            age_max: config.ping_age_max,
            speed_max_mps: config.ping_speed_max_mps,
            noise_m: config.ping_noise_m,
            silence_max: config.silence_max,
        }
    }

    /// Whether a sighting is believed of a driver last seen at `last`. With `anywhere` the distance
    /// from there is not looked at: the driver has just come on shift.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn judge(
        &self,
        sighting: &Sighting,
        last: Option<&Fix>,
        anywhere: bool,
        now: DateTime<Utc>,
    ) -> Result<Fix, PingRefusal> {
        let at = match sighting.recorded_at {
            Some(at) if at > now + delta(self.skew_max) => return Err(PingRefusal::FromTheFuture),
            Some(at) if at < now - delta(self.age_max) => return Err(PingRefusal::TooOld),
            Some(at) if last.is_some_and(|last| at <= last.at) => {
                return Err(PingRefusal::OutOfOrder);
            }
            Some(at) => at,
            // Taken as new even when the phone's clock, which dated the last one, runs ahead of ours.
            None => last.map_or(now, |last| now.max(last.at)),
        };
        if let Some(last) = last.filter(|_| !anywhere) {
            let passed = at - last.at;
            if passed <= delta(self.silence_max) {
                let reach_m = self.noise_m
                    + self.speed_max_mps * passed.to_std().unwrap_or_default().as_secs_f64();
                if last.place.distance_m(sighting.place) > reach_m {
                    return Err(PingRefusal::Jump);
                }
            }
        }
        let Sighting {
            place,
            snap,
            heading_deg,
            ..
        } = *sighting;
        Ok(Fix {
            place,
            snap,
            heading_deg,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use jitney_proto::{common::v1::Point, time::timestamp};
    use jitney_roads::testmap;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn rules() -> PingRules {
        PingRules {
            noise_m: 0.0,
            ..PingRules::of(&Config::default())
        }
    }

    /// A ping `east_m` metres along the southern street of a grid, `second` seconds from now.
    fn sighting(east_m: f64, second: i64) -> Sighting {
        let ping = wire::Ping {
            location: Some(Point::new(0.0, east_m / 111_195.0)),
            recorded_at: Some(timestamp(NOW + TimeDelta::seconds(second))),
            ..Default::default()
        };
        Sighting::read(&ping, &testmap::grid(20, 2, 500.0), 100.0).unwrap()
    }

    fn fix(east_m: f64, second: i64) -> Fix {
        rules()
            .judge(&sighting(east_m, second), None, false, NOW)
            .unwrap()
    }

    #[test]
    fn times_must_be_sane_and_rising() {
        let judge = |second, last: Option<&Fix>| {
            rules()
                .judge(&sighting(0.0, second), last, false, NOW)
                .map(|fix| fix.at)
        };
        let last = fix(0.0, -60);
        assert_eq!(judge(-50, Some(&last)), Ok(NOW - TimeDelta::seconds(50)));
        assert_eq!(judge(-60, Some(&last)), Err(PingRefusal::OutOfOrder));
        assert_eq!(judge(-61, Some(&last)), Err(PingRefusal::OutOfOrder));
        assert_eq!(judge(10, None), Ok(NOW + TimeDelta::seconds(10)));
        assert_eq!(judge(11, None), Err(PingRefusal::FromTheFuture));
        assert_eq!(judge(-300, None), Ok(NOW - TimeDelta::seconds(300)));
        assert_eq!(judge(-301, None), Err(PingRefusal::TooOld));
    }

    #[test]
    fn a_ping_without_a_time_is_new() {
        let last = fix(0.0, 5);
        let now = Sighting {
            recorded_at: None,
            ..sighting(0.0, 0)
        };
        assert_eq!(
            rules().judge(&now, Some(&last), false, NOW).unwrap().at,
            last.at
        );
        assert_eq!(rules().judge(&now, None, false, NOW).unwrap().at, NOW);
    }

    #[test]
    fn nobody_drives_more_than_sixty_metres_a_second() {
        let last = fix(0.0, -30);
        let judge = |east_m, second, anywhere| {
            rules()
                .judge(&sighting(east_m, second), Some(&last), anywhere, NOW)
                .map(|fix| fix.at)
        };
        assert!(judge(599.0, -20, false).is_ok());
        assert_eq!(judge(602.0, -20, false), Err(PingRefusal::Jump));
        assert!(judge(602.0, -20, true).is_ok(), "just come on shift");
        let long_ago = fix(0.0, -200);
        assert!(
            rules()
                .judge(&sighting(9_000.0, -50), Some(&long_ago), false, NOW)
                .is_ok()
        );
        let noisy = PingRules {
            noise_m: 50.0,
            ..rules()
        };
        assert!(
            noisy
                .judge(&sighting(49.0, -29), Some(&last), false, NOW)
                .is_ok()
        );
    }

    #[test]
    fn nonsense_is_out_of_range_and_far_away_is_outside() {
        let roads = testmap::grid(2, 2, 100.0);
        let read = |ping: wire::Ping| Sighting::read(&ping, &roads, 100.0);
        let here = Some(Point::new(0.0, 0.0));
        assert_eq!(read(wire::Ping::default()), Err(PingRefusal::OutOfRange));
        for (latitude, longitude) in [(f64::NAN, 0.0), (91.0, 0.0), (0.0, -181.0)] {
            let location = Some(Point::new(latitude, longitude));
            assert_eq!(
                read(wire::Ping {
                    location,
                    ..Default::default()
                }),
                Err(PingRefusal::OutOfRange)
            );
        }
        let heading = wire::Ping {
            location: here,
            heading_degrees: Some(361.0),
            ..Default::default()
        };
        assert_eq!(read(heading), Err(PingRefusal::OutOfRange));
        let speed = wire::Ping {
            location: here,
            speed_mps: Some(f32::NAN),
            ..Default::default()
        };
        assert_eq!(read(speed), Err(PingRefusal::OutOfRange));
        let far = wire::Ping {
            location: Some(Point::new(1.0, 1.0)),
            ..Default::default()
        };
        assert_eq!(read(far), Err(PingRefusal::OutsideMap));
        assert!(
            read(wire::Ping {
                location: here,
                ..Default::default()
            })
            .is_ok()
        );
    }
}
