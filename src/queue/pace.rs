//! How fast messages may go to a peer, where the operator set a rate.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::{Clock, Ticks};
use crate::protocol::Domain;
use crate::transport::Destination;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>;

/// The rates of peers that have one.
pub(super) struct Paces {
    limiters: HashMap<Domain, Limiter>,
    clock: Clock,
}

impl Paces {
    /// `rates`: so many messages in such a time.
    pub(super) fn new(
        rates: impl IntoIterator<Item = (Domain, NonZeroU32, Duration)>,
        clock: Clock,
    ) -> Self {
        let limiters = rates
            .into_iter()
            .map(|(domain, count, period)| {
                let each = (period / count.get()).max(Duration::from_nanos(1));
                let quota = Quota::with_period(each)
                    .expect("a nanosecond at least")
                    .allow_burst(count);
                let ticks = Ticks::of(clock.clone());
                (domain, Limiter::direct_with_clock(quota, ticks))
            })
            .collect();
        Self { limiters, clock }
    }

    /// Waits until so many messages may go there.
    pub(super) async fn wait(&self, destination: &Destination, messages: usize) {
        let Destination::Peer(domain) = destination else {
            return;
        };
        let Some(limiter) = self.limiters.get(domain) else {
            return;
        };
        for _ in 0..messages {
            while let Err(until) = limiter.check() {
                let now = Ticks::of(self.clock.clone()).now();
                let left = Duration::from(until.earliest_possible().duration_since(now));
                self.clock.wait(left.max(Duration::from_millis(1))).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    #[tokio::test]
    async fn what_goes_beyond_the_rate_waits() {
        let test = TestClock::at(Timestamp::from_millis(0));
        let domain = Domain::parse("partner.test").unwrap();
        let rate = (
            domain.clone(),
            NonZeroU32::new(2).unwrap(),
            Duration::from_secs(1),
        );
        let paces = Paces::new([rate], Clock::over(test.clone()));
        let peer = Destination::Peer(domain);
        paces.wait(&peer, 2).await;
        let mut third = Box::pin(paces.wait(&peer, 1));
        tokio::select! {
            biased;
            () = &mut third => panic!("it did not wait"),
            () = tokio::task::yield_now() => {}
        }
        test.advance(Duration::from_millis(500));
        third.await;
        let other = Destination::Peer(Domain::parse("other.test").unwrap());
        paces.wait(&other, 1_000).await;
    }
}
