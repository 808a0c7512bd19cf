//! Time, handed in. Code asks the [`Clock`] it was given, so that a test or a replay decides what the
//! time is. Where money, offers or claims expire, the database's clock decides instead, inside the
//! statement.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

/// The longest the system clock sleeps before it looks at the wall again, which may have been set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Where the time comes from. Cloning it gives the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(watch::Receiver<DateTime<Utc>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until it is advanced. When the [`ManualClock`] is dropped it
    /// stands still for good, and sleepers sleep for good.
    pub fn manual(start: DateTime<Utc>) -> (Self, ManualClock) {
        let (sender, receiver) = watch::channel(start);
        (Self(Source::Manual(receiver)), ManualClock(sender))
    }

    /// The time now.
    #[allow(clippy::disallowed_methods)] // The one place that asks the machine.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Returns once the time is `deadline` or later.
    pub async fn sleep_until(&self, deadline: DateTime<Utc>) {
        match &self.0 {
            Source::System => {
                while let Ok(left) = (deadline - self.now()).to_std()
                    && !left.is_zero()
                {
                    tokio::time::sleep(left.min(LOOK_AGAIN)).await;
                }
            }
            Source::Manual(time) => {
                let mut time = time.clone();
                if time.wait_for(|now| *now >= deadline).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Returns after `duration`. Waits of the system clock go by the monotonic clock.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System => tokio::time::sleep(duration).await,
            Source::Manual(_) => self.sleep_until(later(self.now(), duration)).await,
        }
    }
}

/// The hand that moves a manual clock.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<DateTime<Utc>>);

impl ManualClock {
    /// Moves the time on; sleepers whose time has come wake.
    pub fn advance(&self, duration: Duration) {
        self.0.send_modify(|now| *now = later(*now, duration));
    }

    /// What the clock shows.
    pub fn now(&self) -> DateTime<Utc> {
        *self.0.borrow()
    }
}

/// `duration` after `time`, or the last moment there is.
fn later(time: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| time.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_the_hand_has_moved_far_enough() {
        let (clock, hand) = Clock::manual(DateTime::UNIX_EPOCH);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(10)).await;
                clock.now()
            }
        });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_secs(1));
        assert_eq!(
            sleeper.await.unwrap(),
            DateTime::UNIX_EPOCH + TimeDelta::seconds(10)
        );
    }

    #[tokio::test]
    async fn the_system_clock_sleeps_until_the_time_has_come() {
        let clock = Clock::system();
        let deadline = clock.now() + TimeDelta::milliseconds(20);
        clock.sleep_until(deadline).await;
        assert!(clock.now() >= deadline);
        clock.sleep_until(deadline).await; // In the past: at once.
    }

    #[test]
    fn no_duration_is_too_long() {
        assert_eq!(
            later(DateTime::UNIX_EPOCH, Duration::MAX),
            DateTime::<Utc>::MAX_UTC
        );
    }
}
