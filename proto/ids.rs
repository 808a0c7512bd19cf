//! Ids are types: a trip's id is not a driver's. Trips, offers, quotes and the like get UUIDv7s from
//! Jitney; riders, drivers and operators carry the id their identity provider gave them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Code;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} id {text:?} is not {expected}")]
pub struct IdError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl IdError {
    fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        // An id from outside may be of any length; the message must not be.
        Self {
            what,
            text: text.chars().take(64).collect(),
            expected,
        }
    }

    /// The status of a request whose `field` holds this text.
    pub fn status(&self, field: &str) -> tonic::Status {
        Code::InvalidRequest.bad_field(field, self.to_string())
    }
}

macro_rules! uuid_ids {
    ($( $(#[$doc:meta])* $name:ident, $what:literal; )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::new($what, text, "a UUID"))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    )*};
}

uuid_ids! {
    /// A ride.
    TripId, "trip";
    /// An offer of a ride to a driver.
    OfferId, "offer";
    /// A price for a ride.
    QuoteId, "quote";
    /// A driver set aside for a rider.
    ReservationId, "reservation";
    /// Money on its way to a driver.
    PayoutId, "payout";
    /// Credit that a rider was given.
    CreditId, "credit";
    /// A dispatch round.
    RoundId, "round";
    /// One event, whatever it is delivered how often.
    EventId, "event";
    /// A driver app's connection, over reconnects.
    SessionId, "session";
}

macro_rules! name_ids {
    ($( $(#[$doc:meta])* $name:ident, $what:literal; )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError::new($what, text, NAME_RULE))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    )*};
}

name_ids! {
    /// A person who asks for rides.
    RiderId, "rider";
    /// A person who gives rides.
    DriverId, "driver";
    /// A kind of ride, for example `economy`.
    ProductId, "product";
}

const NAME_RULE: &str =
    "1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit";

/// Whether a text may be the id of a person or a product; see the rule in [`IdError`]'s message.
pub fn is_name(text: &str) -> bool {
    let first = text.as_bytes().first();
    text.len() <= 64
        && first.is_some_and(u8::is_ascii_alphanumeric)
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("anna-1".parse::<RiderId>().unwrap().as_str(), "anna-1");
        for bad in ["", "-a", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<DriverId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_stays_short() {
        let error = "x".repeat(10_000).parse::<TripId>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }
}
