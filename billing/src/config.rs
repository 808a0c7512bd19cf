//! The `[billing]` part of the configuration.

use std::time::Duration;

use chrono_tz::Tz;
use jitney_platform::{
    line::{LineConfig, LineConfigError},
    outbox::RelayConfig,
};
use jitney_proto::money::Currency;
use serde::{Deserialize, Serialize};

use crate::{
    fare::MAX_MINOR,
    provider::config::ProviderConfig,
    signing::SigningConfig,
    tariff::{self, Tariff, TariffError},
};

/// How fares are made and holds are limited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The currency of every tariff and of the hold limit: ISO 4217, for example `EUR`.
    pub currency: Currency,
    /// How long a quote may be held, counted from when it was made. For example `10m`.
    #[serde(with = "humantime_serde")]
    pub quote_validity: Duration,
    /// How far ahead a ride may be priced and its price kept beyond `quote_validity`. Rides that begin
    /// later have to be held by then.
    #[serde(with = "humantime_serde")]
    pub quote_ahead_max: Duration,
    /// How long a hold may be captured, counted from when it was made or renewed last. Trips renews
    /// those of rides that go on; one that lapsed can no longer be captured. For example `24h`.
    #[serde(with = "humantime_serde")]
    pub hold_validity: Duration,
    /// How old a hold may become by being renewed. Banks let authorizations go after a week or so:
    /// less than that. At least `hold_validity`.
    #[serde(with = "humantime_serde")]
    pub hold_age_max: Duration,
    /// What a rider's open holds may add up to, minor units of `currency`. A fare that would go
    /// above it is declined.
    pub hold_limit_minor: i64,
    /// What the tips of one trip may add up to, minor units of `currency`; 0 takes none.
    pub tip_max_minor: i64,
    /// How long after a ride was paid its driver may be tipped. For example `30days`.
    #[serde(with = "humantime_serde")]
    pub tip_window: Duration,
    /// By which clocks months of statements begin and end: a zone of the IANA database, for example
    /// `Europe/Lisbon`. Left out: those of the night of the tariff in force, or UTC when it has none.
    pub time_zone: Option<Tz>,
    /// How often holds that ran out are released. Refusals never wait for it: an old hold cannot be
    /// captured, and it never stands in the way of a new one.
    #[serde(with = "humantime_serde")]
    pub lapse_interval: Duration,
    /// How captures that wait are run together.
    pub batch: LineConfig,
    /// How trips is told where payments stand.
    pub relay: RelayConfig,
    /// What quotes are signed with.
    pub quote_signing: SigningConfig,
    /// Who moves the money.
    pub provider: ProviderConfig,
    /// Every tariff there is, in any order. The one in force is the newest whose `effective_from`
    /// has come. A version that a database has seen never changes: give new prices a new version.
    pub tariffs: Vec<Tariff>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            currency: tariff::built_in_currency(),
            quote_validity: Duration::from_secs(10 * 60),
            quote_ahead_max: Duration::from_secs(60 * 24 * 60 * 60),
            hold_validity: Duration::from_secs(24 * 60 * 60),
            hold_age_max: 6 * DAY,
            hold_limit_minor: 50_000,
            tip_max_minor: 20_000,
            tip_window: 30 * DAY,
            time_zone: None,
            lapse_interval: Duration::from_secs(30),
            batch: LineConfig::default(),
            relay: RelayConfig::default(),
            quote_signing: SigningConfig::default(),
            provider: ProviderConfig::default(),
            tariffs: vec![tariff::built_in()],
        }
    }
}

