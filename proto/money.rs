//! Money is integer minor units and a currency; there is no float on the way.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Code, common::v1 as wire};

/// A three-letter ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// A text that is not three capital letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("currency {0:?} is not three capital letters (ISO 4217)")]
pub struct CurrencyError(String);

impl Currency {
    /// The code.
    pub fn as_str(&self) -> &str {
        // Only capital letters ever get in.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// How many decimal digits the minor unit stands for (ISO 4217): 0 for JPY, 3 for KWD, else 2.
    pub fn exponent(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG"
            | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;
    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(CurrencyError(text.chars().take(16).collect())),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// An exact amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units of the currency.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// An amount.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads the wire form; `field` names it in the refusal.
    pub fn from_wire(money: &wire::Money, field: &str) -> Result<Self, tonic::Status> {
        let currency = money
            .currency_code
            .parse()
            .map_err(|error: CurrencyError| {
                Code::InvalidRequest.bad_field(&format!("{field}.currency_code"), error.to_string())
            })?;
        Ok(Self {
            minor: money.minor_units,
            currency,
        })
    }
}

impl From<Money> for wire::Money {
    fn from(money: Money) -> Self {
        wire::Money {
            currency_code: money.currency.to_string(),
            minor_units: money.minor,
        }
    }
}

impl fmt::Display for Money {
    /// For people: `EUR 12.34`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.currency.exponent() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        let unit = 10_u64.pow(self.currency.exponent());
        let (whole, part) = (
            self.minor.unsigned_abs() / unit,
            self.minor.unsigned_abs() % unit,
        );
        if digits == 0 {
            write!(f, "{} {sign}{whole}", self.currency)
        } else {
            write!(f, "{} {sign}{whole}.{part:0digits$}", self.currency)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn people_read_major_units() {
        let money = |minor, code: &str| Money::new(minor, code.parse().unwrap()).to_string();
        assert_eq!(money(1234, "EUR"), "EUR 12.34");
        assert_eq!(money(-5, "EUR"), "EUR -0.05");
        assert_eq!(money(1234, "JPY"), "JPY 1234");
        assert_eq!(money(1234, "KWD"), "KWD 1.234");
        assert_eq!(money(i64::MIN, "JPY"), "JPY -9223372036854775808");
    }

    #[test]
    fn a_currency_is_three_capitals() {
        for bad in ["", "eur", "EURO", "E1R"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad:?}");
        }
    }
}
