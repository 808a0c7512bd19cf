//! Demand of a city nobody has seen: a rate with a daily curve, and some centres that people come from
//! and go to.

use std::sync::Arc;

use anyhow::ensure;
use jitney_roads::{LatLon, RoadNetwork};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{
    chance::{Purpose, chance},
    streets::Streets,
};

use super::{
    demand::{Demand, WantedRide},
    fit::scatter,
};

/// Rides wanted in each hour of the day, against an average hour of 100.
const CURVE: [u32; 24] = [
    70, 50, 32, 22, 24, 40, 70, 110, 130, 112, 96, 98, 104, 102, 100, 104, 116, 136, 154, 150, 138,
    130, 112, 100,
];

/// Rides in an average hour, at most: more than any city has, and a day of them fits into memory.
const PER_HOUR_MAX: f64 = 100_000.0;

const HOUR_MS: f64 = 3_600_000.0;

/// How many centres a city has.
const CENTRES: usize = 6;

/// Places looked at for where a ride goes.
const GOALS: usize = 8;

/// A ride's length at which a goal is less likely by e, metres.
const GRAVITY_M: f64 = 3_000.0;

/// The shortest ride, metres as the crow flies.
const SHORTEST_M: f64 = 300.0;

/// A day of rides, `per_hour` of them in an average hour.
///
/// # Errors
/// A rate that is not 0 to 100,000, and a map without a street to stand on.
pub fn synthetic(roads: &Arc<RoadNetwork>, per_hour: f64, seed: u64) -> anyhow::Result<Demand> {
    ensure!(
        (0.0..=PER_HOUR_MAX).contains(&per_hour),
        "{per_hour} rides an hour are not 0 to {PER_HOUR_MAX}"
    );
    let streets = Streets::new(Arc::clone(roads), None)?;
    let mut chance = chance(seed, Purpose::Demand, 0);
    let city = Centres::new(&streets, &mut chance);
    let mut demand = Demand::default();
    for (hour, &share) in CURVE.iter().enumerate() {
        let rate = per_hour * f64::from(share) / 100.0;
        let mut at_ms = 0.0;
        loop {
            // Exponentially distributed pauses make a Poisson process.
            at_ms += -(1.0 - chance.random::<f64>()).ln() / rate * HOUR_MS;
            if at_ms.is_nan() || at_ms >= HOUR_MS {
                break;
            }
            let pickup = city.place(&mut chance);
            demand.rides.push(WantedRide {
                at_ms: (hour as f64 * HOUR_MS + at_ms) as i64,
                pickup,
                dropoff: city.goal(pickup, &mut chance),
            });
        }
    }
    Ok(demand)
}

struct Centres<'a> {
    streets: &'a Streets,
    middles: Vec<LatLon>,
    spread_m: f64,
}

impl<'a> Centres<'a> {
    fn new(streets: &'a Streets, chance: &mut ChaCha8Rng) -> Self {
        let area = streets.network().bounds();
        let across_m = area.south_west.distance_m(area.north_east);
        Self {
            middles: (0..CENTRES).map(|_| streets.place(chance).point).collect(),
            spread_m: across_m / 20.0,
            streets,
        }
    }

    /// Three in four places are around a centre, the first being the largest; the others anywhere.
    fn place(&self, chance: &mut ChaCha8Rng) -> LatLon {
        if chance.random_range(0..4) == 0 {
            return self.streets.place(chance).point;
        }
        // The smaller of two draws: low numbers are drawn more often.
        let centre = chance
            .random_range(0..CENTRES)
            .min(chance.random_range(0..CENTRES));
        let near = scatter(chance, self.middles[centre], self.spread_m);
        let on_road = self.streets.network().snap(near, f64::INFINITY);
        on_road.map_or(near, |snap| snap.point)
    }

    /// One of some places, near ones being more likely.
    fn goal(&self, from: LatLon, chance: &mut ChaCha8Rng) -> LatLon {
        let goals: Vec<(LatLon, f64)> = (0..GOALS)
            .map(|_| {
                let goal = self.place(chance);
                let distance_m = from.distance_m(goal);
                let weight = if distance_m < SHORTEST_M {
                    1e-9
                } else {
                    (-distance_m / GRAVITY_M).exp() + 1e-9
                };
                (goal, weight)
            })
            .collect();
        let total: f64 = goals.iter().map(|(_, weight)| weight).sum();
        let mut mark = chance.random::<f64>() * total;
        for &(goal, weight) in &goals {
            mark -= weight;
            if mark < 0.0 {
                return goal;
            }
        }
        goals[GOALS - 1].0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jitney_roads::testmap;

    use super::*;

    #[test]
    fn a_day_has_its_rate_and_its_curve() {
        let roads = Arc::new(testmap::grid(20, 20, 200.0));
        let day = synthetic(&roads, 100.0, 7).unwrap();
        assert_eq!(day, synthetic(&roads, 100.0, 7).unwrap());
        assert_ne!(day, synthetic(&roads, 100.0, 8).unwrap());
        assert!((2_200..2_600).contains(&day.rides.len()));
        let in_hour = |hour: i64| {
            let is_then = |ride: &&WantedRide| ride.at_ms / 3_600_000 == hour;
            day.rides.iter().filter(is_then).count()
        };
        assert!(in_hour(18) > 2 * in_hour(3));
        assert!(day.rides.windows(2).all(|two| two[0].at_ms <= two[1].at_ms));
        assert!(synthetic(&roads, 0.0, 7).unwrap().rides.is_empty());
        // Infinitely many would be drawn until the memory is full.
        for wrong in [f64::INFINITY, f64::NAN, -1.0, 1e12] {
            let error = synthetic(&roads, wrong, 7).unwrap_err();
            assert!(error.to_string().contains("rides an hour"), "{error}");
        }
    }
}
