//! What is the same for every policy and fleet: the roads hour by hour, and who asks for which ride
//! when.

use std::sync::Arc;

use anyhow::{Context, ensure};
use jitney_roads::{LatLon, PairSearch, RoadNetwork, Snap};
use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use crate::chance::{Purpose, chance, happens};

use super::{
    demand::{DAY_MS, Demand, Skipped, WantedRide},
    fit::{Fit, scatter},
    traffic::Traffic,
};

/// How far a copy of a ride lies from it, when demand is multiplied: metres, one standard deviation.
const COPY_SPREAD_M: f64 = 150.0;

/// How much earlier or later a copy is asked for, at most, milliseconds.
const COPY_SHIFT_MS: i64 = 600_000;

/// Rides of a scenario, at most: what fits into memory.
const RIDES_MAX: f64 = 5_000_000.0;

/// How a scenario is made of demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Rides from this time of day on, milliseconds after midnight.
    pub from_ms: i64,
    /// Up to this, not included; a time before `from_ms` is on the next day.
    pub to_ms: i64,
    /// Below 1 the share of rides that is kept, above 1 how often each ride is asked for.
    pub scale: f64,
    /// Moves the demand into the map, so that its box fills this share of the map's; see [`Fit`].
    pub fit_share: Option<f64>,
    /// Whether roads are slower when the day is busy.
    pub traffic: bool,
    /// How far from a road a place may lie, metres.
    pub snap_distance_max_m: f64,
    /// Decides which rides are kept and where copies begin.
    pub seed: u64,
}

/// Where a scenario comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// The map's name.
    pub map: String,
    /// Rides that the demand held.
    pub rides: u64,
    /// Rows of the file that were skipped, by reason.
    pub skipped: Skipped,
    /// Rides that were left out, by reason.
    pub left_out: Skipped,
    /// How the demand was moved, if it was.
    pub fit: Option<Fit>,
    /// The first moment, milliseconds after midnight.
    pub from_ms: i64,
    /// The last, not included.
    pub to_ms: i64,
    /// Whether traffic changes by the hour.
    pub traffic: bool,
}

/// A request for a ride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    /// Milliseconds after midnight.
    pub at_ms: i64,
    pub pickup: Snap,
    pub dropoff: Snap,
}

/// A city's roads and requests.
pub struct Scenario {
    pub(crate) roads: Arc<RoadNetwork>,
    pub(crate) traffic: Traffic,
    /// In the order of time; at least one.
    pub(crate) requests: Vec<Request>,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) seed: u64,
    /// Where it comes from.
    pub origin: Origin,
}

impl Scenario {
    /// Puts a scenario together.
    ///
    /// # Errors
    /// A recipe that cannot be, and demand of which nothing is left.
    pub fn new(roads: Arc<RoadNetwork>, demand: &Demand, recipe: &Recipe) -> anyhow::Result<Self> {
        let Recipe {
            from_ms,
            mut to_ms,
            scale,
            seed,
            ..
        } = *recipe;
        ensure!(
            (0..DAY_MS).contains(&from_ms) && (0..=DAY_MS).contains(&to_ms),
            "the window is not within a day"
        );
        ensure!(
            scale > 0.0 && scale <= 1000.0,
            "scale {scale} is not above 0 and up to 1000"
        );
        ensure!(
            demand.rides.len() as f64 * scale <= RIDES_MAX,
            "{} rides {scale} times are more than {RIDES_MAX}",
            demand.rides.len()
        );
        if to_ms <= from_ms {
            to_ms += DAY_MS;
        }
        let fit = recipe
            .fit_share
            .map(|share| fit(&roads, demand, share))
            .transpose()?;
        let mut left_out = Skipped::default();
        let mut rides = Vec::new();
        for (number, ride) in (0..).zip(&demand.rides) {
            let mut ride = *ride;
            if ride.at_ms < from_ms {
                ride.at_ms += DAY_MS;
            }
            if (from_ms..to_ms).contains(&ride.at_ms) {
                copies(&ride, scale, seed, number, &mut rides);
            } else {
                left_out.count("outside the hours");
            }
        }
        // Copies may have been moved out.
        rides.retain(|ride| (from_ms..to_ms).contains(&ride.at_ms));
        rides.sort_by_key(|ride| ride.at_ms);
        let max_m = recipe.snap_distance_max_m;
        let mut requests = Vec::new();
        for placed in placed(&roads, &rides, fit.as_ref(), max_m) {
            match placed {
                Ok(request) => requests.push(request),
                Err(reason) => left_out.count(reason),
            }
        }
        ensure!(
            !requests.is_empty(),
            "no ride of the demand is on the map {:?} in these hours ({left_out:?}); \
             demand of another city needs --fit",
            roads.name()
        );
        let traffic = if recipe.traffic {
            Traffic::by_hour(&roads, from_ms, to_ms)?
        } else {
            Traffic::free(&roads)
        };
        Ok(Self {
            origin: Origin {
                map: roads.name().to_owned(),
                rides: demand.rides.len() as u64,
                skipped: demand.skipped.clone(),
                left_out,
                fit,
                from_ms,
                to_ms,
                traffic: recipe.traffic,
            },
            roads,
            traffic,
            requests,
            from_ms,
            to_ms,
            seed,
        })
    }

    /// How many rides are asked for.
    pub fn request_count(&self) -> usize {
        self.requests.len()
    }
}

fn fit(roads: &RoadNetwork, demand: &Demand, share: f64) -> anyhow::Result<Fit> {
    ensure!(
        share > 0.0 && share <= 1.0,
        "the share of the map to fill, {share}, is not above 0 and up to 1"
    );
    let places: Vec<LatLon> = demand
        .rides
        .iter()
        .flat_map(|ride| [ride.pickup, ride.dropoff])
        .collect();
    Fit::onto(roads, &places, share).context("the demand has no extent that could be fitted")
}

