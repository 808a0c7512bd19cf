//! Where riders wait and where cars are free: the demand map, and what scarcity makes of a fare.
//!
//! The earth is cut into cells, rows of equal height and in each row columns of about equal width, the
//! same ones whatever the map. Every so often it is counted how many riders wait for a driver in each and
//! how many drivers are idle; what a cell shows is the mean of that over the last while, older counts
//! weighing less and less, so that one request does not move a price.
//!
//! Scarce is a place where more riders wait than drivers are idle within reach of it. How much that adds
//! is a straight line from there, up to a cap ([`SurgeConfig`]); the tariff may have a lower one.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jitney_roads::{BoundingBox, LatLon};
use serde::{Deserialize, Serialize};

/// Metres of a degree of a great circle.
const DEGREE_M: f64 = 111_195.0;
/// A mean below this is none: the cell is forgotten.
const FADED: f64 = 0.005;
/// A surge is a multiple of this, percent.
const SURGE_STEP: f64 = 5.0;

/// The demand map, as an operator sets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemandConfig {
    /// Edge of a cell, metres.
    pub cell_m: f64,
    /// How often is counted.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// After this time a count weighs half.
    #[serde(with = "humantime_serde")]
    pub half_life: Duration,
    /// What scarcity makes of a fare.
    pub surge: SurgeConfig,
}

/// What scarcity makes of a fare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SurgeConfig {
    /// What is added for each rider who waits per idle driver, beyond one, percent of the fare; 0: there
    /// is no surge.
    pub percent_per_rider: u32,
    /// Below so many waiting riders there is none.
    pub waiting_min: f64,
    /// How far around a pick-up is counted, metres.
    pub reach_m: f64,
    /// The most it makes of a fare, percent.
    pub percent_max: u32,
}

impl Default for DemandConfig {
    fn default() -> Self {
        Self {
            cell_m: 500.0,
            interval: Duration::from_secs(5),
            half_life: Duration::from_secs(120),
            surge: SurgeConfig::default(),
        }
    }
}

impl Default for SurgeConfig {
    fn default() -> Self {
        Self {
            percent_per_rider: 0,
            waiting_min: 3.0,
            reach_m: 1_500.0,
            percent_max: 200,
        }
    }
}

impl DemandConfig {
    /// What cannot work, by the name of the setting.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let is_length = |metres: f64| metres.is_finite() && metres >= 50.0;
        if !is_length(self.cell_m) {
            Some(("demand.cell_m", "must be at least 50"))
        } else if self.interval.is_zero() {
            Some(("demand.interval", "must be above 0"))
        } else if self.half_life.is_zero() {
            Some(("demand.half_life", "must be above 0"))
        } else if !is_length(self.surge.reach_m) || self.surge.reach_m > self.cell_m * 20.0 {
            Some(("demand.surge.reach_m", "must be from 50 to 20 cells"))
        } else if self.surge.percent_max < 100 {
            Some(("demand.surge.percent_max", "must be at least 100"))
        } else if !(self.surge.waiting_min.is_finite() && self.surge.waiting_min >= 0.0) {
            Some(("demand.surge.waiting_min", "must not be below 0"))
        } else {
            None
        }
    }
}

/// A cell: its row from the equator and its column from Greenwich.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    row: i32,
    column: i32,
}

/// How many there are in a cell, or were on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    /// Riders who wait for a driver.
    pub waiting: f64,
    /// Drivers who are idle.
    pub idle: f64,
}

/// A count of everybody at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Count(BTreeMap<Cell, Level>);

/// A cell of the map, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Where.
    pub area: BoundingBox,
    /// How many, on average of late.
    pub level: Level,
    /// What scarcity makes of the fare of a ride that begins in the middle of it, percent.
    pub surge_percent: u32,
}

/// The demand map.
#[derive(Clone, Debug)]
pub struct Demand {
    config: DemandConfig,
    levels: BTreeMap<Cell, Level>,
    counted_at: Option<DateTime<Utc>>,
}

