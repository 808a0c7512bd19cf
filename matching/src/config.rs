//! What an operator can set. Every field has a default that suits one city; unknown keys are refused.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use jitney_proto::ids::ProductId;
use jitney_roads::LatLon;
use serde::{Deserialize, Serialize};

use crate::{
    demand::DemandConfig,
    policy::{Policy, default_policies, read_policies},
    traffic::TrafficConfig,
};

/// Messages that wait in one stream, at most, whatever is configured; a queue of many more cannot be made.
const STREAM_QUEUE_MOST: usize = 1_000_000;

/// The settings of the matching service. Times are written as in `"15s"`, `"250ms"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The kinds of ride, in the order apps show them; the first is what a request without a product
    /// gets. At least one, at most 64, each id once.
    pub products: Vec<ProductConfig>,

    /// How far from the nearest road a point may lie, metres: pick-ups, route points and pings.
    pub snap_distance_max_m: f64,
    /// Points of one ComputeRoute, at most.
    pub route_points_max: usize,
    /// Rides that ended and whose way is kept for their fare, at most; the oldest are let go.
    pub metered_rides_max: usize,
    /// Drivers of one NearbyDrivers answer, at most.
    pub nearby_max: u32,

    /// How long a driver may think about an offer.
    #[serde(with = "humantime_serde")]
    pub offer_ttl: Duration,
    /// How long after its expiry an offer is still left alone, so that an acceptance of the last
    /// moment, on its way through the trip service, is not raced by an offer to the next driver.
    #[serde(with = "humantime_serde")]
    pub offer_grace: Duration,
    /// How long a driver found by MatchDriver stays set aside.
    #[serde(with = "humantime_serde")]
    pub reservation_ttl: Duration,
    /// How long the answer of a MatchDriver with an idempotency key is remembered.
    #[serde(with = "humantime_serde")]
    pub reservation_memory: Duration,
    /// Open reservations of one rider, at most, so that nobody sets the whole fleet aside; 0 means any
    /// number. Callers that are not riders are not limited.
    pub reservations_per_rider_max: usize,
    /// The dispatch policy that is used until an operator chooses another: one of `policies`.
    pub policy: String,
    /// The dispatch policies, by name. One that is named here changes the ready-made one of that name, or
    /// is a new one.
    #[serde(deserialize_with = "read_policies")]
    pub policies: BTreeMap<String, Policy>,
    /// Places where drivers queue: rides that begin in one go to whoever of the idle drivers there has
    /// been in it for longest, as at an airport. Drivers lose their place when they leave, end their
    /// shift or take a ride; everybody does when matching starts again, since the queues are kept in
    /// memory alone. While nobody queues there, rides go by the policy as elsewhere.
    pub zones: Vec<ZoneConfig>,
    /// What parties that share a car may cost each other.
    pub sharing: SharingConfig,
    /// By how much longer than the straight way a ride may be for a driver who takes only rides to a
    /// destination: to the pick-up, with the rider, and on to the destination.
    #[serde(with = "humantime_serde")]
    pub destination_detour_max: Duration,
    /// How long dispatch rounds are kept, to be explained and decided again.
    #[serde(with = "humantime_serde")]
    pub rounds_kept: Duration,
    /// Dispatch rounds kept, at most; the oldest are dropped first. Looked at every ten minutes.
    pub rounds_max: u32,
    /// Pairs of one ComputeMatrix, at most.
    pub matrix_pairs_max: usize,
    /// Map tiles kept after they were drawn, bytes of all together; 0 keeps none.
    pub tile_cache_bytes_max: usize,
    /// How soon a search that found no driver looks again, if nobody becomes free before. The pause grows
    /// with the waiting, up to ten times this.
    #[serde(with = "humantime_serde")]
    pub search_interval: Duration,
    /// How long a search outlives the stream of whoever asked for it, waiting to be taken over.
    #[serde(with = "humantime_serde")]
    pub search_linger: Duration,

    /// How long a driver may be silent before they are taken off shift.
    #[serde(with = "humantime_serde")]
    pub silence_max: Duration,
    /// How long a new driver connection may take to say hello.
    #[serde(with = "humantime_serde")]
    pub hello_max: Duration,
    /// Messages waiting to be written to one stream, at most. A client that falls further behind is
    /// disconnected, and may resume.
    pub stream_queue_max: usize,
    /// Unacknowledged messages kept for one driver, at most. One that never acknowledges has the
    /// session dropped, and starts afresh with what is open then.
    pub unacknowledged_max: usize,

    /// How far ahead of the server's clock a ping's time may be.
    #[serde(with = "humantime_serde")]
    pub ping_skew_max: Duration,
    /// How old a ping may be.
    #[serde(with = "humantime_serde")]
    pub ping_age_max: Duration,
    /// The speed above which a move is a jump, metres a second.
    pub ping_speed_max_mps: f64,
    /// How far two measurements of a parked car may lie apart, metres; a move is a jump only beyond
    /// this.
    pub ping_noise_m: f64,

    /// How long a rider sees the same alias for the same nearby driver.
    #[serde(with = "humantime_serde")]
    pub alias_period: Duration,
    /// How far a nearby driver's position is moved before a rider sees it, metres at most.
    pub blur_max_m: f64,

    /// Edge of the grid cells that the fleet is kept in, metres: 1 to 100,000. How far a cell is away is
    /// told by its column and row, which have to be counted.
    pub cell_m: f64,
    /// Road junctions that the search for the nearest drivers walks over before it changes its method.
    pub settle_budget: usize,

    /// Live traffic.
    pub traffic: TrafficConfig,
    /// The demand map.
    pub demand: DemandConfig,

    /// How often drivers' positions are written to the database.
    #[serde(with = "humantime_serde")]
    pub flush_interval: Duration,
    /// How long the last version of a trip is remembered after it was applied; longer than any event
    /// may be late.
    #[serde(with = "humantime_serde")]
    pub trip_memory: Duration,
}