/// Why a configuration is refused. The text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A duration that is zero or absurdly long.
    #[error("billing.{field} must be between {shortest:?} and {longest:?}, not {value:?}")]
    Duration {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: Duration,
        /// The least it may hold.
        shortest: Duration,
        /// The most it may hold.
        longest: Duration,
    },
    /// A limit that is negative or too large to be added up safely.
    #[error("billing.{field} must be between 0 and {MAX_MINOR}, not {value}")]
    Amount {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// A share of more than everything.
    #[error("billing.{field} must be between 0 and 100, not {value}")]
    Percent {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u8,
    },
    /// How captures are run together.
    #[error("billing.batch.{0}")]
    Batch(#[from] LineConfigError),
    /// A tariff that makes no sense.
    #[error(transparent)]
    Tariff(#[from] TariffError),
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Config {
    /// Checks every rule a type cannot hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let within = |field, value: Duration, shortest, longest| {
            if (shortest..=longest).contains(&value) {
                Ok(())
            } else {
                Err(ConfigError::Duration {
                    field,
                    value,
                    shortest,
                    longest,
                })
            }
        };
        within(
            "quote_validity",
            self.quote_validity,
            Duration::from_millis(1),
            DAY,
        )?;
        within(
            "quote_ahead_max",
            self.quote_ahead_max,
            Duration::ZERO,
            366 * DAY,
        )?;
        within(
            "hold_validity",
            self.hold_validity,
            Duration::from_millis(1),
            31 * DAY,
        )?;
        within(
            "hold_age_max",
            self.hold_age_max,
            self.hold_validity,
            31 * DAY,
        )?;
        within(
            "lapse_interval",
            self.lapse_interval,
            Duration::from_millis(10),
            DAY,
        )?;
        within(
            "quote_signing.unsigned_for",
            self.quote_signing.unsigned_for,
            Duration::ZERO,
            366 * DAY,
        )?;
        self.batch.validate()?;
        within(
            "tip_window",
            self.tip_window,
            Duration::from_millis(1),
            366 * DAY,
        )?;
        for (field, value) in [
            ("hold_limit_minor", self.hold_limit_minor),
            ("tip_max_minor", self.tip_max_minor),
        ] {
            if !(0..=MAX_MINOR).contains(&value) {
                return Err(ConfigError::Amount { field, value });
            }
        }
        self.provider.validate()?;
        tariff::validate(&self.tariffs)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn the_default_survives_being_written_down() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn a_sample_is_read() {
        let config: Config = toml::from_str(
            r#"
            currency = "JPY"
            quote_validity = "5m"
            hold_limit_minor = 30000

            [[tariffs]]
            version = "tokyo-1"
            effective_from = "2026-01-01T00:00:00+09:00"
            tax_basis_points = 1000
            [tariffs.products.economy]
            base_minor = 500
            per_km_minor = 300
            per_minute_minor = 45
            minimum_minor = 900
            booking_fee_minor = 100
            platform_share_basis_points = 1800
            "#,
        )
        .unwrap();
        config.validate().unwrap();
        assert_eq!(config.currency.exponent(), 0);
        assert_eq!(config.hold_validity, Config::default().hold_validity);
        assert_eq!(config.tariffs[0].products.len(), 1);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = toml::from_str::<Config>("hold_limit = 3")
            .unwrap_err()
            .to_string();
        assert!(error.contains("hold_limit"), "{error}");
        let error = toml::from_str::<Config>(
            "[[tariffs]]\nversion = 'a'\neffective_from = '2026-01-01T00:00:00Z'\nvat = 3",
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("vat"), "{error}");
    }

    #[test]
    fn bad_numbers_are_refused_by_name() {
        let refuse = |change: fn(&mut Config), word: &str| {
            let mut config = Config::default();
            change(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        refuse(
            |c| c.quote_validity = Duration::ZERO,
            "billing.quote_validity",
        );
        refuse(|c| c.hold_validity = 365 * DAY, "billing.hold_validity");
        refuse(
            |c| c.lapse_interval = Duration::ZERO,
            "billing.lapse_interval",
        );
        refuse(|c| c.batch.size_max = 0, "billing.batch.size_max");
        refuse(|c| c.batch.queue_max = 0, "billing.batch.queue_max");
        refuse(|c| c.batch.workers = 1_000, "billing.batch.workers");
        refuse(|c| c.batch.wait_max = DAY, "billing.batch.wait_max");
        refuse(
            |c| c.batch.stall_max = Duration::ZERO,
            "billing.batch.stall_max",
        );
        refuse(|c| c.hold_limit_minor = -1, "billing.hold_limit_minor");
        refuse(|c| c.tip_max_minor = -1, "billing.tip_max_minor");
        refuse(|c| c.tip_window = Duration::ZERO, "billing.tip_window");
        refuse(|c| c.tariffs.clear(), "billing.tariffs");
    }
}
