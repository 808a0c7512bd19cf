//! What can be set. Durations are written for people: `3m`, `500ms`.

use std::time::Duration;

use jitney_platform::{line::LineConfig, outbox::RelayConfig};
use serde::{Deserialize, Serialize};

use crate::{app::chrono_of, command::cancel::CancellationRules, state::Limits};

/// The trip service's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a driver is looked for before the ride is given up (EXPIRED). Begins anew when a
    /// driver gives the ride back.
    #[serde(with = "humantime_serde")]
    pub search_timeout: Duration,
    /// How often rides without a running search are looked for. Bounds how long a ride waits after
    /// the process that searched for it is gone.
    #[serde(with = "humantime_serde")]
    pub search_recovery_interval: Duration,
    /// How long a process that searches may be silent before another one takes its searches over.
    #[serde(with = "humantime_serde")]
    pub search_lease: Duration,
    /// How long after the end of an offer, or of a search, matching's word is waited for before this
    /// service ends it itself. Longer than matching's own grace.
    #[serde(with = "humantime_serde")]
    pub search_backstop: Duration,
    /// How long an accept waits for its offer to be recorded, when the driver was quicker than
    /// matching's word to this service. Longer than `search_lease` and `search_recovery_interval`
    /// together, so that an offer made just before this service was killed can still be accepted.
    #[serde(with = "humantime_serde")]
    pub offer_record_wait: Duration,
    /// How many wrong PINs lock a ride against being started. At least 1.
    pub pin_tries_max: u32,
    /// Stops of one ride between pick-up and drop-off, at most. Matching's `route_points_max` must allow
    /// three places more: pick-up, drop-off and, where the destination is changed, the car's.
    pub stops_max: usize,
    /// How long a driver waits at the pick-up before the rider may be declared as not coming.
    #[serde(with = "humantime_serde")]
    pub no_show_after: Duration,
    /// When a rider's calling off costs the tariff's cancellation fee.
    pub cancellation: Cancellation,
    /// Rides that are booked for later.
    pub booking: BookingConfig,
    /// What time alone brings about.
    pub timers: TimerConfig,
    /// When a ride is priced by what was driven.
    pub final_fare: FinalFare,
    /// Links to a ride.
    pub share: ShareConfig,
    /// Ratings.
    pub rating: RatingConfig,
    /// How long after the end of a ride its rider and driver may still call for help from it.
    #[serde(with = "humantime_serde")]
    pub sos_after_end: Duration,
    /// How long a call to another service may take.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long an accept waits for matching to name the vehicle; without an answer the ride is
    /// assigned without it.
    #[serde(with = "humantime_serde")]
    pub vehicle_timeout: Duration,
    /// How long after its start a request for a ride that nobody finished is given up and its hold
    /// released. Much longer than `call_timeout`.
    #[serde(with = "humantime_serde")]
    pub hold_recovery_after: Duration,
    /// How often such requests are looked for.
    #[serde(with = "humantime_serde")]
    pub hold_recovery_interval: Duration,
    /// How long the answer to an idempotency key is kept.
    #[serde(with = "humantime_serde")]
    pub idempotency_retention: Duration,
    /// How often other processes' changes are looked for on behalf of the watchers of this one.
    #[serde(with = "humantime_serde")]
    pub watch_poll_interval: Duration,
    /// How long the watch of a ride that has ended goes on when its payment is not settled yet.
    #[serde(with = "humantime_serde")]
    pub watch_payment_wait: Duration,
    /// How many watches one process serves at a time; more are refused as overload.
    pub watch_streams_max: usize,
    /// How drivers' moves that wait are carried out together.
    pub batch: LineConfig,
    /// How events are delivered to matching and to billing.
    pub relay: RelayConfig,
}

/// When a rider's calling off costs the tariff's cancellation fee. It is always free before a driver has
/// the ride.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cancellation {
    /// It is free for this long after a driver took the ride.
    #[serde(with = "humantime_serde")]
    pub free_for: Duration,
    /// It is free when the driver is later at the pick-up than reckoned by more than this.
    #[serde(with = "humantime_serde")]
    pub late_by: Duration,
    /// It is free while the driver is farther by road from the pick-up than this, metres; 0 turns this
    /// rule off.
    pub free_beyond_meters: u32,
}

impl Default for Cancellation {
    fn default() -> Self {
        Self {
            free_for: Duration::from_secs(2 * 60),
            late_by: Duration::from_secs(5 * 60),
            free_beyond_meters: 0,
        }
    }
}

