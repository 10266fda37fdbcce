//! How often one client address may do something, whatever it is.
//!
//! One IPv6 client is a /64 network. Addresses that have been quiet are forgotten ([`AddressPace::tidy`]),
//! and so memory stays bounded by the number of clients that are active.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as Ticking, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::{Clock, Ticks};
use crate::net::network_of;

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Nanos>>;

/// A limit for each address. Cloning is cheap, and clones count together.
#[derive(Debug, Clone)]
pub(super) struct AddressPace {
    limiter: Arc<Limiter>,
    clock: Clock,
}

impl AddressPace {
    /// At most `count` times in each `period`, as many at once.
    pub(super) fn new(count: NonZeroU32, period: Duration, clock: Clock) -> Self {
        let each = (period / count.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each)
            .expect("a nanosecond at least")
            .allow_burst(count);
        let limiter = Limiter::dashmap_with_clock(quota, Ticks::of(clock.clone()));
        Self {
            limiter: Arc::new(limiter),
            clock,
        }
    }

    /// Counts once for `client`, or says when there is room for it again.
    pub(super) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        let checked = self.limiter.check_key(&network_of(client));
        checked.map(drop).map_err(|until| {
            let now = Ticks::of(self.clock.clone()).now();
            until.earliest_possible().duration_since(now).into()
        })
    }

    /// Forgets quiet addresses.
    pub(super) fn tidy(&self) {
        self.limiter.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    #[test]
    fn who_comes_too_often_must_wait_and_others_need_not() {
        let test = TestClock::at(Timestamp::from_millis(0));
        let (two, second) = (NonZeroU32::new(2).unwrap(), Duration::from_secs(1));
        let pace = AddressPace::new(two, second, Clock::over(test.clone()));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!([pace.check(one), pace.check(one)], [Ok(()), Ok(())]);
        assert_eq!(pace.check(one), Err(Duration::from_millis(500)));
        assert_eq!(pace.check(other), Ok(()));
        test.advance(Duration::from_millis(500));
        assert_eq!(pace.check(one), Ok(()));
        test.advance(Duration::from_secs(10));
        pace.tidy();
        assert!(pace.limiter.is_empty(), "who is quiet is forgotten");
    }

    #[test]
    fn a_64_network_is_one_client() {
        let clock = Clock::over(TestClock::at(Timestamp::from_millis(0)));
        let pace = AddressPace::new(NonZeroU32::MIN, Duration::from_secs(1), clock);
        assert_eq!(pace.check("2001:db8::1".parse().unwrap()), Ok(()));
        assert!(pace.check("2001:db8::2".parse().unwrap()).is_err());
        assert_eq!(pace.check("2001:db8:0:1::1".parse().unwrap()), Ok(()));
    }
}