/// Adds the ride as often as the scale says; the first time as it is, then a little elsewhere.
fn copies(ride: &WantedRide, scale: f64, seed: u64, number: u64, into: &mut Vec<WantedRide>) {
    let mut chance = chance(seed, Purpose::Copies, number);
    let often = scale.floor() as u64 + u64::from(happens(&mut chance, scale.fract()));
    for copy in 0..often {
        if copy == 0 {
            into.push(*ride);
            continue;
        }
        let shift_ms = chance.random_range(-COPY_SHIFT_MS..=COPY_SHIFT_MS);
        into.push(WantedRide {
            at_ms: ride.at_ms + shift_ms,
            pickup: scatter(&mut chance, ride.pickup, COPY_SPREAD_M),
            dropoff: scatter(&mut chance, ride.dropoff, COPY_SPREAD_M),
        });
    }
}

/// The rides on the roads, or why they cannot be there.
fn placed(
    roads: &Arc<RoadNetwork>,
    rides: &[WantedRide],
    fit: Option<&Fit>,
    max_m: f64,
) -> Vec<Result<Request, &'static str>> {
    let snap = |place: LatLon| {
        let place = match fit {
            Some(fit) => fit.apply(place)?,
            None => place,
        };
        roads.snap(place, max_m).ok()
    };
    let searches = || PairSearch::new((**roads).clone());
    let place = |search: &mut PairSearch, ride: &WantedRide| {
        let pickup = snap(ride.pickup).ok_or("pick-up off the map")?;
        let dropoff = snap(ride.dropoff).ok_or("drop-off off the map")?;
        search
            .time_ms(&pickup, &dropoff)
            .ok_or("no way from pick-up to drop-off")?;
        Ok(Request {
            at_ms: ride.at_ms,
            pickup,
            dropoff,
        })
    };
    rides.par_iter().map_init(searches, place).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jitney_roads::testmap;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn recipe() -> Recipe {
        Recipe {
            from_ms: 0,
            to_ms: DAY_MS,
            scale: 1.0,
            fit_share: None,
            traffic: false,
            snap_distance_max_m: 250.0,
            seed: 3,
        }
    }

    /// A ride at each full minute of the day, between places of the map.
    fn demand(roads: &RoadNetwork) -> Demand {
        let places = testmap::random_snaps(roads, 5, 2 * 1440);
        let rides = places.chunks(2).zip(0..).map(|(two, minute)| WantedRide {
            at_ms: minute * 60_000,
            pickup: two[0].point,
            dropoff: two[1].point,
        });
        Demand {
            rides: rides.collect(),
            skipped: Skipped::default(),
        }
    }

    #[test]
    fn hours_scale_and_seed_choose_the_rides() {
        let roads = Arc::new(testmap::grid(8, 8, 200.0));
        let demand = demand(&roads);
        let with = |change: fn(&mut Recipe)| {
            let mut recipe = recipe();
            change(&mut recipe);
            Scenario::new(Arc::clone(&roads), &demand, &recipe).unwrap()
        };
        assert_eq!(with(|_| {}).request_count(), 1440);
        let evening = with(|recipe| (recipe.from_ms, recipe.to_ms) = (17 * HOUR_MS, 20 * HOUR_MS));
        assert_eq!(evening.request_count(), 180);
        assert_eq!(evening.origin.left_out.0["outside the hours"], 1260);
        let night = with(|recipe| (recipe.from_ms, recipe.to_ms) = (23 * HOUR_MS, HOUR_MS));
        assert_eq!(night.request_count(), 120);
        assert_eq!(night.requests[119].at_ms, DAY_MS + 59 * 60_000);
        let thin = with(|recipe| recipe.scale = 0.25);
        assert!((280..440).contains(&thin.request_count()));
        assert_ne!(
            thin.requests,
            with(|recipe| (recipe.scale, recipe.seed) = (0.25, 4)).requests
        );
        let thick = with(|recipe| recipe.scale = 2.5);
        assert!((3_400..3_800).contains(&thick.request_count()));
        let is_in_order = |two: &[Request]| two[0].at_ms <= two[1].at_ms;
        assert!(thick.requests.windows(2).all(is_in_order));
        let many = Demand {
            rides: vec![demand.rides[0]; 6_000],
            ..demand
        };
        let recipe = Recipe {
            scale: 1000.0,
            ..recipe()
        };
        let error = Scenario::new(roads, &many, &recipe).err().unwrap();
        assert!(error.to_string().contains("6000 rides"), "{error}");
    }

    #[test]
    fn demand_of_another_city_is_counted_out_or_fitted() {
        let roads = Arc::new(testmap::grid(8, 8, 200.0));
        let mut demand = demand(&roads);
        for ride in &mut demand.rides {
            let moved = |place: LatLon| {
                LatLon::new(
                    37.0 + place.lat() * 20.0 % 5.0,
                    -120.0 + place.lon() * 9.0 % 5.0,
                )
            };
            (ride.pickup, ride.dropoff) =
                (moved(ride.pickup).unwrap(), moved(ride.dropoff).unwrap());
        }
        let roads = || Arc::clone(&roads);
        let error = Scenario::new(roads(), &demand, &recipe()).err().unwrap();
        assert!(error.to_string().contains("--fit"), "{error}");
        let fitted = Recipe {
            fit_share: Some(0.8),
            ..recipe()
        };
        let scenario = Scenario::new(roads(), &demand, &fitted).unwrap();
        assert!(scenario.request_count() > 1_300);
        assert!(scenario.origin.fit.is_some());
    }
}