/// Rides that are booked for later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BookingConfig {
    /// How far ahead at least; who is in a greater hurry asks for a ride now.
    #[serde(with = "humantime_serde")]
    pub ahead_min: Duration,
    /// How far ahead at most. At most billing's `quote_ahead_max`.
    #[serde(with = "humantime_serde")]
    pub ahead_max: Duration,
    /// How long before the pick-up the search for a driver may begin. From then on it begins once the
    /// nearest driver needs all the time that is left but for `spare`, and at once where none is near.
    #[serde(with = "humantime_serde")]
    pub release_before: Duration,
    /// How much earlier than booked a driver should be there.
    #[serde(with = "humantime_serde")]
    pub spare: Duration,
    /// How often booked rides are looked at.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
}

impl Default for BookingConfig {
    fn default() -> Self {
        Self {
            ahead_min: Duration::from_secs(10 * 60),
            ahead_max: Duration::from_secs(31 * 24 * 60 * 60),
            release_before: Duration::from_secs(30 * 60),
            spare: Duration::from_secs(5 * 60),
            poll_interval: Duration::from_secs(5),
        }
    }
}

/// What time alone brings about for live rides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimerConfig {
    /// How long after it was made, or renewed last, the hold of a live ride is renewed. Much shorter than
    /// billing's `hold_validity`, so that there is time to try again.
    #[serde(with = "humantime_serde")]
    pub renew_after: Duration,
    /// How long after the driver has come to the pick-up, and after the time that was booked, a rider counts
    /// as not coming though the driver has not said so, if the car still stands there. At least
    /// `no_show_after`; 0 leaves it to the driver.
    #[serde(with = "humantime_serde")]
    pub no_show_after: Duration,
    /// How far from the pick-up a car stands there, metres as the crow flies.
    pub no_show_within_meters: u32,
    /// How often rides are looked at.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
}

impl Default for TimerConfig {
    fn default() -> Self {
        Self {
            renew_after: Duration::from_secs(6 * 60 * 60),
            no_show_after: Duration::from_secs(20 * 60),
            no_show_within_meters: 150,
            poll_interval: Duration::from_secs(10),
        }
    }
}

/// When a ride is priced by what was driven. Within these bounds the up-front price holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinalFare {
    /// By how much the distance may differ from the quote's, percent of that.
    pub distance_percent: u32,
    /// By how much it may differ in any case, metres.
    pub distance_spare_meters: u32,
    /// By how much the time may differ from the quote's, percent of that.
    pub duration_percent: u32,
    /// By how much it may differ in any case.
    #[serde(with = "humantime_serde")]
    pub duration_spare: Duration,
    /// A car that was not seen for longer than this was not followed.
    #[serde(with = "humantime_serde")]
    pub gap_max: Duration,
    /// How long after the end matching is waited for when it is away.
    #[serde(with = "humantime_serde")]
    pub measure_within: Duration,
}

impl Default for FinalFare {
    fn default() -> Self {
        Self {
            distance_percent: 25,
            distance_spare_meters: 1_000,
            duration_percent: 75,
            duration_spare: Duration::from_secs(10 * 60),
            gap_max: Duration::from_secs(3 * 60),
            measure_within: Duration::from_secs(60),
        }
    }
}

/// Links by which somebody without an account sees a ride.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShareConfig {
    /// How long a link shows something at most; of a booked ride, from its pick-up on.
    #[serde(with = "humantime_serde")]
    pub valid_for: Duration,
    /// How long after the ride's end it shows that it has ended.
    #[serde(with = "humantime_serde")]
    pub after_end: Duration,
}

impl Default for ShareConfig {
    fn default() -> Self {
        Self {
            valid_for: Duration::from_secs(24 * 60 * 60),
            after_end: Duration::from_secs(30 * 60),
        }
    }
}

/// What riders and drivers think of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatingConfig {
    /// How long after its end a ride may be rated.
    #[serde(with = "humantime_serde")]
    pub open_for: Duration,
    /// How many of the newest ratings count.
    pub newest: u32,
}

