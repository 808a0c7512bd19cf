//! Tariffs: what a kilometre, a minute and arranging a ride cost, by version. What a ride costs
//! under one is in [`crate::fare`].

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use jitney_proto::{
    ids::{self, ProductId},
    money::Currency,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    fare::MAX_MINOR,
    surcharge::{FareZone, Night, TollGate},
};

/// A whole in basis points.
pub const BASIS_POINTS: i64 = 10_000;

/// The largest percentage that a night may add.
const PERCENT_MAX: i64 = 1_000;
/// The largest cap of a surge, percent.
const SURGE_PERCENT_MAX: i64 = 1_000;
/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// The prices of every product from one moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// Names this tariff for good: 1 to 64 letters, digits, `-`, `_` or `.`.
    pub version: String,
    /// From when on it is in force, RFC 3339, for example `2026-01-01T00:00:00Z`.
    pub effective_from: DateTime<Utc>,
    /// Tax on top of everything else, basis points: 600 is 6 %.
    pub tax_basis_points: i64,
    /// What scarcity may make of a fare at most, percent; 100 leaves every fare as it is.
    #[serde(default = "no_surge", skip_serializing_if = "is_no_surge")]
    pub surge_percent_max: i64,
    /// When rides cost more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night: Option<Night>,
    /// Where rides cost more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<FareZone>,
    /// Roads and bridges that cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolls: Vec<TollGate>,
    /// The prices, by product.
    pub products: BTreeMap<ProductId, Rates>,
}

// What a tariff does not say is left out of its canonical form: tariffs that were kept before there was
// such a field keep their hash.
fn no_surge() -> i64 {
    100
}

fn is_no_surge(percent: &i64) -> bool {
    *percent == 100
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The prices of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// The flat part, minor units.
    pub base_minor: i64,
    /// Per kilometre, minor units.
    pub per_km_minor: i64,
    /// Per minute, minor units.
    pub per_minute_minor: i64,
    /// What base, distance and time are lifted to when they come to less, minor units.
    pub minimum_minor: i64,
    /// The platform's fee for arranging the ride, minor units; all of it is the platform's.
    pub booking_fee_minor: i64,
    /// What the platform keeps of the ride itself, without booking fee and tax, basis points.
    pub platform_share_basis_points: i64,
    /// Per minute that the driver waits at the pick-up, minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting_per_minute_minor: i64,
    /// How long they wait for nothing, milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting_free_ms: i64,
    /// Per stop between pick-up and drop-off, minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra_stop_minor: i64,
    /// What calling the ride off late costs, before tax, minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancellation_fee_minor: i64,
    /// What not coming costs, before tax, minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub no_show_fee_minor: i64,
}

/// Why a list of tariffs is refused. The text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// There is none.
    #[error("billing.tariffs is empty: at least one tariff is needed")]
    None,
    /// None has come into force.
    #[error("billing.tariffs: none is in force yet, the first begins at {0}")]
    NotYet(DateTime<Utc>),
    /// A version that could not be stored or read back.
    #[error(
        "billing.tariffs[{index}].version {version:?} is not 1 to 64 letters, digits, '-', '_' or \
         '.'"
    )]
    Version {
        /// Which tariff, from 0.
        index: usize,
        /// What it is called.
        version: String,
    },
    /// Two tariffs of one name.
    #[error("billing.tariffs: version {0:?} is there twice")]
    DuplicateVersion(String),
    /// Two tariffs that begin at once; neither is the newer.
    #[error("billing.tariffs: {first:?} and {second:?} both begin at {at}")]
    SameBeginning {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// A tariff that prices nothing.
    #[error("billing.tariffs: {0:?} has no product")]
    NoProduct(String),
    /// A number out of range.
    #[error("billing.tariffs: {field} of {version:?} must be between 0 and {most}, not {value}")]
    Range {
        /// The tariff.
        version: String,
        /// The field, with its product.
        field: String,
        /// What it holds.
        value: i64,
        /// The most it may hold.
        most: i64,
    },
    /// A zone that is none.
    #[error("billing.tariffs: zone {id:?} of {version:?} {problem}")]
    Zone {
        /// The tariff.
        version: String,
        /// The zone.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A gate that is none.
    #[error("billing.tariffs: toll {id:?} of {version:?} {problem}")]
    Toll {
        /// The tariff.
        version: String,
        /// The gate.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A cap that is below the fare itself.
    #[error(
        "billing.tariffs: surge_percent_max of {version:?} must be between 100 and \
         {SURGE_PERCENT_MAX}, not {value}"
    )]
    Surge {
        /// The tariff.
        version: String,
        /// What it holds.
        value: i64,
    },
}

