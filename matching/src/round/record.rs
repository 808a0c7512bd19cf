//! Rounds as they are kept: everything they were decided from and what was decided, in few bytes.

use chrono::{DateTime, Utc};
use jitney_proto::ids::{RoundId, TripId};
use jitney_roads::MapId;
use serde::{Deserialize, Serialize};

use super::{Choice, Round};
use crate::policy::Policy;

/// The form of the bytes; raised whenever a kept round would be read as something else.
const VERSION: u8 = 2;

/// A round that was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: RoundId,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// The map.
    pub map: MapId,
    /// The policy's name.
    pub policy_name: String,
    /// The policy, as it was then.
    pub policy: Policy,
    /// The inputs.
    pub round: Round,
    /// What was decided.
    pub choice: Choice,
}

/// Why kept bytes are not a round.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by another version of this program.
    #[error("the round was kept in form {found}, this program reads form {VERSION}")]
    OtherVersion {
        /// What was found.
        found: u8,
    },
    /// They make no sense.
    #[error("the round that was kept is damaged: {0}")]
    Damaged(String),
}

impl Record {
    /// The bytes to keep.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory cannot fail, and every type here has a form in postcard.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads kept bytes.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let damaged = |what: &str| RecordError::Damaged(what.to_owned());
        let (&found, body) = bytes.split_first().ok_or_else(|| damaged("it is empty"))?;
        if found != VERSION {
            return Err(RecordError::OtherVersion { found });
        }
        let record: Self =
            postcard::from_bytes(body).map_err(|error| RecordError::Damaged(error.to_string()))?;
        let (requests, drivers) = (record.round.requests.len(), record.round.drivers.len());
        let is_known = |request: u32, driver: u32| {
            (request as usize) < requests && (driver as usize) < drivers
        };
        let pairs = record.round.pairs.iter();
        let gated = record.round.gated.iter();
        let all_known = pairs
            .map(|pair| (pair.request, pair.driver))
            .all(|(r, d)| is_known(r, d))
            && gated
                .map(|gated| (gated.request, gated.driver))
                .all(|(r, d)| is_known(r, d));
        let mut chosen = record.choice.iter().flatten();
        let is_whole = record.choice.len() == requests
            && chosen.all(|&number| (number as usize) < record.round.pairs.len());
        if !(all_known && is_whole) {
            return Err(damaged("it names what it does not have"));
        }
        Ok(record)
    }

    /// How many requests got a driver.
    pub fn assigned(&self) -> usize {
        self.choice.iter().flatten().count()
    }

    /// The trips in it.
    pub fn trips(&self) -> impl Iterator<Item = TripId> {
        self.round.requests.iter().map(|request| request.trip)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::round::{Driver, Pair, Request};

    fn record() -> Record {
        Record {
            id: RoundId(Uuid::from_u128(1)),
            decided_at: DateTime::UNIX_EPOCH,
            map: MapId(7),
            policy_name: "batched".to_owned(),
            policy: Policy::batched(),
            round: Round {
                requests: vec![Request {
                    trip: TripId(Uuid::from_u128(2)),
                    waited_ms: 3,
                    reach_ms: 4,
                    has_more: true,
                }],
                drivers: vec![Driver {
                    id: "anna".parse().unwrap(),
                    idle_ms: 5,
                }],
                pairs: vec![Pair {
                    request: 0,
                    driver: 0,
                    time_ms: 6,
                    frees_in_ms: 0,
                    queue_place: 0,
                    drive_ms: 6,
                    beside: None,
                }],
                gated: Vec::new(),
            },
            choice: vec![Some(0)],
        }
    }

    #[test]
    fn a_round_comes_back_as_it_was() {
        let bytes = record().to_bytes();
        assert!(bytes.len() < 150, "{} bytes", bytes.len());
        assert_eq!(Record::from_bytes(&bytes).unwrap(), record());
    }

    #[test]
    fn bytes_that_are_no_round_are_told_apart() {
        let mut other = record().to_bytes();
        other[0] = 9;
        let error = Record::from_bytes(&other).unwrap_err();
        assert!(error.to_string().contains("form 9"));
        let bytes = record().to_bytes();
        for cut in 0..bytes.len() {
            Record::from_bytes(&bytes[..cut]).unwrap_err();
        }
        let mut wrong = record();
        wrong.round.pairs[0].driver = 1;
        let error = Record::from_bytes(&wrong.to_bytes()).unwrap_err();
        assert!(error.to_string().contains("does not have"));
    }
}
