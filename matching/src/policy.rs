//! Dispatch policies: how a round decides who is offered which ride. A policy is a value, named in the
//! configuration; which one is used can be changed while the service runs, and a past round can be
//! decided again under any.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// How a round decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The oldest request takes the nearest driver, then the next oldest.
    Immediate,
    /// All requests and drivers together, so that the sum of the costs is least.
    Batched,
}

/// A dispatch policy. Times are written as in `"15s"`, `"250ms"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How a round decides: `immediate` or `batched`.
    pub method: Method,
    /// How long requests are collected before a round, and at least how far rounds lie apart. With
    /// 0 every request has its round at once.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Drivers that are considered for one request: the nearest so many. More are looked at where
    /// requests take them away from each other.
    pub candidates: u32,
    /// How far a driver may be from a new request, in driving time.
    #[serde(with = "humantime_serde")]
    pub reach: Duration,
    /// By how much the reach grows for each second that the rider has waited.
    #[serde(with = "humantime_serde")]
    pub reach_growth: Duration,
    /// The reach grows up to this.
    #[serde(with = "humantime_serde")]
    pub reach_max: Duration,
    /// What a second of the rider's waiting counts for when not everybody can have a driver, in percent
    /// of a second of driving. `batched` only.
    pub waiting_percent: u32,
    /// What a second of a driver's idleness takes off their driving time, in percent of a second: above
    /// 0, those who have waited long get rides that are a little farther. `batched` only.
    pub idle_percent: u32,
    /// Idleness counts up to this.
    #[serde(with = "humantime_serde")]
    pub idle_max: Duration,
    /// Drivers who will finish their ride within this time count as if they stood at its end, that much
    /// later, and may be offered the next one while they are on it. With 0 only free drivers are asked.
    #[serde(with = "humantime_serde")]
    pub chain_ahead: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self::immediate()
    }
}

impl Policy {
    /// Nearest driver first, at once.
    pub fn immediate() -> Self {
        Self {
            method: Method::Immediate,
            window: Duration::ZERO,
            candidates: 8,
            reach: Duration::from_secs(20 * 60),
            reach_growth: Duration::from_secs(10),
            reach_max: Duration::from_secs(60 * 60),
            waiting_percent: 0,
            idle_percent: 0,
            idle_max: Duration::ZERO,
            chain_ahead: Duration::ZERO,
        }
    }

    /// The whole assignment, every second.
    pub fn batched() -> Self {
        Self {
            method: Method::Batched,
            window: Duration::from_secs(1),
            candidates: 12,
            waiting_percent: 100,
            idle_percent: 2,
            idle_max: Duration::from_secs(30 * 60),
            ..Self::immediate()
        }
    }

    /// How far a driver may be from a request that has waited that long, in milliseconds.
    pub fn reach_ms(&self, waited_ms: u32) -> u32 {
        let grown = u64::from(waited_ms) * millis(self.reach_growth) / 1000;
        let reach = millis(self.reach) + grown;
        u32::try_from(reach.min(millis(self.reach_max))).unwrap_or(u32::MAX)
    }

    /// Looks for settings that cannot work.
    ///
    /// # Errors
    /// What is wrong, naming the key.
    pub fn check(&self) -> Result<(), String> {
        const LONGEST: Duration = Duration::from_secs(24 * 3600);
        if !(1..=1000).contains(&self.candidates) {
            return Err("candidates must be 1 to 1000".to_owned());
        }
        if self.reach.is_zero() || self.reach_max < self.reach {
            return Err("reach must be above 0, and reach_max at least as long".to_owned());
        }
        let times = [self.window, self.reach_max, self.idle_max, self.chain_ahead];
        if times.iter().any(|time| *time > LONGEST) || self.reach_growth > LONGEST {
            return Err("no time may be longer than 24h".to_owned());
        }
        if self.idle_percent > 1000 || self.waiting_percent > 10_000 {
            return Err("idle_percent goes up to 1000, waiting_percent to 10000".to_owned());
        }
        Ok(())
    }
}

/// A policy with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPolicy {
    /// As configured.
    pub name: String,
    /// What it says.
    pub policy: Policy,
}

/// Whole milliseconds of a time that was checked.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Reads configured policies: those with a ready-made policy's name change what they name of it, others
/// begin with `immediate`.
pub(crate) fn read_policies<'de, D>(from: D) -> Result<BTreeMap<String, Policy>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    use serde::de::Error;
    let given: BTreeMap<String, serde_json::Map<String, serde_json::Value>> =
        Deserialize::deserialize(from)?;
    let mut policies = default_policies();
    for (name, changes) in given {
        let base = policies.get(&name).cloned().unwrap_or_default();
        let mut policy = serde_json::to_value(base).map_err(D::Error::custom)?;
        if let Some(fields) = policy.as_object_mut() {
            fields.extend(changes);
        }
        let policy = serde_json::from_value(policy)
            .map_err(|error| D::Error::custom(format!("policy {name}: {error}")))?;
        policies.insert(name, policy);
    }
    Ok(policies)
}

/// The policies an operator can choose from, by name.
pub fn default_policies() -> BTreeMap<String, Policy> {
    [
        ("immediate", Policy::immediate()),
        ("batched", Policy::batched()),
    ]
    .into_iter()
    .map(|(name, policy)| (name.to_owned(), policy))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reach_grows_up_to_its_end() {
        let policy = Policy {
            reach: Duration::from_secs(300),
            reach_growth: Duration::from_secs(5),
            reach_max: Duration::from_secs(600),
            ..Policy::batched()
        };
        assert_eq!(policy.reach_ms(0), 300_000);
        assert_eq!(policy.reach_ms(10_000), 350_000);
        assert_eq!(policy.reach_ms(500), 302_500);
        assert_eq!(policy.reach_ms(u32::MAX), 600_000);
    }

    #[test]
    fn the_ready_made_are_sound_and_nonsense_is_not() {
        for policy in default_policies().values() {
            policy.check().unwrap();
        }
        let nonsense = [
            Policy {
                candidates: 0,
                ..Policy::batched()
            },
            Policy {
                reach: Duration::ZERO,
                ..Policy::batched()
            },
            Policy {
                window: Duration::from_secs(1_000_000),
                ..Policy::batched()
            },
        ];
        for policy in nonsense {
            policy.check().unwrap_err();
        }
    }
}
