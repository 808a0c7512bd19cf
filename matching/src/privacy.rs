//! What a rider may see of drivers who are not theirs: an alias that changes every few minutes, and a
//! position moved by a distance that changes with it. Whoever watches a parked car through many aliases
//! cannot tell that they are one car, so averaging the positions does not help them. Times and distances
//! are coarse: exact ones, asked for from a few places, would cross at the car.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jitney_proto::ids::DriverId;
use jitney_roads::{EARTH_RADIUS_M, LatLon};
use sha2::{Digest, Sha256};

/// Steps of the driving times that riders see.
const TIME_STEP_MS: u32 = 30_000;
/// Steps of the driving distances that riders see.
const DISTANCE_STEP_M: u32 = 100;

/// A driving time as a rider may see it, milliseconds: rounded up to whole half minutes.
pub fn coarse_time_ms(time_ms: u32) -> i64 {
    rounded_up(time_ms, TIME_STEP_MS)
}

/// The longest driving time that a rider sees as at most `bound_ms`; `None` when none is. A bound on the exact
/// time would tell it, asked again and again.
pub fn seen_within_ms(bound_ms: u32) -> Option<u32> {
    let steps = bound_ms / TIME_STEP_MS;
    (steps > 0).then_some(steps * TIME_STEP_MS)
}

/// A driving distance as a rider may see it, metres: rounded up to whole 100 m.
pub fn coarse_distance_m(distance_m: u32) -> i64 {
    rounded_up(distance_m, DISTANCE_STEP_M)
}

/// At least one step: nothing at all would say that the car is right here.
fn rounded_up(exact: u32, step: u32) -> i64 {
    i64::from(exact.div_ceil(step).max(1)) * i64::from(step)
}

/// Hides drivers. The key must not be known outside.
pub struct Veil {
    key: [u8; 32],
    period_ms: i64,
    blur_max_m: f64,
}

impl Veil {
    /// A veil whose aliases last for `period` and whose positions are off by up to `blur_max_m`.
    pub fn new(seed: u64, period: Duration, blur_max_m: f64) -> Self {
        let key =
            Sha256::new_with_prefix(b"jitney nearby drivers").chain_update(seed.to_be_bytes());
        let period_ms = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1);
        Self {
            key: key.finalize().into(),
            period_ms,
            blur_max_m,
        }
    }

    /// A driver's alias, and where a rider sees them.
    pub fn hide(&self, driver: &DriverId, place: LatLon, now: DateTime<Utc>) -> (String, LatLon) {
        let period = now.timestamp_millis().div_euclid(self.period_ms);
        let hash = Sha256::new_with_prefix(self.key)
            .chain_update(period.to_be_bytes())
            .chain_update(driver.as_str())
            // The key is as long as the hash's block allows; closing with it keeps others from
            // extending a known hash.
            .chain_update(self.key)
            .finalize();
        let number = |from: usize| {
            hash[from..from + 8]
                .iter()
                .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let share = |from: usize| (number(from) >> 11) as f64 / (1_u64 << 53) as f64;
        // The square root spreads places evenly over the disc.
        let distance_m = self.blur_max_m * share(8).sqrt();
        let direction = share(16) * std::f64::consts::TAU;
        (
            format!("car-{:016x}", number(0)),
            moved(place, distance_m, direction),
        )
    }
}

/// The place some way off; the place itself where that is not on the map of the Earth.
fn moved(place: LatLon, distance_m: f64, direction: f64) -> LatLon {
    let angle = (distance_m / EARTH_RADIUS_M).to_degrees();
    let lat = place.lat() + angle * direction.cos();
    let lon = place.lon() + angle * direction.sin() / place.lat().to_radians().cos().max(1e-6);
    LatLon::new(lat, lon).unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn aliases_change_with_time_driver_and_seed() {
        let veil = Veil::new(7, Duration::from_secs(300), 50.0);
        let (anna, ben): (DriverId, DriverId) = ("anna".parse().unwrap(), "ben".parse().unwrap());
        let place = LatLon::new(43.73, 7.42).unwrap();
        let at = |second| DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let alias = |veil: &Veil, driver, second| veil.hide(driver, place, at(second));
        assert_eq!(alias(&veil, &anna, 0), alias(&veil, &anna, 299));
        assert_ne!(alias(&veil, &anna, 0).0, alias(&veil, &anna, 300).0);
        assert_ne!(alias(&veil, &anna, 0).0, alias(&veil, &ben, 0).0);
        let other = Veil::new(8, Duration::from_secs(300), 50.0);
        assert_ne!(alias(&veil, &anna, 0).0, alias(&other, &anna, 0).0);
        assert!(alias(&veil, &anna, 0).0.parse::<DriverId>().is_ok());
    }

    #[test]
    fn times_and_distances_are_coarse_and_never_too_short() {
        for (exact, seen) in [
            (0, 30_000),
            (1, 30_000),
            (30_000, 30_000),
            (30_001, 60_000),
            (u32::MAX, 4_294_980_000),
        ] {
            assert_eq!(coarse_time_ms(exact), seen, "{exact} ms");
        }
        for (bound, within) in [
            (29_999, None),
            (30_000, Some(30_000)),
            (59_999, Some(30_000)),
            (u32::MAX, Some(4_294_950_000)),
        ] {
            assert_eq!(seen_within_ms(bound), within, "{bound} ms");
        }
        for (exact, seen) in [(0, 100), (100, 100), (101, 200), (u32::MAX, 4_294_967_300)] {
            assert_eq!(coarse_distance_m(exact), seen, "{exact} m");
        }
    }

    #[test]
    fn positions_are_off_but_not_by_much() {
        let veil = Veil::new(7, Duration::from_secs(1), 50.0);
        let anna: DriverId = "anna".parse().unwrap();
        let place = LatLon::new(60.0, 7.42).unwrap();
        let off: Vec<f64> = (0..500)
            .map(|second| {
                let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
                place.distance_m(veil.hide(&anna, place, now).1)
            })
            .collect();
        assert!(off.iter().all(|&metres| metres <= 50.1));
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        assert!((25.0..42.0).contains(&mean), "{mean}");
    }
}
