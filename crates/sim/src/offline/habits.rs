//! How drivers and riders behave: drawn from the seed for each of them, so that they do the same
//! whatever policy they live under.

use std::time::Duration;

use anyhow::ensure;
use rand::RngExt;
use serde::Serialize;

use crate::chance::{Purpose, chance, happens, span};

/// How people behave, on average. All of it virtual time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Habits {
    /// How often a driver declines an offer, 0 to 1.
    pub decline_probability: f64,
    /// How often a driver lets an offer run out, 0 to 1; with the one before at most 1.
    pub ignore_probability: f64,
    /// The shortest and the longest time a driver thinks about an offer.
    #[serde(with = "humantime_serde")]
    pub answer_time_min: Duration,
    /// See above.
    #[serde(with = "humantime_serde")]
    pub answer_time_max: Duration,
    /// How long every rider waits for a driver to be found; the mean of all is `patience_mean`, what is
    /// above this is exponentially distributed.
    #[serde(with = "humantime_serde")]
    pub patience_min: Duration,
    /// See above.
    #[serde(with = "humantime_serde")]
    pub patience_mean: Duration,
    /// How long matching looks for a driver.
    #[serde(with = "humantime_serde")]
    pub search_timeout: Duration,
    /// How often a rider who has a driver calls the ride off before the car is there, 0 to 1.
    pub cancel_probability: f64,
    /// The longest such a rider takes for that. Whose car is there sooner goes with it.
    #[serde(with = "humantime_serde")]
    pub cancel_time_max: Duration,
    /// How long it takes to get in.
    #[serde(with = "humantime_serde")]
    pub boarding_time: Duration,
    /// How many drivers make a break in the hours, 0 to 1.
    pub break_share: f64,
    /// The longest break.
    #[serde(with = "humantime_serde")]
    pub break_max: Duration,
    /// How often a phone tells where it is while the car drives.
    #[serde(with = "humantime_serde")]
    pub ping_interval_driving: Duration,
    /// And while it is parked.
    #[serde(with = "humantime_serde")]
    pub ping_interval_parked: Duration,
    /// What a driver gets for a ride, minor units, and for each kilometre and minute of it.
    pub fare_base: i64,
    /// See above.
    pub fare_per_km: i64,
    /// See above.
    pub fare_per_minute: i64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            decline_probability: 0.05,
            ignore_probability: 0.02,
            answer_time_min: Duration::from_secs(2),
            answer_time_max: Duration::from_secs(8),
            patience_min: Duration::from_secs(60),
            patience_mean: Duration::from_secs(240),
            search_timeout: Duration::from_secs(180),
            cancel_probability: 0.02,
            cancel_time_max: Duration::from_secs(240),
            boarding_time: Duration::from_secs(60),
            break_share: 0.1,
            break_max: Duration::from_secs(1_800),
            ping_interval_driving: Duration::from_secs(5),
            ping_interval_parked: Duration::from_secs(30),
            fare_base: 150,
            fare_per_km: 80,
            fare_per_minute: 20,
        }
    }
}

/// What a driver does about an offer, and after how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepts(i64),
    Declines(i64),
    /// Nothing.
    Ignores,
}

/// How one rider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Temper {
    /// How long they wait for a driver to be found, milliseconds.
    pub patience_ms: i64,
    /// When after getting one they call the ride off, if they do, milliseconds.
    pub regret_ms: Option<i64>,
}

impl Habits {
    /// Whether these habits can be.
    ///
    /// # Errors
    /// Names the first that cannot.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, probability) in [
            ("decline_probability", self.decline_probability),
            ("ignore_probability", self.ignore_probability),
            ("cancel_probability", self.cancel_probability),
            ("break_share", self.break_share),
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
        let second = Duration::from_secs(1);
        ensure!(
            self.ping_interval_driving >= second && self.ping_interval_parked >= second,
            "phones do not tell more often than every second where they are"
        );
        Ok(())
    }

    /// What a driver answers to the offer of a request: the same whenever it comes.
    pub(crate) fn answer(&self, seed: u64, cab: u32, request: u32) -> Answer {
        let number = u64::from(cab) << 32 | u64::from(request);
        let mut chance = chance(seed, Purpose::Answers, number);
        let mark = chance.random::<f64>();
        let thinks = self.answer_time_min
            + span(
                &mut chance,
                self.answer_time_max.saturating_sub(self.answer_time_min),
            );
        if mark < self.decline_probability {
            Answer::Declines(ms(thinks))
        } else if mark < self.decline_probability + self.ignore_probability {
            Answer::Ignores
        } else {
            Answer::Accepts(ms(thinks))
        }
    }

    /// How the rider of a request behaves.
    pub(crate) fn temper(&self, seed: u64, request: u32) -> Temper {
        let mut chance = chance(seed, Purpose::Rider, u64::from(request));
        // Above 0, so that its logarithm is finite.
        let share = 1.0 - chance.random::<f64>();
        let more = self.patience_mean.saturating_sub(self.patience_min);
        let patience = self.patience_min + more.mul_f64(-share.ln());
        let regrets = happens(&mut chance, self.cancel_probability);
        let regret = span(&mut chance, self.cancel_time_max);
        Temper {
            patience_ms: ms(patience),
            regret_ms: regrets.then(|| ms(regret)),
        }
    }

    /// When a driver's break begins and ends, if they make one, milliseconds after midnight.
    pub(crate) fn rest(&self, seed: u64, cab: u32, from_ms: i64, to_ms: i64) -> Option<(i64, i64)> {
        let mut chance = chance(seed, Purpose::Breaks, u64::from(cab));
        if !happens(&mut chance, self.break_share) {
            return None;
        }
        let begins_ms = chance.random_range(from_ms..to_ms);
        let length_ms = 60_000 + ms(span(&mut chance, self.break_max));
        Some((begins_ms, begins_ms + length_ms))
    }
}

/// Whole milliseconds.
pub(crate) fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_as_they_are_said_to_be_on_average() {
        let habits = Habits::default();
        let answers: Vec<Answer> = (0..20_000)
            .map(|number| habits.answer(5, number % 400, number))
            .collect();
        let share = |of: fn(&&Answer) -> bool| {
            answers.iter().filter(of).count() as f64 / answers.len() as f64
        };
        assert!((share(|a| matches!(a, Answer::Declines(_))) - 0.05).abs() < 0.01);
        assert!((share(|a| matches!(a, Answer::Ignores)) - 0.02).abs() < 0.005);
        assert!(answers.iter().all(|answer| match answer {
            Answer::Accepts(ms) | Answer::Declines(ms) => (2_000..=8_000).contains(ms),
            Answer::Ignores => true,
        }));
        assert_eq!(habits.answer(5, 7, 9), habits.answer(5, 7, 9));
        let tempers: Vec<Temper> = (0..20_000).map(|n| habits.temper(5, n)).collect();
        let mean = tempers.iter().map(|temper| temper.patience_ms).sum::<i64>() / 20_000;
        assert!((230_000..250_000).contains(&mean), "{mean}");
        assert!(tempers.iter().all(|temper| temper.patience_ms >= 60_000));
        let regrets = tempers.iter().filter(|temper| temper.regret_ms.is_some());
        assert!((300..500).contains(&regrets.count()));
    }
}
