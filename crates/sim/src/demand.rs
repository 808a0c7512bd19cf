//! Who asks for which ride, after how long, and how they will behave: all of it from the seed.

use std::{sync::Arc, time::Duration};

use jitney_roads::Snap;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{
    chance::{Purpose, chance, happens, span},
    config::{Config, ProductShare},
    streets::Streets,
};

/// The longest pause between two requests: thirty years.
const PAUSE_MAX_MS: f64 = 30.0 * 365.0 * 86_400_000.0;

/// One ride somebody will ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// Counts from 1.
    pub number: u64,
    /// Real time after the request before.
    pub after: Duration,
    pub pickup: Snap,
    pub dropoff: Snap,
    pub product: String,
    /// Real time after which the rider calls the ride off if they are not on board by then.
    pub cancel_after: Option<Duration>,
}

/// The demand of a city, without end.
pub(crate) struct Demand {
    chance: ChaCha8Rng,
    config: Config,
    streets: Arc<Streets>,
    products: Vec<ProductShare>,
    number: u64,
}

impl Demand {
    /// `products` are the ones to ask for; there must be at least one.
    pub fn new(config: Config, streets: Arc<Streets>, products: Vec<ProductShare>) -> Self {
        let chance = chance(config.seed, Purpose::Demand, 0);
        Self {
            chance,
            config,
            streets,
            products,
            number: 0,
        }
    }

    /// Exponentially distributed spans make a Poisson process.
    fn pause(&mut self) -> Duration {
        // Above 0, so that its logarithm is finite.
        let share = 1.0 - self.chance.random::<f64>();
        let hours = -share.ln() / self.config.riders_per_hour;
        // A rate of nothing makes this infinite, which becomes a pause nobody lives to see the end of.
        let simulated_ms = (hours * 3_600_000.0).round().min(PAUSE_MAX_MS);
        self.config.real(Duration::from_millis(simulated_ms as u64))
    }

    /// Two places as far apart as rides are; on a map too small or too large for that, the pair that
    /// came nearest to it.
    fn places(&mut self) -> (Snap, Snap) {
        let (min_m, max_m) = (self.config.trip_meters_min, self.config.trip_meters_max);
        let pickup = self.streets.place(&mut self.chance);
        let mut best: Option<(f64, Snap)> = None;
        for _ in 0..200 {
            let dropoff = self.streets.place(&mut self.chance);
            let distance_m = pickup.point.distance_m(dropoff.point);
            let miss_m = (min_m - distance_m).max(distance_m - max_m).max(0.0);
            if best.is_none_or(|(best_m, _)| miss_m < best_m) {
                best = Some((miss_m, dropoff));
            }
            if miss_m == 0.0 {
                break;
            }
        }
        (pickup, best.map_or(pickup, |(_, dropoff)| dropoff))
    }

    fn product(&mut self) -> String {
        let total: u64 = self
            .products
            .iter()
            .map(|share| u64::from(share.share))
            .sum();
        let mut mark = self.chance.random_range(0..total.max(1));
        for ProductShare { product, share } in &self.products {
            match mark.checked_sub(u64::from(*share)) {
                Some(rest) => mark = rest,
                None => return product.clone(),
            }
        }
        String::new()
    }
}

impl Iterator for Demand {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.number += 1;
        let after = self.pause();
        let (pickup, dropoff) = self.places();
        let product = self.product();
        let calls_off = happens(&mut self.chance, self.config.cancel_probability);
        let cancel_after = span(&mut self.chance, self.config.cancel_time_max);
        let cancel_after = calls_off.then(|| self.config.real(cancel_after));
        Some(Request {
            number: self.number,
            after,
            pickup,
            dropoff,
            product,
            cancel_after,
        })
    }
}
