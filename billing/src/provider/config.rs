//! The `[billing.provider]` part of the configuration.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// Who moves the money, and how patiently they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Which provider.
    pub kind: ProviderKind,
    /// How often the ledger is looked through for what the provider is to be told.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How long one call may take. Then its outcome is unknown and is asked for.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The wait before what has no outcome is asked for again. It doubles each time.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// The longest such wait.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// How the sandbox behaves.
    pub sandbox: SandboxConfig,
    /// How Stripe is reached.
    pub stripe: StripeConfig,
}

/// How Stripe is reached. Secrets stand in files of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StripeConfig {
    /// The file with the secret key. Required with `kind = "stripe"`.
    pub secret_key_file: Option<PathBuf>,
    /// The file with the secret that events are signed with. Left out: events are refused.
    pub webhook_secret_file: Option<PathBuf>,
    /// Where the API is; `https`, or plain `http` on this machine.
    pub base_url: String,
}

impl Default for StripeConfig {
    fn default() -> Self {
        Self {
            secret_key_file: None,
            webhook_secret_file: None,
            base_url: "https://api.stripe.com".to_owned(),
        }
    }
}

/// The providers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Plays a provider. No money moves.
    #[default]
    Sandbox,
    /// Stripe.
    Stripe,
    /// None: whoever runs this moves the money by other means.
    None,
}

/// How the sandbox behaves; what goes wrong is drawn from the seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// What its faults are drawn from.
    pub seed: u64,
    /// How many of a hundred authorisations and transfers it declines.
    pub decline_percent: u8,
    /// How long it takes to answer.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// How many of a hundred answers it loses: of these half before and half after it did as it was asked.
    pub lose_answer_percent: u8,
    /// How many of a hundred events (webhooks) it sends twice. It sends one about everything it did or declined.
    pub duplicate_webhook_percent: u8,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            kind: ProviderKind::Sandbox,
            poll_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(5 * 60),
            sandbox: SandboxConfig::default(),
            stripe: StripeConfig::default(),
        }
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

impl ProviderConfig {
    /// Checks every rule a type cannot hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let millisecond = Duration::from_millis(1);
        for (field, value, shortest) in [
            (
                "provider.poll_interval",
                self.poll_interval,
                10 * millisecond,
            ),
            ("provider.timeout", self.timeout, millisecond),
            ("provider.backoff_min", self.backoff_min, millisecond),
            ("provider.backoff_max", self.backoff_max, self.backoff_min),
            ("provider.sandbox.delay", self.sandbox.delay, Duration::ZERO),
        ] {
            if !(shortest..=HOUR).contains(&value) {
                return Err(ConfigError::Duration {
                    field,
                    value,
                    shortest,
                    longest: HOUR,
                });
            }
        }
        for (field, value) in [
            (
                "provider.sandbox.decline_percent",
                self.sandbox.decline_percent,
            ),
            (
                "provider.sandbox.lose_answer_percent",
                self.sandbox.lose_answer_percent,
            ),
            (
                "provider.sandbox.duplicate_webhook_percent",
                self.sandbox.duplicate_webhook_percent,
            ),
        ] {
            if value > 100 {
                return Err(ConfigError::Percent { field, value });
            }
        }
        Ok(())
    }

    /// How long to wait before the next attempt, after so many.
    pub fn backoff(&self, attempts: i32) -> Duration {
        let doublings = u32::try_from(attempts.clamp(1, 32) - 1).unwrap_or(0);
        let wait = self
            .backoff_min
            .checked_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        wait.unwrap_or(self.backoff_max).min(self.backoff_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let config = ProviderConfig {
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(10),
            ..ProviderConfig::default()
        };
        let waits = [0, 1, 2, 3, 4, 5, i32::MAX].map(|attempts| config.backoff(attempts).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        ProviderConfig::default().validate().unwrap();
        let refuse = |change: fn(&mut ProviderConfig), word: &str| {
            let mut config = ProviderConfig::default();
            change(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        refuse(|c| c.timeout = Duration::ZERO, "billing.provider.timeout");
        refuse(
            |c| c.backoff_max = Duration::ZERO,
            "billing.provider.backoff_max",
        );
        refuse(
            |c| c.sandbox.decline_percent = 101,
            "sandbox.decline_percent",
        );
        refuse(
            |c| c.sandbox.duplicate_webhook_percent = 101,
            "sandbox.duplicate_webhook_percent",
        );
        assert!(toml::from_str::<ProviderConfig>("kind = 'barter'").is_err());
    }
}
