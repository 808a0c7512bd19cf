//! What a simulation is told: how large the city is, how its people behave, and when it ends.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use jitney_proto::{common::v1::Role, ids::is_name};
use serde::{Deserialize, Serialize};

/// The fastest a simulated driver ever moves over the ground, in metres a second, whatever the
/// roads and the time factor say. The server refuses positions that imply more than 60 m/s.
pub const GROUND_SPEED_MAX_MPS: f64 = 50.0;

/// The highest time factor. Positions are reported with the real clock, so a factor makes cars
/// faster; at 4 a street limited to 45 km/h is driven at [`GROUND_SPEED_MAX_MPS`].
pub const SPEED_MAX: f64 = 4.0;

/// The lowest time factor.
const SPEED_MIN: f64 = 0.01;

/// Gives the bearer token of a role's id. Asked again every few minutes and after a token was
/// refused, so a token should be valid for ten minutes or more.
#[derive(Clone)]
pub struct TokenSource(Arc<TokenFn>);

type TokenFn = dyn Fn(Role, &str) -> anyhow::Result<String> + Send + Sync;

impl TokenSource {
    /// A source that asks a function.
    pub fn new(
        token_of: impl Fn(Role, &str) -> anyhow::Result<String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(token_of))
    }

    /// The token of a role's id.
    ///
    /// # Errors
    /// Whatever the function answers.
    pub fn token(&self, role: Role, id: &str) -> anyhow::Result<String> {
        (self.0)(role, id)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

/// When no more rides are asked for. Rides under way are then driven to their end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// After this many requests.
    Requests(u64),
    /// After this much real time.
    Elapsed(#[serde(with = "humantime_serde")] Duration),
    /// Never: the city lives until it is stopped.
    Stopped,
}

/// How much of the demand is for one product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductShare {
    /// The product's id, one of those the service area names.
    pub product: String,
    /// Its weight against the other shares, 1 or more.
    pub share: u32,
}

/// A simulation. "Simulated" seconds pass `speed` times as fast as real ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the gateway is, for example `http://127.0.0.1:8080`. Plain HTTP only.
    pub gateway_url: String,
    /// Decides who asks for which ride after how long, and what every driver answers. The same seed
    /// on the same map with the same settings gives the same demand and the same decisions; how
    /// long calls take is not in it.
    pub seed: u64,
    /// How many drivers are on shift. Drivers beyond these who still have a ride of an earlier
    /// simulation come out as well, to drive it to its end.
    pub drivers: u32,
    /// How many rides are asked for in a simulated hour, on average (a Poisson process); 0 for none,
    /// which does not go with a number of requests to end after.
    pub riders_per_hour: f64,
    /// When no more rides are asked for.
    pub until: Until,
    /// How many simulated seconds pass in a real one, 0.01 to [`SPEED_MAX`]. Demand,
    /// pauses and driving all follow it, but no car is ever faster than [`GROUND_SPEED_MAX_MPS`].
    pub speed: f64,
    /// The products asked for; empty means all the service area names, the first of them twice as
    /// often as each of the others. Every driver serves the first of them and, taking turns, one of
    /// the others.
    pub products: Vec<ProductShare>,
    /// People stand, cruise and go to places no farther than this from the middle of the map, metres
    /// as the crow flies; absent means the whole map. Rides of others are driven wherever they go.
    pub radius_meters: Option<f64>,
    /// The shortest ride asked for, metres as the crow flies.
    pub trip_meters_min: f64,
    /// The longest ride asked for, metres as the crow flies.
    pub trip_meters_max: f64,
    /// How often a driver declines an offer, 0 to 1.
    pub decline_probability: f64,
    /// How often a driver lets an offer run out, 0 to 1; with `decline_probability` at most 1.
    pub ignore_probability: f64,
    /// How often a driver who took a ride gives it back on the way to the pick-up, 0 to 1.
    pub give_back_probability: f64,
    /// How often a rider calls the ride off some time before being on board, 0 to 1.
    pub cancel_probability: f64,
    /// The longest a driver thinks about an offer, simulated time.
    #[serde(with = "humantime_serde")]
    pub answer_time_max: Duration,
    /// The longest a rider takes to get on board once the driver is there, simulated time.
    #[serde(with = "humantime_serde")]
    pub boarding_time_max: Duration,
    /// The longest a rider who calls a ride off waits with that, simulated time.
    #[serde(with = "humantime_serde")]
    pub cancel_time_max: Duration,
    /// The longest a driver without a ride rests between two stretches of cruising, simulated time.
    #[serde(with = "humantime_serde")]
    pub rest_time_max: Duration,
    /// Real time between two position measurements of a driver.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How many measurements a driver sends at once, 1 to 100.
    pub pings_per_batch: u32,
    /// How long one call is repeated while the gateway cannot be reached or refuses for a while,
    /// real time. Long enough to outlive a restart of the server.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
    /// How long a driver waits at the kerb for a rider who does not show up, real time.
    #[serde(with = "humantime_serde")]
    pub kerb_patience: Duration,
    /// How long a receipt may take after the end of a ride before its absence is a violation, real
    /// time.
    #[serde(with = "humantime_serde")]
    pub receipt_patience: Duration,
    /// How long rides may take to end once no more are asked for, real time. Rides that have not
    /// ended by then are violations.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// How long to wait at the start for a gateway that is not there yet, real time.
    #[serde(with = "humantime_serde")]
    pub wait_for_gateway: Duration,
    /// True lets drivers also drive riders who are not simulated here, so that a person with an app
    /// gets to their goal: at the kerb the driver then looks the PIN up with a token of that rider.
    /// False, or where there is no such token, drivers wait for such riders in vain.
    pub drives_strangers: bool,
    /// What the ids of the simulated people begin with: `sim-` gives `sim-driver-1`, `sim-rider-1`.
    /// Two simulations of one deployment need different ones.
    pub name_prefix: String,
    /// True shows how it goes: live lines when standard error is a terminal, else one line every
    /// few seconds.
    pub progress: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gateway_url: "http://127.0.0.1:8080".to_owned(),
            seed: 1,
            drivers: 20,
            riders_per_hour: 240.0,
            until: Until::Requests(50),
            speed: 1.0,
            products: Vec::new(),
            radius_meters: None,
            trip_meters_min: 500.0,
            trip_meters_max: 3_000.0,
            decline_probability: 0.1,
            ignore_probability: 0.0,
            give_back_probability: 0.0,
            cancel_probability: 0.05,
            answer_time_max: Duration::from_secs(4),
            boarding_time_max: Duration::from_secs(20),
            cancel_time_max: Duration::from_secs(90),
            rest_time_max: Duration::from_secs(120),
            ping_interval: Duration::from_secs(1),
            pings_per_batch: 2,
            patience: Duration::from_secs(60),
            kerb_patience: Duration::from_secs(180),
            receipt_patience: Duration::from_secs(60),
            grace: Duration::from_secs(1_800),
            wait_for_gateway: Duration::ZERO,
            drives_strangers: true,
            name_prefix: "sim-".to_owned(),
            progress: true,
        }
    }
}

