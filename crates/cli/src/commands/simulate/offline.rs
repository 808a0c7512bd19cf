//! `jitney simulate --offline`: a city under a virtual clock, for holding policies against each other.

use std::{num::NonZero, path::PathBuf, process::ExitCode, sync::Arc, thread};

use anyhow::Context;
use jitney_sim::offline::{self, DAY_MS, Demand, Habits, Recipe, Scenario, Trials};

use super::Output;
use crate::{Config, program};

/// See `--threads`.
const THREADS_MAX: usize = 256;

/// Arguments that go with `--offline`.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Under a virtual clock")]
#[group(id = "offline_args")]
pub struct Args {
    /// Simulate the city with the matching code itself under a virtual clock: no server, no waiting.
    #[arg(long, conflicts_with_all = ["url", "requests", "minutes", "prefix", "speed"])]
    pub offline: bool,
    /// Rides that people wanted: a CSV file, packed with gzip or not; without it, made-up ones.
    #[arg(long, requires = "offline")]
    demand: Option<PathBuf>,
    /// The middles of the zones that the demand's rides are between.
    #[arg(long, requires = "demand")]
    zones: Option<PathBuf>,
    /// Hours that the demand's clocks are ahead of UTC, where its times are in seconds since 1970, or
    /// hours after midnight when its seconds begin to count.
    #[arg(
        long,
        requires = "demand",
        value_parser = hours,
        default_value = "0",
        allow_negative_numbers = true
    )]
    utc_offset: f64,
    /// Shift and scale the demand into the map.
    #[arg(long, requires = "demand")]
    fit: bool,
    /// How much of the map's width or height fitted demand fills, 0 to 1.
    #[arg(long, requires = "fit", default_value_t = 0.5)]
    fit_share: f64,
    /// Rides from this time of day on, as in 17:00.
    #[arg(long, requires = "offline", value_parser = time_of_day, default_value = "00:00")]
    from: i64,
    /// Rides up to this time of day; before --from, it is on the next day.
    #[arg(long, requires = "offline", value_parser = time_of_day, default_value = "24:00")]
    to: i64,
    /// Below 1 the share of the demand's rides that is kept, above 1 how often each is asked for.
    #[arg(long, requires = "offline", default_value_t = 1.0)]
    scale: f64,
    /// The dispatch policy; without it, the one of the configuration.
    #[arg(long, requires = "offline", conflicts_with = "compare")]
    policy: Option<String>,
    /// Dispatch policies to hold against the first of them, for the same people.
    #[arg(long, requires = "offline", value_delimiter = ',')]
    compare: Vec<String>,
    /// The product everybody asks for; without it, the first one.
    #[arg(long, requires = "offline", default_value = "")]
    product: String,
    /// Whether roads are slower when the day is busy; without it, when there is more than an hour.
    #[arg(long, requires = "offline", num_args = 0..=1, default_missing_value = "true")]
    traffic_by_hour: Option<bool>,
    /// Runs side by side, at most 256; without it, one for each processor.
    #[arg(long, requires = "offline", value_parser = threads)]
    threads: Option<NonZero<usize>>,
}

/// What the two ways of simulating have in common.
pub struct Shared {
    /// One scenario for each.
    pub seeds: Vec<u64>,
    /// One fleet for each.
    pub drivers: Vec<u32>,
    pub rides_per_hour: f64,
    pub declines: Option<f64>,
    pub cancels: Option<f64>,
    pub output: Output,
}

