//! Everything that happens, in order, boiled down to one number: two runs that differ in any decision
//! or movement differ in it.

use sha2::{Digest, Sha256};

/// What kind of thing happened; the numbers are part of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    ShiftBegins = 1,
    ShiftEnds = 2,
    Ping = 3,
    Request = 4,
    Round = 5,
    OfferMade = 6,
    OfferEnded = 7,
    Accepted = 8,
    Declined = 9,
    SetOut = 10,
    AtKerb = 11,
    Boarded = 12,
    Completed = 13,
    GaveUp = 14,
    CalledOff = 15,
    NoDriver = 16,
    GivenBack = 17,
}

/// The hash so far.
pub(crate) struct EventLog {
    hash: Sha256,
    count: u64,
    /// All of it, for tests that look closer.
    #[cfg(test)]
    pub entries: Vec<(i64, Happening, Vec<i64>)>,
}

impl EventLog {
    pub fn new() -> Self {
        Self {
            hash: Sha256::new(),
            count: 0,
            #[cfg(test)]
            entries: Vec::new(),
        }
    }

    /// Something happened at a moment, with what it is about.
    pub fn add(&mut self, at_ms: i64, what: Happening, about: &[i64]) {
        self.count += 1;
        #[cfg(test)]
        self.entries.push((at_ms, what, about.to_vec()));
        self.hash.update(at_ms.to_le_bytes());
        self.hash.update([what as u8, about.len() as u8]);
        for number in about {
            self.hash.update(number.to_le_bytes());
        }
    }

    /// How many things happened.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The hash, in hexadecimal digits.
    pub fn hex(&self) -> String {
        let digest = self.hash.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_count() {
        let hash = |events: &[(i64, Happening, &[i64])]| {
            let mut log = EventLog::new();
            for (at_ms, what, about) in events {
                log.add(*at_ms, *what, about);
            }
            log.hex()
        };
        let (a, b) = (
            (1, Happening::Request, &[2][..]),
            (1, Happening::Ping, &[2, 3][..]),
        );
        assert_eq!(hash(&[a, b]), hash(&[a, b]));
        assert_ne!(hash(&[a, b]), hash(&[b, a]));
        assert_ne!(hash(&[a]), hash(&[b]));
        assert_eq!(hash(&[]).len(), 64);
    }
}