impl Config {
    /// The small city that is kept alive beside a development server: some drivers around the middle
    /// of the map, a ride every half minute, until it is stopped. Its people have other names than
    /// those of a default simulation, so that one may run beside it.
    pub fn forever(gateway_url: impl Into<String>, drivers: u32) -> Self {
        Self {
            gateway_url: gateway_url.into(),
            drivers,
            riders_per_hour: 120.0,
            until: Until::Stopped,
            radius_meters: Some(2_500.0),
            name_prefix: "city-".to_owned(),
            wait_for_gateway: Duration::from_secs(60),
            ..Self::default()
        }
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Names the first field that does not, and what it may be.
    pub fn check(&self) -> anyhow::Result<()> {
        let url = reqwest::Url::parse(&self.gateway_url)
            .with_context(|| format!("gateway_url {:?} is not a URL", self.gateway_url))?;
        ensure!(
            url.scheme() == "http" && url.has_host(),
            "gateway_url {:?} is not an http:// URL with a host",
            self.gateway_url
        );
        ensure!(
            is_name(&format!("{}rider-{}", self.name_prefix, u64::MAX)),
            "name_prefix {:?} does not begin an id: 1 to 30 letters, digits, '-', '_' or '.'",
            self.name_prefix
        );
        // Written so that NaN fails.
        ensure!(
            (SPEED_MIN..=SPEED_MAX).contains(&self.speed),
            "speed {} is not {SPEED_MIN} to {SPEED_MAX}: positions are reported with the real \
             clock, and faster cars would be refused as jumps",
            self.speed
        );
        ensure!(
            (0.0..=1e6).contains(&self.riders_per_hour),
            "riders_per_hour {} is not 0 to a million",
            self.riders_per_hour
        );
        ensure!(
            self.riders_per_hour > 0.0 || !matches!(self.until, Until::Requests(_)),
            "riders_per_hour 0 would never come to the requests to end after"
        );
        ensure!(
            self.radius_meters.is_none_or(|radius| radius > 0.0),
            "radius_meters is not above 0"
        );
        ensure!(
            self.trip_meters_min >= 0.0 && self.trip_meters_max > self.trip_meters_min,
            "trip_meters_max {} is not above trip_meters_min {}, which is 0 or more",
            self.trip_meters_max,
            self.trip_meters_min
        );
        for (name, probability) in [
            ("decline_probability", self.decline_probability),
            ("ignore_probability", self.ignore_probability),
            ("give_back_probability", self.give_back_probability),
            ("cancel_probability", self.cancel_probability),
        ] {
            ensure!(
                (0.0..=1.0).contains(&probability),
                "{name} {probability} is not 0 to 1"
            );
        }
        ensure!(
            self.decline_probability + self.ignore_probability <= 1.0,
            "decline_probability and ignore_probability are above 1 together"
        );
        ensure!(
            self.ping_interval >= Duration::from_millis(50),
            "ping_interval is not 50 ms or more"
        );
        ensure!(
            (1..=100).contains(&self.pings_per_batch),
            "pings_per_batch is not 1 to 100"
        );
        for ProductShare { product, share } in &self.products {
            ensure!(
                *share >= 1,
                "the share of product {product:?} is not 1 or more"
            );
        }
        Ok(())
    }

    /// A simulated span of time as real time.
    pub fn real(&self, simulated: Duration) -> Duration {
        simulated.div_f64(self.speed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        Config::default().check().unwrap();
        Config::forever("http://127.0.0.1:1", 3).check().unwrap();
    }

    #[test]
    fn nonsense_is_named() {
        let wrong = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(|c| c.speed = f64::NAN).contains("speed"));
        assert!(wrong(|c| c.speed = 60.0).contains("real clock"));
        assert!(wrong(|c| c.gateway_url = "https://x".into()).contains("http://"));
        assert!(wrong(|c| c.gateway_url = "localhost:1".into()).contains("gateway_url"));
        assert!(wrong(|c| c.cancel_probability = 1.1).contains("cancel_probability"));
        assert!(wrong(|c| c.name_prefix = "-".into()).contains("name_prefix"));
        assert!(wrong(|c| c.riders_per_hour = 0.0).contains("riders_per_hour"));
    }
}