impl Default for RatingConfig {
    fn default() -> Self {
        Self {
            open_for: Duration::from_secs(7 * 24 * 60 * 60),
            newest: 500,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            search_timeout: Duration::from_secs(3 * 60),
            search_recovery_interval: Duration::from_secs(2),
            search_lease: Duration::from_secs(5),
            search_backstop: Duration::from_secs(10),
            offer_record_wait: Duration::from_secs(8),
            pin_tries_max: 5,
            stops_max: 5,
            no_show_after: Duration::from_secs(5 * 60),
            cancellation: Cancellation::default(),
            booking: BookingConfig::default(),
            timers: TimerConfig::default(),
            final_fare: FinalFare::default(),
            share: ShareConfig::default(),
            rating: RatingConfig::default(),
            sos_after_end: Duration::from_secs(60 * 60),
            call_timeout: Duration::from_secs(5),
            vehicle_timeout: Duration::from_millis(250),
            hold_recovery_after: Duration::from_secs(5 * 60),
            hold_recovery_interval: Duration::from_secs(30),
            idempotency_retention: Duration::from_secs(24 * 60 * 60),
            watch_poll_interval: Duration::from_secs(1),
            watch_payment_wait: Duration::from_secs(5),
            watch_streams_max: 20_000,
            batch: LineConfig::default(),
            relay: RelayConfig::default(),
        }
    }
}

impl Config {
    /// What commands are judged by.
    pub fn limits(&self) -> Limits {
        Limits {
            pin_tries_max: self.pin_tries_max,
            search_timeout: chrono_of(self.search_timeout),
            no_show_after: chrono_of(self.no_show_after),
            cancellation: CancellationRules {
                free_for: chrono_of(self.cancellation.free_for),
                late_by: chrono_of(self.cancellation.late_by),
                free_beyond_m: self.cancellation.free_beyond_meters.into(),
            },
        }
    }

    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the setting and what it must be.
    pub fn check(&self) -> anyhow::Result<()> {
        let positive = [
            ("search_timeout", self.search_timeout),
            ("search_recovery_interval", self.search_recovery_interval),
            ("call_timeout", self.call_timeout),
            ("hold_recovery_interval", self.hold_recovery_interval),
            ("watch_poll_interval", self.watch_poll_interval),
            ("booking.poll_interval", self.booking.poll_interval),
            ("timers.poll_interval", self.timers.poll_interval),
            ("timers.renew_after", self.timers.renew_after),
        ];
        for (name, value) in positive {
            anyhow::ensure!(!value.is_zero(), "{name} must be more than 0");
        }
        anyhow::ensure!(
            self.booking.ahead_max >= self.booking.ahead_min,
            "booking.ahead_max must be at least booking.ahead_min"
        );
        anyhow::ensure!(
            self.timers.no_show_after.is_zero() || self.timers.no_show_after >= self.no_show_after,
            "timers.no_show_after must be 0s or at least no_show_after"
        );
        anyhow::ensure!(
            self.share.valid_for >= Duration::from_secs(1),
            "share.valid_for must be at least 1s"
        );
        self.batch
            .validate()
            .map_err(|error| anyhow::anyhow!("batch.{error}"))?;
        anyhow::ensure!(self.rating.newest >= 1, "rating.newest must be at least 1");
        anyhow::ensure!(self.pin_tries_max >= 1, "pin_tries_max must be at least 1");
        anyhow::ensure!(
            self.watch_streams_max >= 1,
            "watch_streams_max must be at least 1"
        );
        anyhow::ensure!(
            self.search_lease > self.search_recovery_interval,
            "search_lease must be longer than search_recovery_interval, or it runs out in between"
        );
        anyhow::ensure!(
            self.hold_recovery_after >= self.call_timeout * 4,
            "hold_recovery_after must be at least four times call_timeout, or a request that is \
             still under way is given up"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_survive_writing() {
        let config = Config::default();
        config.check().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let some: Config = serde_json::from_str(r#"{"search_timeout": "90s"}"#).unwrap();
        assert_eq!(some.search_timeout, Duration::from_secs(90));
        let error = serde_json::from_str::<Config>(r#"{"serch_timeout": "90s"}"#).unwrap_err();
        assert!(error.to_string().contains("serch_timeout"), "{error}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let second = Duration::from_secs(1);
        for (config, name) in [
            (
                Config {
                    pin_tries_max: 0,
                    ..Config::default()
                },
                "pin_tries_max",
            ),
            (
                Config {
                    search_lease: second,
                    ..Config::default()
                },
                "search_lease",
            ),
            (
                Config {
                    hold_recovery_after: second,
                    ..Config::default()
                },
                "hold_recovery_after",
            ),
            (
                Config {
                    search_timeout: Duration::ZERO,
                    ..Config::default()
                },
                "search_timeout",
            ),
            (
                Config {
                    batch: LineConfig {
                        workers: 0,
                        ..LineConfig::default()
                    },
                    ..Config::default()
                },
                "batch.workers",
            ),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
