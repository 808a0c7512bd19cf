//! How a driver decides, and what car they have: all of it from the seed.

use std::time::Duration;

use jitney_proto::matching::v1::Vehicle;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{
    Config,
    chance::{happens, span},
};

/// What a driver answers to an offer, drawn before anything else is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub kind: AnswerKind,
    /// Real time to think.
    pub after: Duration,
    /// The share of the way to the pick-up after which the ride is given back.
    pub gives_back_at: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    Accept,
    Decline,
    Ignore,
}

/// What a driver answers to the next offer.
pub(super) fn answer(chance: &mut ChaCha8Rng, config: &Config) -> Answer {
    // Everything is drawn every time, so that one setting does not shift what others give.
    let mark = chance.random::<f64>();
    let after = config.real(span(chance, config.answer_time_max));
    let gives_back = happens(chance, config.give_back_probability);
    let share = chance.random::<f64>();
    let kind = if mark < config.decline_probability {
        AnswerKind::Decline
    } else if mark < config.decline_probability + config.ignore_probability {
        AnswerKind::Ignore
    } else {
        AnswerKind::Accept
    };
    Answer {
        kind,
        after,
        gives_back_at: gives_back.then_some(share),
    }
}

/// A made-up car.
pub(super) fn vehicle(chance: &mut ChaCha8Rng) -> Vehicle {
    const COLOURS: [&str; 6] = ["white", "black", "silver", "blue", "red", "green"];
    const SHAPES: [&str; 4] = ["hatchback", "saloon", "estate car", "van"];
    let mut letter = || char::from(b'A' + chance.random_range(0..26_u8));
    let letters: String = [letter(), letter(), '-', letter(), letter()]
        .iter()
        .collect();
    let digits = chance.random_range(0..1_000_u32);
    let colour = COLOURS[chance.random_range(0..COLOURS.len())];
    let shape = SHAPES[chance.random_range(0..SHAPES.len())];
    Vehicle {
        plate: format!("{letters}-{digits:03}"),
        description: format!("{colour} {shape}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::{Purpose, chance};

    fn answers(seed: u64, config: &Config) -> Vec<Answer> {
        let mut chance = chance(seed, Purpose::Answers, 1);
        (0..500).map(|_| answer(&mut chance, config)).collect()
    }

    #[test]
    fn drivers_decide_the_same_every_time() {
        let config = Config {
            decline_probability: 0.3,
            ..Config::default()
        };
        assert_eq!(answers(5, &config), answers(5, &config));
        assert_ne!(answers(5, &config), answers(6, &config));
        let declined = answers(5, &config)
            .iter()
            .filter(|a| a.kind == AnswerKind::Decline)
            .count();
        assert!((100..200).contains(&declined), "{declined} of 500");
    }

    #[test]
    fn one_setting_does_not_shift_the_others() {
        let plain = answers(5, &Config::default());
        let generous = Config {
            give_back_probability: 1.0,
            ..Config::default()
        };
        for (a, b) in plain.iter().zip(answers(5, &generous)) {
            assert_eq!((a.kind, a.after), (b.kind, b.after));
            assert!(b.gives_back_at.is_some());
        }
    }

    #[test]
    fn cars_have_plates_the_api_takes() {
        let vehicle = vehicle(&mut chance(1, Purpose::Driver, 9));
        assert!(vehicle.plate.len() <= 16 && vehicle.description.len() <= 80);
        assert_eq!(vehicle.plate.len(), "AB-CD-123".len());
    }
}