/// Checks a list of tariffs for every rule a type cannot hold.
pub fn validate(tariffs: &[Tariff]) -> Result<(), TariffError> {
    if tariffs.is_empty() {
        return Err(TariffError::None);
    }
    for (index, tariff) in tariffs.iter().enumerate() {
        let version = &tariff.version;
        if !ids::is_name(version) {
            return Err(TariffError::Version {
                index,
                version: version.clone(),
            });
        }
        for other in &tariffs[..index] {
            if other.version == *version {
                return Err(TariffError::DuplicateVersion(version.clone()));
            }
            if other.effective_from == tariff.effective_from {
                return Err(TariffError::SameBeginning {
                    first: other.version.clone(),
                    second: version.clone(),
                    at: tariff.effective_from,
                });
            }
        }
        if tariff.products.is_empty() {
            return Err(TariffError::NoProduct(version.clone()));
        }
        validate_numbers(tariff)?;
    }
    Ok(())
}

fn validate_numbers(tariff: &Tariff) -> Result<(), TariffError> {
    let within = |field: String, value: i64, most: i64| {
        if (0..=most).contains(&value) {
            Ok(())
        } else {
            Err(TariffError::Range {
                version: tariff.version.clone(),
                field,
                value,
                most,
            })
        }
    };
    within(
        "tax_basis_points".to_owned(),
        tariff.tax_basis_points,
        BASIS_POINTS,
    )?;
    if !(100..=SURGE_PERCENT_MAX).contains(&tariff.surge_percent_max) {
        return Err(TariffError::Surge {
            version: tariff.version.clone(),
            value: tariff.surge_percent_max,
        });
    }
    if let Some(night) = &tariff.night {
        within("night.percent".to_owned(), night.percent, PERCENT_MAX)?;
    }
    for (place, zone) in tariff.zones.iter().enumerate() {
        let broken = |problem| TariffError::Zone {
            version: tariff.version.clone(),
            id: zone.id.clone(),
            problem,
        };
        if let Some(problem) = zone.area.problem() {
            return Err(broken(problem));
        }
        if tariff.zones[..place]
            .iter()
            .any(|other| other.id == zone.id)
        {
            return Err(broken("is there twice"));
        }
        let (id, pickup, dropoff) = (&zone.id, zone.pickup_minor, zone.dropoff_minor);
        within(format!("zones.{id}.pickup_minor"), pickup, MAX_MINOR)?;
        within(format!("zones.{id}.dropoff_minor"), dropoff, MAX_MINOR)?;
    }
    for (place, gate) in tariff.tolls.iter().enumerate() {
        let broken = |problem| TariffError::Toll {
            version: tariff.version.clone(),
            id: gate.id.clone(),
            problem,
        };
        if let Some(problem) = gate.area.problem() {
            return Err(broken(problem));
        }
        if tariff.tolls[..place]
            .iter()
            .any(|other| other.id == gate.id)
        {
            return Err(broken("is there twice"));
        }
        let (id, toll) = (&gate.id, gate.toll_minor);
        within(format!("tolls.{id}.toll_minor"), toll, MAX_MINOR)?;
    }
    for (product, rates) in &tariff.products {
        for (name, value, most) in [
            ("base_minor", rates.base_minor, MAX_MINOR),
            ("per_km_minor", rates.per_km_minor, MAX_MINOR),
            ("per_minute_minor", rates.per_minute_minor, MAX_MINOR),
            ("minimum_minor", rates.minimum_minor, MAX_MINOR),
            ("booking_fee_minor", rates.booking_fee_minor, MAX_MINOR),
            (
                "platform_share_basis_points",
                rates.platform_share_basis_points,
                BASIS_POINTS,
            ),
            (
                "waiting_per_minute_minor",
                rates.waiting_per_minute_minor,
                MAX_MINOR,
            ),
            ("waiting_free_ms", rates.waiting_free_ms, DAY_MS),
            ("extra_stop_minor", rates.extra_stop_minor, MAX_MINOR),
            (
                "cancellation_fee_minor",
                rates.cancellation_fee_minor,
                MAX_MINOR,
            ),
            ("no_show_fee_minor", rates.no_show_fee_minor, MAX_MINOR),
        ] {
            within(format!("products.{product}.{name}"), value, most)?;
        }
    }
    Ok(())
}