impl Demand {
    /// Nobody was counted yet.
    pub fn new(config: DemandConfig) -> Self {
        Self {
            config,
            levels: BTreeMap::new(),
            counted_at: None,
        }
    }

    /// Whether it is time to count.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        let due = |at: DateTime<Utc>| at + crate::config::delta(self.config.interval) <= now;
        self.counted_at.is_none_or(due)
    }

    /// Counts riders who wait and drivers who are idle by their places.
    pub fn count(
        &self,
        waiting: impl Iterator<Item = LatLon>,
        idle: impl Iterator<Item = LatLon>,
    ) -> Count {
        let mut count = Count::default();
        for place in waiting {
            count.0.entry(self.cell(place)).or_default().waiting += 1.0;
        }
        for place in idle {
            count.0.entry(self.cell(place)).or_default().idle += 1.0;
        }
        count
    }

    /// Takes a count in.
    pub fn take(&mut self, count: &Count, now: DateTime<Utc>) {
        let passed = self
            .counted_at
            .map(|at| (now - at).num_milliseconds().max(0));
        // The first count is all that is known.
        let kept = passed.map_or(0.0, |passed_ms| {
            let half_lives = passed_ms as f64 / self.config.half_life.as_millis() as f64;
            0.5_f64.powf(half_lives)
        });
        self.counted_at = Some(now);
        for level in self.levels.values_mut() {
            level.waiting *= kept;
            level.idle *= kept;
        }
        for (&cell, counted) in &count.0 {
            let level = self.levels.entry(cell).or_default();
            level.waiting += counted.waiting * (1.0 - kept);
            level.idle += counted.idle * (1.0 - kept);
        }
        self.levels
            .retain(|_, level| level.waiting >= FADED || level.idle >= FADED);
    }

    /// The cell that a place lies in.
    pub fn at(&self, place: LatLon) -> Shown {
        self.shown(self.cell(place), self.surge_percent(place))
    }

    /// The cells with anybody in them, or those of them that touch an area, from the south-west.
    pub fn cells(&self, area: Option<BoundingBox>) -> Vec<Shown> {
        let touches = |cell: &Cell| {
            area.is_none_or(|area| {
                let own = self.area(*cell);
                own.south_west.lat() <= area.north_east.lat()
                    && own.north_east.lat() >= area.south_west.lat()
                    && own.south_west.lon() <= area.north_east.lon()
                    && own.north_east.lon() >= area.south_west.lon()
            })
        };
        let cells = self.levels.keys().filter(|cell| touches(cell));
        cells
            .map(|&cell| self.shown(cell, self.surge_percent(self.area(cell).centre())))
            .collect()
    }

    /// What scarcity makes of the fare of a ride that begins there, percent: 100 and more.
    pub fn surge_percent(&self, place: LatLon) -> u32 {
        let surge = &self.config.surge;
        if surge.percent_per_rider == 0 {
            return 100;
        }
        let Level { waiting, idle } = self.around(place, surge.reach_m);
        let riders = waiting / idle.max(1.0);
        if waiting < surge.waiting_min || riders <= 1.0 {
            return 100;
        }
        let added = (riders - 1.0) * f64::from(surge.percent_per_rider);
        let stepped = (added / SURGE_STEP).floor() * SURGE_STEP;
        let most = f64::from(surge.percent_max - 100);
        100 + stepped.min(most) as u32
    }

    /// Everybody in the cells whose middle is within reach of a place, and in its own.
    fn around(&self, place: LatLon, reach_m: f64) -> Level {
        let own = self.cell(place);
        let rows = (reach_m / self.config.cell_m).ceil() as i32;
        let mut sum = Level::default();
        let lowest = Cell {
            row: own.row - rows,
            column: i32::MIN,
        };
        let highest = Cell {
            row: own.row + rows,
            column: i32::MAX,
        };
        for (&cell, level) in self.levels.range(lowest..=highest) {
            if cell == own || self.area(cell).centre().distance_m(place) <= reach_m {
                sum.waiting += level.waiting;
                sum.idle += level.idle;
            }
        }
        sum
    }

    fn cell(&self, place: LatLon) -> Cell {
        let row = (place.lat() / self.row_degrees()).floor() as i32;
        let column = (place.lon() / self.column_degrees(row)).floor() as i32;
        Cell { row, column }
    }

    fn row_degrees(&self) -> f64 {
        self.config.cell_m / DEGREE_M
    }

    /// How wide the cells of a row are, by its middle; at the poles no wider than the earth is round.
    fn column_degrees(&self, row: i32) -> f64 {
        let middle = (f64::from(row) + 0.5) * self.row_degrees();
        let shrunk = middle.to_radians().cos().max(1e-3);
        (self.row_degrees() / shrunk).min(360.0)
    }

    fn area(&self, cell: Cell) -> BoundingBox {
        let (height, width) = (self.row_degrees(), self.column_degrees(cell.row));
        let corner = |row: i32, column: i32| {
            let latitude = (f64::from(row) * height).clamp(-90.0, 90.0);
            let longitude = (f64::from(column) * width).clamp(-180.0, 180.0);
            LatLon::new(latitude, longitude)
        };
        let south_west = corner(cell.row, cell.column);
        let north_east = corner(cell.row + 1, cell.column + 1);
        match (south_west, north_east) {
            (Ok(south_west), Ok(north_east)) => BoundingBox {
                south_west,
                north_east,
            },
            _ => unreachable!("degrees were clamped"),
        }
    }

    fn shown(&self, cell: Cell, surge_percent: u32) -> Shown {
        Shown {
            area: self.area(cell),
            level: self.levels.get(&cell).copied().unwrap_or_default(),
            surge_percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn demand(percent_per_rider: u32) -> Demand {
        Demand::new(DemandConfig {
            surge: SurgeConfig {
                percent_per_rider,
                ..SurgeConfig::default()
            },
            ..DemandConfig::default()
        })
    }

    /// A place so many metres north and east of Porto's station.
    fn place(north_m: f64, east_m: f64) -> LatLon {
        let latitude = 41.1496 + north_m / DEGREE_M;
        let longitude = -8.6110 + east_m / DEGREE_M / 41.15_f64.to_radians().cos();
        LatLon::new(latitude, longitude).unwrap()
    }

    fn crowd(place: LatLon, count: usize) -> impl Iterator<Item = LatLon> {
        std::iter::repeat_n(place, count)
    }

    fn counted(percent_per_rider: u32, waiting: usize, idle: usize) -> Demand {
        let mut demand = demand(percent_per_rider);
        let count = demand.count(
            crowd(place(0.0, 0.0), waiting),
            crowd(place(300.0, 900.0), idle),
        );
        demand.take(&count, NOW);
        demand
    }

    #[test]
    fn cells_are_squares_that_hold_their_places() {
        let demand = demand(0);
        for (latitude, longitude) in [
            (41.15, -8.61),
            (-33.9, 18.4),
            (0.0, 0.0),
            (69.6, 18.9),
            (-0.0001, 179.9999),
            (89.99, -180.0),
        ] {
            let place = LatLon::new(latitude, longitude).unwrap();
            let area = demand.at(place).area;
            assert!(area.contains(place), "{place:?} {area:?}");
            if latitude < 85.0 {
                let corner = LatLon::new(area.south_west.lat(), area.north_east.lon()).unwrap();
                let width_m = area.south_west.distance_m(corner);
                let height_m = corner.distance_m(area.north_east);
                assert!(
                    (width_m - 500.0).abs() < 5.0 || longitude > 179.0,
                    "{width_m}"
                );
                assert!((height_m - 500.0).abs() < 5.0, "{height_m}");
            }
        }
    }

    #[test]
    fn counts_fade_by_their_half_life() {
        let mut demand = counted(0, 8, 0);
        let waiting = |demand: &Demand| demand.at(place(0.0, 0.0)).level.waiting;
        assert_eq!(
            waiting(&demand),
            8.0,
            "the first count is all that is known"
        );
        demand.take(&Count::default(), NOW + TimeDelta::seconds(120));
        assert_eq!(waiting(&demand), 4.0);
        let four = demand.count(crowd(place(0.0, 0.0), 4), std::iter::empty());
        demand.take(&four, NOW + TimeDelta::seconds(150));
        assert!(
            (waiting(&demand) - 4.0).abs() < 1e-9,
            "{}",
            waiting(&demand)
        );
        assert!(!demand.is_due(NOW + TimeDelta::seconds(154)));
        assert!(demand.is_due(NOW + TimeDelta::seconds(155)));
        demand.take(&Count::default(), NOW + TimeDelta::hours(1));
        assert_eq!(demand.cells(None), [], "nobody was there for long");
    }

    #[test]
    fn scarcity_is_more_waiting_than_idle() {
        let surge = |waiting, idle| counted(40, waiting, idle).surge_percent(place(0.0, 0.0));
        assert_eq!(surge(0, 0), 100);
        assert_eq!(surge(2, 0), 100, "too few to tell");
        assert_eq!(surge(10, 10), 100);
        assert_eq!(surge(10, 20), 100);
        assert_eq!(surge(15, 10), 120, "half a rider more than one a driver");
        assert_eq!(surge(16, 10), 120, "in steps of 5: 24 % are 20");
        assert_eq!(surge(4, 0), 200, "capped: 3 × 40 %");
        assert_eq!(surge(100, 1), 200);
        assert_eq!(
            counted(0, 100, 1).surge_percent(place(0.0, 0.0)),
            100,
            "switched off"
        );
    }

    #[test]
    fn only_those_within_reach_count() {
        let demand = counted(40, 8, 4);
        assert_eq!(demand.surge_percent(place(0.0, 0.0)), 140);
        assert_eq!(demand.surge_percent(place(2_500.0, 0.0)), 100);
        // The drivers, 300 m north and 900 m east, are out of reach from 1 km west of the riders.
        assert_eq!(demand.surge_percent(place(0.0, -1_000.0)), 200);
    }

    #[test]
    fn the_map_shows_who_is_in_an_area() {
        let demand = counted(40, 8, 4);
        let cells = demand.cells(None);
        let levels: Vec<_> = cells.iter().map(|cell| cell.level).collect();
        assert_eq!(cells.len(), 2, "{cells:?}");
        assert!(
            levels.contains(&Level {
                waiting: 8.0,
                idle: 0.0
            }),
            "{levels:?}"
        );
        assert!(
            levels.contains(&Level {
                waiting: 0.0,
                idle: 4.0
            }),
            "{levels:?}"
        );
        let around = |north_m, east_m| BoundingBox {
            south_west: place(north_m - 10.0, east_m - 10.0),
            north_east: place(north_m + 10.0, east_m + 10.0),
        };
        let riders = demand.cells(Some(around(0.0, 0.0)));
        assert!(
            riders.iter().any(|cell| cell.level.waiting == 8.0),
            "{riders:?}"
        );
        assert_eq!(demand.cells(Some(around(9_000.0, 0.0))), []);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let named = |change: fn(&mut DemandConfig)| {
            let mut config = DemandConfig::default();
            change(&mut config);
            config.problem().map(|(name, _)| name)
        };
        assert_eq!(named(|_| {}), None);
        assert_eq!(
            named(|config| config.cell_m = f64::NAN),
            Some("demand.cell_m")
        );
        assert_eq!(
            named(|config| config.interval = Duration::ZERO),
            Some("demand.interval")
        );
        assert_eq!(
            named(|config| config.half_life = Duration::ZERO),
            Some("demand.half_life")
        );
        assert_eq!(
            named(|config| config.surge.reach_m = 1e6),
            Some("demand.surge.reach_m")
        );
        assert_eq!(
            named(|config| config.surge.percent_max = 99),
            Some("demand.surge.percent_max")
        );
        assert_eq!(
            named(|config| config.surge.waiting_min = -1.0),
            Some("demand.surge.waiting_min")
        );
    }
}