/// A kind of ride.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductConfig {
    /// Its id, as in requests: letters, digits, '-', '_' and '.'.
    pub id: ProductId,
    /// Its name for people.
    pub title: String,
    /// How many riders fit.
    pub seats: u32,
    /// Riders may share the car with another party, within the bounds of `sharing`.
    #[serde(default)]
    pub shared: bool,
}

/// What parties that share a car may cost each other. Times are driving times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SharingConfig {
    /// By how much longer a party may be under way than alone, in percent of that.
    pub detour_percent: u32,
    /// However short the ride, it may become longer by this.
    #[serde(with = "humantime_serde")]
    pub detour_min: Duration,
    /// By how much a second party may delay the pick-up of the first.
    #[serde(with = "humantime_serde")]
    pub pickup_delay_max: Duration,
    /// Cars with a party that are looked at for one request, the nearest first, at most.
    pub cars_max: usize,
}

impl Default for SharingConfig {
    fn default() -> Self {
        Self {
            detour_percent: 40,
            detour_min: Duration::from_secs(180),
            pickup_delay_max: Duration::from_secs(240),
            cars_max: 32,
        }
    }
}

/// A round place where drivers queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Its name.
    pub id: String,
    /// Its middle, degrees north.
    pub latitude: f64,
    /// Its middle, degrees east.
    pub longitude: f64,
    /// How far it reaches, metres.
    pub radius_m: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            products: default_products(),
            snap_distance_max_m: 250.0,
            route_points_max: 12,
            metered_rides_max: 20_000,
            nearby_max: 100,
            offer_ttl: Duration::from_secs(15),
            offer_grace: Duration::from_secs(1),
            reservation_ttl: Duration::from_secs(20),
            reservation_memory: Duration::from_secs(600),
            reservations_per_rider_max: 3,
            policy: "immediate".to_owned(),
            policies: default_policies(),
            zones: Vec::new(),
            sharing: SharingConfig::default(),
            destination_detour_max: Duration::from_secs(600),
            rounds_kept: Duration::from_secs(86_400),
            rounds_max: 200_000,
            matrix_pairs_max: 250_000,
            tile_cache_bytes_max: 32 << 20,
            search_interval: Duration::from_secs(1),
            search_linger: Duration::from_secs(10),
            silence_max: Duration::from_secs(60),
            hello_max: Duration::from_secs(10),
            stream_queue_max: 256,
            unacknowledged_max: 128,
            ping_skew_max: Duration::from_secs(10),
            ping_age_max: Duration::from_secs(300),
            ping_speed_max_mps: 60.0,
            ping_noise_m: 50.0,
            alias_period: Duration::from_secs(300),
            blur_max_m: 50.0,
            cell_m: 300.0,
            settle_budget: 1_500,
            traffic: TrafficConfig::default(),
            demand: DemandConfig::default(),
            flush_interval: Duration::from_secs(1),
            trip_memory: Duration::from_secs(7 * 86_400),
        }
    }
}

fn default_products() -> Vec<ProductConfig> {
    [
        ("economy", "Economy", 4, false),
        ("comfort", "Comfort", 4, false),
        ("van", "Van", 6, false),
        ("shared", "Shared", 4, true),
    ]
    .into_iter()
    .filter_map(|(id, title, seats, shared)| {
        Some(ProductConfig {
            id: id.parse().ok()?,
            title: title.to_owned(),
            seats,
            shared,
        })
    })
    .collect()
}

/// A setting that cannot work; the text names the key.
#[derive(Debug, thiserror::Error)]
#[error("matching.{key}: {problem}")]
pub struct ConfigProblem {
    key: &'static str,
    problem: String,
}

