//! How fast messages may go to a peer, where the operator set a rate.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::{Clock, Ticks};
use crate::protocol::Domain;
use crate::transport::Destination;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>;
type EachDomain = RateLimiter<Domain, DashMapStateStore<Domain>, Ticks, NoOpMiddleware<Nanos>>;

/// The rates of peers that have one.
pub(super) struct Paces {
    limiters: HashMap<Domain, Limiter>,
    /// Of the mail to each domain, where there is such a rate.
    mail: Option<EachDomain>,
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
                let quota = quota(count, period);
                let ticks = Ticks::of(clock.clone());
                (domain, Limiter::direct_with_clock(quota, ticks))
            })
            .collect();
        Self {
            limiters,
            mail: None,
            clock,
        }
    }

    /// The same, with a rate of the mail to each domain.
    pub(super) fn with_mail(self, rate: Option<(NonZeroU32, Duration)>) -> Self {
        let ticks = Ticks::of(self.clock.clone());
        let limiter = |(count, period)| EachDomain::dashmap_with_clock(quota(count, period), ticks);
        Self {
            mail: rate.map(limiter),
            ..self
        }
    }

    /// Waits until so many messages may go there.
    pub(super) async fn wait(&self, destination: &Destination, messages: usize) {
        for _ in 0..messages {
            while let Some(left) = self.left(destination) {
                self.clock.wait(left.max(Duration::from_millis(1))).await;
            }
        }
    }

    /// Forgets domains that nothing went to for a while.
    pub(super) fn tidy(&self) {
        if let Some(mail) = &self.mail {
            mail.retain_recent();
        }
    }

    /// Takes a turn; says how long to wait where there is none.
    fn left(&self, destination: &Destination) -> Option<Duration> {
        let until = match destination {
            Destination::Peer(domain) => self.limiters.get(domain)?.check().err()?,
            Destination::Mail(domain) => self.mail.as_ref()?.check_key(domain).err()?,
            Destination::Agent(_) | Destination::Group(_) | Destination::List(_) => return None,
        };
        let now = Ticks::of(self.clock.clone()).now();
        Some(until.earliest_possible().duration_since(now).into())
    }
}

fn quota(count: NonZeroU32, period: Duration) -> Quota {
    let each = (period / count.get()).max(Duration::from_nanos(1));
    Quota::with_period(each)
        .expect("a nanosecond at least")
        .allow_burst(count)
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
    #[tokio::test]
    async fn each_domain_has_a_rate_of_its_own_for_mail() {
        let test = TestClock::at(Timestamp::from_millis(0));
        let rate = (NonZeroU32::new(2).unwrap(), Duration::from_secs(60));
        let paces = Paces::new([], Clock::over(test.clone())).with_mail(Some(rate));
        let mail = |name: &str| Destination::Mail(Domain::parse(name).unwrap());
        let (one, other) = (mail("one.test"), mail("other.test"));
        paces.wait(&one, 2).await;
        paces.wait(&other, 2).await;
        assert_eq!(paces.left(&one), Some(Duration::from_secs(30)));
        let peer = Destination::Peer(Domain::parse("one.test").unwrap());
        paces.wait(&peer, 1_000).await;
        test.advance(Duration::from_secs(30));
        assert_eq!(paces.left(&one), None);
        test.advance(Duration::from_secs(600));
        paces.tidy();
        assert!(
            paces.mail.is_some_and(|mail| mail.is_empty()),
            "quiet ones are forgotten"
        );
    }
}
