//! Seeded chance: one independent stream per purpose and person, so that what one of them draws
//! never shifts what another one gets.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of chance is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Who rides where after how long; one stream for all.
    Demand = 1,
    /// Where a driver begins, and in what car.
    Driver = 2,
    /// What a driver answers to offers, in the order they come.
    Answers = 3,
    /// Where a driver without a ride goes.
    Cruising = 4,
    /// How long an actor waits before it tries again; the number is arbitrary.
    Backoff = 5,
    /// Where in its zone a ride begins and ends.
    Zones = 6,
    /// How often a ride of the demand is asked for, and where its copies begin.
    Copies = 7,
    /// How patient a rider is.
    Rider = 8,
    /// When a driver makes a break.
    Breaks = 9,
}

/// A stream of chance that depends on nothing but its arguments.
pub(crate) fn chance(seed: u64, purpose: Purpose, number: u64) -> ChaCha8Rng {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    stream.set_stream(((purpose as u64) << 56) | (number & ((1 << 56) - 1)));
    stream
}

/// A span of up to `max`, any as likely as any other, in whole milliseconds.
pub(crate) fn span(chance: &mut ChaCha8Rng, max: Duration) -> Duration {
    let max_ms = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(chance.random_range(0..=max_ms))
}

/// Whether something of this probability happens. Always draws once, so that what is drawn later does
/// not depend on the probability.
pub(crate) fn happens(chance: &mut ChaCha8Rng, probability: f64) -> bool {
    chance.random::<f64>() < probability
}

/// Growing waits between tries: doubled each time up to a limit, and spread so that many actors do
/// not come back at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    chance: ChaCha8Rng,
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(4);

    pub fn new(chance: ChaCha8Rng) -> Self {
        Self {
            chance,
            next: Self::FIRST,
        }
    }

    /// How long to wait before the next try: half of the current step or more.
    pub fn step(&mut self) -> Duration {
        let wait = self.next / 2 + span(&mut self.chance, self.next / 2);
        self.next = (self.next * 2).min(Self::MAX);
        wait
    }

    /// It worked: the next failure starts from the beginning.
    pub fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_are_independent_and_repeat() {
        let draw = |seed, purpose, number| chance(seed, purpose, number).next_u64();
        assert_eq!(draw(7, Purpose::Answers, 3), draw(7, Purpose::Answers, 3));
        assert_ne!(draw(7, Purpose::Answers, 3), draw(7, Purpose::Answers, 4));
        assert_ne!(draw(7, Purpose::Answers, 3), draw(7, Purpose::Driver, 3));
        assert_ne!(draw(7, Purpose::Answers, 3), draw(8, Purpose::Answers, 3));
    }

    #[test]
    fn waits_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new(chance(1, Purpose::Backoff, 0));
        for _ in 0..20 {
            assert!(backoff.step() <= Backoff::MAX);
        }
        assert!(backoff.step() >= Backoff::MAX / 2);
        backoff.reset();
        assert!(backoff.step() <= Backoff::FIRST);
    }
}
