//! Repetition: a key names a request, and a hash tells whether the request under it is the same.

use jitney_platform::auth::{Caller, Role};
use jitney_proto::ids::{QuoteId, TripId};
use sha2::{Digest, Sha256};

use crate::{
    hold::{Authorize, CaptureOf, PaymentMethod, Reason},
    payout::PayoutOf,
    promotion::CreditOf,
    refund::RefundOf,
    tip::TipOf,
};

/// The longest key, bytes.
const KEY_BYTES_MAX: usize = 200;

/// A caller's name for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("is required")]
    Missing,
    /// It is too long to be kept.
    #[error("is longer than {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// It has characters that nobody can see.
    #[error("has control characters")]
    Control,
}

impl Key {
    /// Checks a key.
    pub fn new(text: String) -> Result<Key, KeyError> {
        if text.is_empty() {
            Err(KeyError::Missing)
        } else if text.len() > KEY_BYTES_MAX {
            Err(KeyError::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(KeyError::Control)
        } else {
            Ok(Key(text))
        }
    }

    /// The key of a request that riders and drivers make themselves: theirs, whatever keys others use.
    pub fn of(caller: &Caller, text: String) -> Result<Key, KeyError> {
        let Key(text) = Key::new(text)?;
        Ok(match caller.role {
            Role::Rider | Role::Driver | Role::Guest => {
                Key(format!("{}:{}:{text}", caller.role, caller.id))
            }
            Role::Operator | Role::Service => Key(text),
        })
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of a request.
pub type RequestHash = [u8; 32];

/// The hash of a request to hold.
pub fn hash_of_authorize(asked: &Authorize) -> RequestHash {
    let (trip, quote) = (asked.trip_id.0.as_bytes(), asked.quote_id.0.as_bytes());
    let rider = asked.rider_id.as_str().as_bytes();
    match asked.payment_method {
        PaymentMethod::Card => hash(&[trip, rider, quote]),
        PaymentMethod::Cash => hash(&[trip, rider, quote, b"cash"]),
    }
}

/// The hash of a request to capture. Asking for all that is held is not the same request as naming
/// the amount, nor is a fee.
pub fn hash_of_capture(asked: &CaptureOf) -> RequestHash {
    let (trip, driver) = (
        asked.trip_id.0.as_bytes(),
        asked.driver_id.as_str().as_bytes(),
    );
    match &asked.amount {
        None => match asked.reason {
            Reason::Fare => hash(&[trip, driver]),
            Reason::CancellationFee => hash(&[trip, driver, b"cancellation fee"]),
            Reason::NoShowFee => hash(&[trip, driver, b"no-show fee"]),
        },
        Some(amount) => hash(&[
            trip,
            driver,
            &amount.minor.to_be_bytes(),
            amount.currency.as_str().as_bytes(),
        ]),
    }
}

/// The hash of a request to hold under another quote.
pub fn hash_of_change(trip: &TripId, quote: &QuoteId) -> RequestHash {
    hash(&[trip.0.as_bytes(), quote.0.as_bytes()])
}

/// The hash of a request to release.
pub fn hash_of_void(trip: &TripId) -> RequestHash {
    hash(&[trip.0.as_bytes()])
}

/// The hash of a request to give back. All that is left is not the same request as naming the amount.
pub fn hash_of_refund(asked: &RefundOf) -> RequestHash {
    let (trip, reason) = (asked.trip_id.0.as_bytes(), asked.reason.as_bytes());
    match &asked.amount {
        None => hash(&[trip, reason]),
        Some(amount) => hash(&[
            trip,
            reason,
            &amount.minor.to_be_bytes(),
            amount.currency.as_str().as_bytes(),
        ]),
    }
}

/// The hash of a request to add a tip.
pub fn hash_of_tip(asked: &TipOf) -> RequestHash {
    hash(&[
        asked.trip_id.0.as_bytes(),
        &asked.amount.minor.to_be_bytes(),
        asked.amount.currency.as_str().as_bytes(),
    ])
}

/// The hash of a request to pay out. All that is owed is not the same request as naming the amount.
pub fn hash_of_payout(asked: &PayoutOf) -> RequestHash {
    let driver = asked.driver_id.as_str().as_bytes();
    let currency = asked.currency.as_str().as_bytes();
    match &asked.amount {
        None => hash(&[driver, currency]),
        Some(amount) => hash(&[driver, currency, &amount.minor.to_be_bytes()]),
    }
}

/// The hash of a request to give credit.
pub fn hash_of_credit(asked: &CreditOf) -> RequestHash {
    hash(&[
        asked.rider_id.as_str().as_bytes(),
        &asked.amount.minor.to_be_bytes(),
        asked.amount.currency.as_str().as_bytes(),
        asked.reason.as_bytes(),
    ])
}

/// Hashes fields with their lengths, so that no two lists of fields run together the same.
fn hash(fields: &[&[u8]]) -> RequestHash {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use jitney_proto::money::Money;

    use super::*;

    #[test]
    fn keys_are_checked() {
        assert_eq!(Key::new("t:hold".to_owned()).unwrap().as_str(), "t:hold");
        let refused = |text: &str| Key::new(text.to_owned()).unwrap_err();
        assert_eq!(refused(""), KeyError::Missing);
        assert_eq!(refused("a\0b"), KeyError::Control);
        assert_eq!(refused(&"k".repeat(201)), KeyError::TooLong);
    }

    #[test]
    fn other_requests_hash_otherwise() {
        let asked = CaptureOf {
            trip_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            driver_id: "ben".parse().unwrap(),
            amount: None,
            reason: Reason::Fare,
        };
        let amount = |minor, code: &str| Some(Money::new(minor, code.parse().unwrap()));
        let hashes = [
            hash_of_capture(&asked),
            hash_of_capture(&CaptureOf {
                driver_id: "bea".parse().unwrap(),
                ..asked.clone()
            }),
            hash_of_capture(&CaptureOf {
                amount: amount(5, "EUR"),
                ..asked.clone()
            }),
            hash_of_capture(&CaptureOf {
                amount: amount(5, "CHF"),
                ..asked.clone()
            }),
            hash_of_capture(&CaptureOf {
                amount: amount(6, "EUR"),
                ..asked.clone()
            }),
            hash_of_capture(&CaptureOf {
                reason: Reason::CancellationFee,
                ..asked.clone()
            }),
            hash_of_capture(&CaptureOf {
                reason: Reason::NoShowFee,
                ..asked.clone()
            }),
            hash(&[b"ab", b"c"]),
            hash(&[b"a", b"bc"]),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(hashes[..i].iter().all(|b| a != b), "{i}");
        }
        assert_eq!(hash_of_capture(&asked.clone()), hashes[0]);
    }
}
