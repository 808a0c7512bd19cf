//! How often somebody may ask: a burst, then a steady rate, by whoever it is that is counted.

use std::{fmt, hash::Hash, net::IpAddr, num::NonZeroU32, time::Duration};

use chrono::{DateTime, Utc};
use governor::{
    Quota, RateLimiter, clock::Clock as Time, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use jitney_platform::clock::Clock;

/// How many are remembered before those that stand at rest are forgotten.
const KEPT: usize = 10_000;

type Counted<K> = RateLimiter<K, DashMapStateStore<K>, Handed, NoOpMiddleware<Nanos>>;

/// Counts by key; without a quota nothing is ever too often.
pub struct Rate<K: Hash + Eq + Clone> {
    counted: Option<Counted<K>>,
    clock: Handed,
    forget_above: std::sync::atomic::AtomicUsize,
}

/// A quota of `burst` at once and one more each `1 / per_second` seconds; `None` where that is no bound.
pub fn quota(per_second: u32, burst: u32) -> Option<Quota> {
    let (rate, burst) = (NonZeroU32::new(per_second)?, NonZeroU32::new(burst)?);
    Some(Quota::per_second(rate).allow_burst(burst))
}

/// A quota of so many in a minute, which may all come at once.
pub fn per_minute(count: u32) -> Option<Quota> {
    NonZeroU32::new(count).map(Quota::per_minute)
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// Bounds as the quota says.
    pub fn new(quota: Option<Quota>, clock: Clock) -> Rate<K> {
        let clock = Handed {
            start: clock.now(),
            clock,
        };
        Rate {
            counted: quota.map(|quota| RateLimiter::dashmap_with_clock(quota, clock.clone())),
            clock,
            forget_above: KEPT.into(),
        }
    }

    /// Counts one; how long to wait where that is one too many.
    pub fn count(&self, key: &K) -> Result<(), Duration> {
        use std::sync::atomic::Ordering::Relaxed;
        let Some(counted) = &self.counted else {
            return Ok(());
        };
        if counted.len() > self.forget_above.load(Relaxed) {
            counted.retain_recent();
            // Looked through again only when it has grown by as much: the cost stays even.
            let left = counted.len();
            self.forget_above.store(KEPT.max(2 * left), Relaxed);
        }
        let counted = counted.check_key(key);
        counted.map_err(|early| early.wait_time_from(self.clock.now()))
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Rate<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").finish_non_exhaustive()
    }
}

/// The clock that was handed in, as the counters want it.
#[derive(Clone)]
struct Handed {
    start: DateTime<Utc>,
    clock: Clock,
}

impl Time for Handed {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let since = self.clock.now() - self.start;
        Nanos::new(
            since
                .num_nanoseconds()
                .map_or(u64::MAX, |ns| u64::try_from(ns).unwrap_or(0)),
        )
    }
}

/// Who is counted by address: a host, or for IPv6 the network of a household, which has 2^64 hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        Network(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                std::net::Ipv6Addr::from_bits(network).into()
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate_for_each_key() {
        let (clock, hand) = Clock::manual(DateTime::UNIX_EPOCH);
        let rate = Rate::new(quota(10, 3), clock);
        for _ in 0..3 {
            rate.count(&1).unwrap();
        }
        assert_eq!(rate.count(&1).unwrap_err(), Duration::from_millis(100));
        rate.count(&2).unwrap();
        hand.advance(Duration::from_millis(99));
        assert_eq!(rate.count(&1).unwrap_err(), Duration::from_millis(1));
        hand.advance(Duration::from_millis(1));
        rate.count(&1).unwrap();
        let open = Rate::new(quota(0, 3), Clock::system());
        (0..1000).for_each(|_| open.count(&1).unwrap());
    }

    #[test]
    fn those_at_rest_are_forgotten() {
        let (clock, hand) = Clock::manual(DateTime::UNIX_EPOCH);
        let rate = Rate::new(quota(10, 3), clock);
        for key in 0..30_000 {
            hand.advance(Duration::from_millis(10));
            rate.count(&key).unwrap();
        }
        assert!(rate.counted.as_ref().unwrap().len() <= KEPT + 1);
    }

    #[test]
    fn a_household_is_one_network() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
        assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
    }
}