/// Runs everything to its end.
pub fn run(args: &Args, shared: Shared, config: &Config) -> anyhow::Result<ExitCode> {
    let roads = Arc::new(program::open_roads(config)?);
    let mut habits = Habits {
        search_timeout: config.trips.search_timeout,
        ..Habits::default()
    };
    habits.decline_probability = shared.declines.unwrap_or(habits.decline_probability);
    habits.cancel_probability = shared.cancels.unwrap_or(habits.cancel_probability);
    habits.check()?;
    let read = |path: &PathBuf| {
        let utc_offset_s = (args.utc_offset * 3600.0).round() as i64;
        Demand::read(path, args.zones.as_deref(), utc_offset_s)
    };
    let real = args.demand.as_ref().map(read).transpose()?;
    let hours_ms = (args.to - args.from).rem_euclid(DAY_MS);
    let is_long = hours_ms == 0 || hours_ms > 3_600_000;
    let scenario = |&seed: &u64| {
        let made_up;
        let demand = match &real {
            Some(demand) => demand,
            None => {
                made_up = offline::synthetic(&roads, shared.rides_per_hour, seed)?;
                &made_up
            }
        };
        let recipe = Recipe {
            from_ms: args.from,
            to_ms: args.to,
            scale: args.scale,
            fit_share: args.fit.then_some(args.fit_share),
            traffic: args.traffic_by_hour.unwrap_or(is_long),
            snap_distance_max_m: config.matching.snap_distance_max_m,
            seed,
        };
        Scenario::new(Arc::clone(&roads), demand, &recipe)
    };
    let scenarios: Vec<Scenario> = shared
        .seeds
        .iter()
        .map(scenario)
        .collect::<anyhow::Result<_>>()?;
    let mut policies = args.compare.clone();
    if policies.is_empty() {
        let policy = args.policy.as_ref().unwrap_or(&config.matching.policy);
        policies.push(policy.clone());
    }
    let trials = Trials {
        matching: config.matching.clone(),
        product: args.product.clone(),
        habits,
        policies,
        drivers: shared.drivers,
    };
    let threads = args
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZero::<usize>::MIN);
    let report = offline::run_all(&scenarios, &trials, threads)?;
    shared.output.write(&report)?;
    Ok(ExitCode::SUCCESS)
}

/// Hours of a day, on either side of midnight.
fn hours(text: &str) -> anyhow::Result<f64> {
    let hours = text.parse().ok();
    hours
        .filter(|hours| (-24.0..=24.0).contains(hours))
        .with_context(|| format!("{text:?} is not -24 to 24 hours"))
}

/// A number of threads that a machine may have.
fn threads(text: &str) -> anyhow::Result<NonZero<usize>> {
    let threads = text.parse().ok().and_then(NonZero::<usize>::new);
    threads
        .filter(|threads| threads.get() <= THREADS_MAX)
        .with_context(|| format!("{text:?} is not 1 to {THREADS_MAX} threads"))
}

/// A time of day, `HH:MM` up to `24:00`, in milliseconds after midnight.
fn time_of_day(text: &str) -> anyhow::Result<i64> {
    let parse = || {
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str| {
            let is_plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            is_plain.then(|| digits.parse::<i64>().ok())?
        };
        let (hour, minute) = (number(hour)?, number(minute)?);
        let at_ms = (hour * 60 + minute) * 60_000;
        (minute < 60 && at_ms <= DAY_MS).then_some(at_ms)
    };
    parse().with_context(|| format!("{text:?} is not a time of day such as 17:30"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read_strictly() {
        assert_eq!(time_of_day("17:30").unwrap(), (17 * 60 + 30) * 60_000);
        assert_eq!(time_of_day("24:00").unwrap(), DAY_MS);
        for bad in ["24:01", "7:30", "17", "17:60", "+1:00", "aa:bb", ""] {
            time_of_day(bad).unwrap_err();
        }
    }

    #[test]
    fn hours_and_threads_are_numbers_that_can_be() {
        assert_eq!(hours("-7").unwrap(), -7.0);
        assert_eq!(hours("17.5").unwrap(), 17.5);
        for bad in ["NaN", "inf", "1e300", "24.1", "seven", ""] {
            hours(bad).unwrap_err();
        }
        assert_eq!(threads("2").unwrap().get(), 2);
        for bad in ["0", "257", "100000", "-1", "two"] {
            threads(bad).unwrap_err();
        }
    }
}