/// The tariff in force at `now`: the newest that has begun.
pub fn in_force(tariffs: &[Tariff], now: DateTime<Utc>) -> Result<&Tariff, TariffError> {
    let begun = tariffs.iter().filter(|tariff| tariff.effective_from <= now);
    begun
        .max_by_key(|tariff| tariff.effective_from)
        .ok_or_else(
            || match tariffs.iter().map(|tariff| tariff.effective_from).min() {
                Some(first) => TariffError::NotYet(first),
                None => TariffError::None,
            },
        )
}

/// A tariff as it is stored: with its currency, in one canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The currency of its prices.
    pub currency: Currency,
    /// The tariff.
    pub tariff: Tariff,
}

impl Body {
    /// SHA-256 of the canonical form. Two bodies are equal exactly when their hashes are: fields
    /// are written in the order of their declaration and products in the order of their names.
    pub fn hash(&self) -> Result<[u8; 32], serde_json::Error> {
        Ok(Sha256::digest(serde_json::to_vec(self)?).into())
    }
}

/// The tariff that is used when none is configured.
///
/// # Panics
/// Never: the names in it are names.
pub fn built_in() -> Tariff {
    let rates = |base, per_km, per_minute, minimum, booking_fee| Rates {
        base_minor: base,
        per_km_minor: per_km,
        per_minute_minor: per_minute,
        minimum_minor: minimum,
        booking_fee_minor: booking_fee,
        platform_share_basis_points: 2_000,
        waiting_per_minute_minor: per_minute,
        waiting_free_ms: 120_000,
        extra_stop_minor: booking_fee,
        cancellation_fee_minor: minimum / 2,
        no_show_fee_minor: minimum,
    };
    let product = |name: &str| {
        name.parse::<ProductId>()
            .expect("a product of ours has a name")
    };
    Tariff {
        version: "standard-2".to_owned(),
        effective_from: DateTime::UNIX_EPOCH,
        tax_basis_points: 600,
        surge_percent_max: 150,
        night: None,
        zones: Vec::new(),
        tolls: Vec::new(),
        products: BTreeMap::from([
            (product("economy"), rates(150, 85, 20, 450, 100)),
            (product("comfort"), rates(220, 115, 28, 650, 120)),
            (product("van"), rates(300, 150, 35, 900, 150)),
            (product("shared"), rates(100, 60, 14, 350, 80)),
        ]),
    }
}

