//! A city under a virtual clock: real or made-up demand, drivers on the roads of a map, and the
//! matching service's own [`Dispatch`](jitney_matching::dispatch::Dispatch), without a server, a
//! database or a wait. A day takes seconds, and policies can be held against each other: the same
//! riders ask for the same rides at the same time, the same drivers begin at the same places and answer
//! the same offer in the same way.
//!
//! | to know | open |
//! | --- | --- |
//! | where demand comes from | [`demand`](Demand), [`synthetic`], [`Fit`] |
//! | what is the same for every policy | [`Scenario`] |
//! | how people behave | [`Habits`] |
//! | what happens, and how matching is driven | `city.rs`, `city/people.rs` |
//! | what is measured | [`Outcome`] |
//!
//! Everything follows from the seed: equal runs have equal `event_log_hash`es, on any number of threads.

mod agenda;
mod cab;
mod city;
mod demand;
mod fit;
mod fixes;
mod habits;
mod log;
mod outcome;
mod scenario;
mod synthetic;
mod table;
mod traffic;

#[cfg(test)]
mod tests;

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context, ensure};
use serde::Serialize;

use city::City;

pub use demand::{DAY_MS, Demand, Skipped, WantedRide};
pub use fit::Fit;
pub use habits::Habits;
pub use outcome::{Offers, Outcome, Pings, Rides, Rounds, Spans};
pub use scenario::{Origin, Recipe, Scenario};
pub use synthetic::synthetic;

/// Drivers of a city, at most: more than any has, and they fit into memory.
const DRIVERS_MAX: u32 = 1_000_000;

/// What is tried on a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Trials {
    /// Matching's settings.
    pub matching: jitney_matching::Config,
    /// The product everybody asks for; empty is the first.
    pub product: String,
    /// How people behave.
    pub habits: Habits,
    /// Names of dispatch policies.
    pub policies: Vec<String>,
    /// Sizes of the fleet.
    pub drivers: Vec<u32>,
}

impl Trials {
    /// Matching's settings with that policy in use, checked; and the habits with them.
    fn under(&self, policy: &str) -> anyhow::Result<jitney_matching::Config> {
        self.habits.check()?;
        let matching = jitney_matching::Config {
            policy: policy.to_owned(),
            ..self.matching.clone()
        };
        matching.check()?;
        Ok(matching)
    }
}

/// What came of all trials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of each seed: where its scenario comes from.
    pub scenarios: Vec<Origin>,
    /// How people behaved.
    pub habits: Habits,
    /// By fleet, then policy, then seed.
    pub outcomes: Vec<Outcome>,
}

/// Runs one policy with one fleet on a scenario.
///
/// # Errors
/// A policy of no such name, settings that cannot be, and broken rules: a ride that ends twice or
/// never, a driver with two riders.
pub fn run(
    scenario: &Scenario,
    trials: &Trials,
    policy: &str,
    drivers: u32,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    ensure!(
        drivers <= DRIVERS_MAX,
        "{drivers} drivers are more than {DRIVERS_MAX}"
    );
    let matching = trials.under(policy)?;
    let mut city = City::new(scenario, &trials.habits, matching, &trials.product, drivers)?;
    city.live()?;
    Ok(Outcome {
        policy: policy.to_owned(),
        drivers,
        seed: scenario.seed,
        wall_s: began.elapsed().as_secs_f64(),
        ..city.outcome()
    })
}

/// Runs every policy with every fleet on every scenario, `threads` of them side by side.
///
/// # Errors
/// As [`run`].
pub fn run_all(
    scenarios: &[Scenario],
    trials: &Trials,
    threads: NonZero<usize>,
) -> anyhow::Result<Report> {
    for policy in &trials.policies {
        trials.under(policy)?;
    }
    let mut runs = Vec::new();
    for &drivers in &trials.drivers {
        for policy in &trials.policies {
            runs.extend(scenarios.iter().map(|scenario| (scenario, policy, drivers)));
        }
    }
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<_>> = Mutex::new(runs.iter().map(|_| None).collect());
    // A run that has a thread to itself needs no others for its rounds.
    let inside = (threads.get() / runs.len().max(1)).max(1);
    let work = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(inside).build();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(scenario, policy, drivers)) = runs.get(number) else {
                return;
            };
            let live = || run(scenario, trials, policy, drivers);
            let outcome = match &pool {
                Ok(pool) => pool.install(live),
                Err(_) => live(),
            };
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes[number] = Some(outcome.with_context(|| {
                format!("{policy} with {drivers} drivers, seed {}", scenario.seed)
            }));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.get().min(runs.len()) {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let outcomes = outcomes.into_iter().flatten();
    Ok(Report {
        scenarios: scenarios
            .iter()
            .map(|scenario| scenario.origin.clone())
            .collect(),
        habits: trials.habits.clone(),
        outcomes: outcomes.collect::<anyhow::Result<_>>()?,
    })
}