impl Config {
    /// Looks for settings that contradict themselves, before anything is built on them.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(&self) -> Result<(), ConfigProblem> {
        let bad = |key, problem: &str| {
            Err(ConfigProblem {
                key,
                problem: problem.to_owned(),
            })
        };
        if self.products.is_empty() || self.products.len() > 64 {
            return bad("products", "1 to 64 products are needed");
        }
        for (place, product) in self.products.iter().enumerate() {
            if self.products[..place]
                .iter()
                .any(|other| other.id == product.id)
            {
                return bad("products", &format!("{} is there twice", product.id));
            }
            if product.seats == 0 {
                return bad("products", &format!("{} needs a seat", product.id));
            }
        }
        for (name, policy) in &self.policies {
            if let Err(problem) = policy.check() {
                return bad("policies", &format!("{name}: {problem}"));
            }
        }
        if !self.policies.contains_key(&self.policy) {
            let known: Vec<&str> = self.policies.keys().map(String::as_str).collect();
            let problem = format!("{:?} is none of {}", self.policy, known.join(", "));
            return bad("policy", &problem);
        }
        for (place, zone) in self.zones.iter().enumerate() {
            let is_place = LatLon::new(zone.latitude, zone.longitude).is_ok();
            if !is_place || !zone.radius_m.is_finite() || zone.radius_m <= 0.0 {
                let problem = format!("{} needs a place on Earth and a radius above 0", zone.id);
                return bad("zones", &problem);
            }
            if self.zones[..place].iter().any(|other| other.id == zone.id) {
                return bad("zones", &format!("{} is there twice", zone.id));
            }
        }
        if let Some((key, problem)) = self.demand.problem() {
            return bad(key, problem);
        }
        let lengths = [
            ("snap_distance_max_m", self.snap_distance_max_m),
            ("ping_speed_max_mps", self.ping_speed_max_mps),
        ];
        for (key, value) in lengths {
            if !(value.is_finite() && value > 0.0) {
                return bad(key, "must be above 0");
            }
        }
        if !(1.0..=100_000.0).contains(&self.cell_m) {
            return bad("cell_m", "must be 1 to 100000");
        }
        for (key, value) in [
            ("ping_noise_m", self.ping_noise_m),
            ("blur_max_m", self.blur_max_m),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return bad(key, "must not be below 0");
            }
        }
        let counts = [
            ("route_points_max", self.route_points_max, 2),
            ("nearby_max", self.nearby_max as usize, 1),
            // A welcome, what is open and the answer to the first pings must fit.
            ("stream_queue_max", self.stream_queue_max, 8),
            ("unacknowledged_max", self.unacknowledged_max, 4),
            ("sharing.cars_max", self.sharing.cars_max, 1),
        ];
        for (key, value, least) in counts {
            if value < least {
                return bad(key, &format!("must be at least {least}"));
            }
        }
        if self.stream_queue_max > STREAM_QUEUE_MOST {
            let problem = format!("must be at most {STREAM_QUEUE_MOST}");
            return bad("stream_queue_max", &problem);
        }
        let times = [
            ("offer_ttl", self.offer_ttl),
            ("reservation_ttl", self.reservation_ttl),
            ("search_interval", self.search_interval),
            ("silence_max", self.silence_max),
            ("alias_period", self.alias_period),
            ("flush_interval", self.flush_interval),
            ("traffic.interval", self.traffic.interval),
            ("traffic.half_life", self.traffic.half_life),
            ("traffic.save_interval", self.traffic.save_interval),
        ];
        for (key, value) in times {
            if value < Duration::from_millis(1) {
                return bad(key, "must be at least 1 ms");
            }
        }
        Ok(())
    }
}

/// A configured time as what is added to moments; an absurdly long one is a thousand years.
pub(crate) fn delta(time: Duration) -> TimeDelta {
    const LONGEST: TimeDelta = TimeDelta::days(365_000);
    TimeDelta::from_std(time).map_or(LONGEST, |delta| delta.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_survive_being_written_down() {
        let config = Config::default();
        config.check().unwrap();
        assert_eq!(config.products.len(), 4);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn a_policy_changes_what_it_names() {
        let text = r#"{"policy": "mine", "policies": {"batched": {"window": "5s"}, "mine": {"candidates": 3}}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        config.check().unwrap();
        let batched = Policy {
            window: Duration::from_secs(5),
            ..Policy::batched()
        };
        assert_eq!(config.policies["batched"], batched);
        assert_eq!(config.policies["immediate"], Policy::immediate());
        assert_eq!(config.policies["mine"].candidates, 3);
        let wrong = r#"{"policies": {"batched": {"windw": "5s"}}}"#;
        let error = serde_json::from_str::<Config>(wrong)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("batched") && error.contains("windw"),
            "{error}"
        );
    }

    #[test]
    fn unknown_keys_and_nonsense_are_refused_by_name() {
        let error = serde_json::from_str::<Config>(r#"{"offer_tll": "1s"}"#).unwrap_err();
        assert!(error.to_string().contains("offer_tll"));
        let mut config = Config::default();
        config.products.push(config.products[0].clone());
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("matching.products")
        );
        // Of the smallest there would be more than can be numbered, and the nearest were not the nearest.
        for cell_m in [f64::NAN, f64::INFINITY, 0.0, 1e-6, 1e6] {
            let config = Config {
                cell_m,
                ..Config::default()
            };
            assert!(config.check().unwrap_err().to_string().contains("cell_m"));
        }
        for stream_queue_max in [0, usize::MAX] {
            let config = Config {
                stream_queue_max,
                ..Config::default()
            };
            let problem = config.check().unwrap_err().to_string();
            assert!(problem.contains("stream_queue_max"), "{problem}");
        }
    }
}