/// The currency of [`built_in`].
///
/// # Panics
/// Never: it is three capital letters.
pub fn built_in_currency() -> Currency {
    "EUR".parse().expect("EUR is three capital letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff(version: &str, begins_s: i64) -> Tariff {
        Tariff {
            version: version.to_owned(),
            effective_from: DateTime::from_timestamp(begins_s, 0).unwrap(),
            ..built_in()
        }
    }

    fn refusal(tariffs: &[Tariff]) -> String {
        validate(tariffs).unwrap_err().to_string()
    }

    #[test]
    fn the_newest_that_has_begun_is_in_force() {
        let tariffs = [tariff("b", 200), tariff("a", 100), tariff("c", 300)];
        let at = |s| in_force(&tariffs, DateTime::from_timestamp(s, 0).unwrap());
        assert_eq!(at(100).unwrap().version, "a");
        assert_eq!(at(199).unwrap().version, "a");
        assert_eq!(at(200).unwrap().version, "b");
        assert_eq!(at(9_999).unwrap().version, "c");
        assert_eq!(
            at(99),
            Err(TariffError::NotYet(
                DateTime::from_timestamp(100, 0).unwrap()
            ))
        );
        assert_eq!(in_force(&[], DateTime::UNIX_EPOCH), Err(TariffError::None));
    }

    #[test]
    fn senseless_lists_are_refused() {
        validate(&[tariff("a", 1), tariff("b", 2)]).unwrap();
        assert_eq!(validate(&[]), Err(TariffError::None));
        assert!(refusal(&[tariff("a", 1), tariff("a", 2)]).contains("\"a\" is there twice"));
        assert!(refusal(&[tariff("a", 1), tariff("b", 1)]).contains("both begin at 1970"));
        assert!(
            refusal(&[tariff("a", 1), tariff("b b", 2)]).contains("tariffs[1].version \"b b\"")
        );
        let mut empty = tariff("a", 1);
        empty.products.clear();
        assert!(refusal(&[empty]).contains("no product"));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let refused = |change: fn(&mut Tariff, &mut Rates), field: &str| {
            let mut tariff = tariff("a", 1);
            let (name, mut rates) = tariff.products.pop_first().unwrap();
            change(&mut tariff, &mut rates);
            tariff.products.insert(name, rates);
            let text = refusal(&[tariff]);
            assert!(text.contains(field), "{text}");
        };
        refused(|t, _| t.tax_basis_points = 10_001, "tax_basis_points");
        refused(|t, _| t.tax_basis_points = -1, "tax_basis_points");
        refused(|_, r| r.base_minor = -1, "products.comfort.base_minor");
        refused(|_, r| r.per_km_minor = -1, "per_km_minor");
        refused(|_, r| r.per_minute_minor = i64::MIN, "per_minute_minor");
        refused(|_, r| r.minimum_minor = MAX_MINOR + 1, "minimum_minor");
        refused(|_, r| r.booking_fee_minor = -7, "booking_fee_minor");
        refused(
            |_, r| r.platform_share_basis_points = 10_001,
            "platform_share_basis_points",
        );
    }

    #[test]
    fn gates_that_are_none_are_named() {
        let bridge = TollGate {
            id: "bridge".to_owned(),
            area: crate::place::Circle {
                latitude: 41.1,
                longitude: -8.6,
                radius_m: 50.0,
            },
            toll_minor: 310,
        };
        let with = |tolls: Vec<TollGate>| Tariff {
            tolls,
            ..tariff("a", 1)
        };
        assert_eq!(validate(&[with(vec![bridge.clone()])]), Ok(()));
        let twice = refusal(&[with(vec![bridge.clone(), bridge.clone()])]);
        assert!(
            twice.contains("toll \"bridge\" of \"a\" is there twice"),
            "{twice}"
        );
        let mut nowhere = bridge.clone();
        nowhere.area.radius_m = 0.0;
        let nowhere = refusal(&[with(vec![nowhere])]);
        assert!(nowhere.contains("needs a radius above 0"), "{nowhere}");
        let paid = TollGate {
            toll_minor: -1,
            ..bridge
        };
        let paid = refusal(&[with(vec![paid])]);
        assert!(paid.contains("tolls.bridge.toll_minor"), "{paid}");
    }

    #[test]
    fn any_change_changes_the_hash() {
        let body = Body {
            currency: built_in_currency(),
            tariff: built_in(),
        };
        let hash = body.hash().unwrap();
        assert_eq!(body.clone().hash().unwrap(), hash);
        let mut other = body.clone();
        other.currency = "CHF".parse().unwrap();
        assert_ne!(other.hash().unwrap(), hash);
        let mut other = body.clone();
        for rates in other.tariff.products.values_mut() {
            rates.per_km_minor += 1;
        }
        assert_ne!(other.hash().unwrap(), hash);
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(
            serde_json::from_str::<Body>(&text).unwrap().hash().unwrap(),
            hash
        );
    }
}
