//! How many messages a sender may hand in: one of our agents by its key, a foreign domain as a whole.
//!
//! - An agent's limit is that of the tier of its key, else `limits.sender_rate`; all its keys of one
//!   tier count together. Foreign domains have `limits.domain_rate` each, by the name they claim:
//!   it is looked at before anything is verified.
//! - Limits are those of one gateway, and live as long as its process.
//! - Strangers choose the names, so memory is bounded: quiet ones are forgotten, and while there are
//!   more than 200,000, names share 65,536 counters by their hash.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::{Clock as Ticking, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio_util::sync::CancellationToken;

use crate::admission::Pressure;
use crate::clock::{Clock, Ticks};
use crate::config::Rate;
use crate::protocol::{Address, Domain, Priority};

/// Names counted by themselves.
pub(super) const MOST: usize = 200_000;
/// Counters that names share beyond that.
const SHARED: u64 = 65_536;
/// How often quiet names are forgotten.
const EVERY: Duration = Duration::from_secs(2);

type Limiter = RateLimiter<u64, DashMapStateStore<u64>, Ticks, NoOpMiddleware<Nanos>>;

/// More than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverRate {
    /// Which limit, as its headers name it.
    pub name: &'static str,
    /// Messages in a window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
    /// When the next one has room.
    pub retry_after: Duration,
}

/// The limits by sender. Cloning is cheap.
#[derive(Clone)]
pub struct SenderRates(Arc<Shared>);

struct Shared {
    senders: Counters,
    domains: Counters,
    tiers: HashMap<String, Counters>,
    hasher: RandomState,
    clock: Clock,
}

/// One limit, for each name.
struct Counters {
    name: &'static str,
    rate: Rate,
    limiter: Limiter,
    shared: Limiter,
    full: AtomicBool,
}

impl Counters {
    fn new(name: &'static str, rate: &Rate, clock: &Clock) -> Self {
        let limiter = || {
            let each = (rate.period / rate.count.get()).max(Duration::from_nanos(1));
            let quota = Quota::with_period(each)
                .expect("a nanosecond at least")
                .allow_burst(rate.count);
            Limiter::dashmap_with_clock(quota, Ticks::of(clock.clone()))
        };
        Self {
            name,
            rate: *rate,
            limiter: limiter(),
            shared: limiter(),
            full: AtomicBool::new(false),
        }
    }

    /// Counts a message as `cost` of them.
    fn check(&self, name: u64, cost: NonZeroU32, clock: &Clock) -> Result<(), OverRate> {
        // What could never pass would be refused for ever.
        let cost = cost.min(self.rate.count);
        let checked = match self.full.load(Ordering::Relaxed) {
            false => self.limiter.check_key_n(&name, cost),
            true => self.shared.check_key_n(&(name % SHARED), cost),
        };
        let checked = checked.expect("the cost is within the burst");
        checked.map(drop).map_err(|until| {
            let now = Ticks::of(clock.clone()).now();
            OverRate {
                name: self.name,
                quota: (self.rate.count.get() / cost).max(1),
                window: self.rate.period,
                retry_after: until.earliest_possible().duration_since(now).into(),
            }
        })
    }

    fn tidy(&self) {
        self.limiter.retain_recent();
        self.shared.retain_recent();
        self.full
            .store(self.limiter.len() > MOST, Ordering::Relaxed);
    }
}

impl SenderRates {
    /// Limits for agents, foreign domains, and tiers by name.
    #[must_use]
    pub fn new(
        (sender, domain): (&Rate, &Rate),
        tiers: &BTreeMap<String, Rate>,
        clock: Clock,
    ) -> Self {
        let tiers = tiers.iter().map(|(name, rate)| {
            let counters = Counters::new("tier", rate, &clock);
            (name.clone(), counters)
        });
        Self(Arc::new(Shared {
            senders: Counters::new("sender", sender, &clock),
            domains: Counters::new("domain", domain, &clock),
            tiers: tiers.collect(),
            hasher: RandomState::new(),
            clock,
        }))
    }

    /// Counts a message of one of our agents, handed in with a key of this tier. A tier that is not
    /// configured any more has the usual limit. While the gateway is behind a message counts as
    /// several, the less urgent the more.
    ///
    /// # Errors
    /// [`OverRate`].
    pub fn submission(
        &self,
        (agent, tier): (&Address, Option<&str>),
        (pressure, priority): (Pressure, Priority),
    ) -> Result<(), OverRate> {
        let tier = tier.and_then(|tier| self.0.tiers.get(tier));
        let counters = tier.unwrap_or(&self.0.senders);
        let name = (agent.domain(), agent.local().to_ascii_lowercase());
        let cost = cost(pressure, priority);
        counters.check(self.0.hasher.hash_one(name), cost, &self.0.clock)
    }

    /// Counts a message that claims to be of this foreign domain.
    ///
    /// # Errors
    /// [`OverRate`].
    pub fn foreign(&self, domain: &Domain) -> Result<(), OverRate> {
        let name = self.0.hasher.hash_one(domain);
        self.0.domains.check(name, NonZeroU32::MIN, &self.0.clock)
    }

    /// Forgets quiet names until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.0.clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
            let all = self.0.tiers.values();
            all.chain([&self.0.senders, &self.0.domains])
                .for_each(Counters::tidy);
        }
    }
}

/// As how many messages one counts.
fn cost(pressure: Pressure, priority: Priority) -> NonZeroU32 {
    let cost = match (pressure, priority) {
        (Pressure::None, _) | (_, Priority::Urgent) | (Pressure::Late, Priority::High) => 1,
        (Pressure::Late, Priority::Normal) | (Pressure::Shedding, Priority::High) => 2,
        (Pressure::Late, Priority::Low) | (Pressure::Shedding, Priority::Normal) => 4,
        (Pressure::Shedding, Priority::Low) => 8,
    };
    NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn rates() -> (SenderRates, Arc<TestClock>) {
        let time = TestClock::at(Timestamp::from_millis(0));
        let tiers = BTreeMap::from([("bulk".to_owned(), rate("4/s"))]);
        let clock = Clock::over(time.clone());
        let rates = SenderRates::new((&rate("2/s"), &rate("3/m")), &tiers, clock);
        (rates, time)
    }

    #[test]
    fn each_sender_has_its_own_limit_and_a_tier_another() {
        let (rates, time) = rates();
        let (one, other) = ("a@b.test", "c@b.test");
        let [one, other] = [one, other].map(|text| Address::parse(text).unwrap());
        let count = |agent: &Address, tier| {
            let calm = (Pressure::None, Priority::Normal);
            let tries = (0..10).map(|_| rates.submission((agent, tier), calm));
            tries.filter(Result::is_ok).count()
        };
        assert_eq!(count(&one, None), 2);
        assert_eq!(count(&Address::parse("A@b.test").unwrap(), None), 0);
        assert_eq!(count(&one, Some("bulk")), 4);
        assert_eq!(count(&other, Some("gone")), 2);
        time.advance(Duration::from_secs(1));
        assert_eq!(count(&one, None), 2);
    }

    #[test]
    fn a_domain_over_its_rate_is_told_when_it_has_room() {
        let (rates, _time) = rates();
        let domain = Domain::parse("far.test").unwrap();
        for _ in 0..3 {
            rates.foreign(&domain).unwrap();
        }
        let over = rates.foreign(&domain).unwrap_err();
        assert_eq!((over.quota, over.window), (3, Duration::from_secs(60)));
        assert_eq!(over.retry_after, Duration::from_secs(20));
    }

    #[test]
    fn while_the_gateway_is_behind_less_urgent_messages_count_as_several() {
        use Priority::{High, Low, Normal, Urgent};
        for (pressure, passed) in [
            (Pressure::None, [16, 16, 16, 16]),
            (Pressure::Late, [4, 8, 16, 16]),
            (Pressure::Shedding, [2, 4, 8, 16]),
        ] {
            for (priority, passed) in [Low, Normal, High, Urgent].into_iter().zip(passed) {
                let time = TestClock::at(Timestamp::from_millis(0));
                let limits = (&rate("16/m"), &rate("3/m"));
                let rates = SenderRates::new(limits, &BTreeMap::new(), Clock::over(time));
                let agent = Address::parse("a@b.test").unwrap();
                let count = || rates.submission((&agent, None), (pressure, priority));
                for _ in 0..passed {
                    count().unwrap();
                }
                let over = count().unwrap_err();
                assert_eq!(over.quota, passed, "{pressure:?} {priority:?}");
                assert_eq!(over.retry_after, Duration::from_secs(60) / passed);
            }
        }
        let limits = (&rate("2/m"), &rate("3/m"));
        let time = TestClock::at(Timestamp::from_millis(0));
        let rates = SenderRates::new(limits, &BTreeMap::new(), Clock::over(time));
        let agent = Address::parse("a@b.test").unwrap();
        let low = (Pressure::Shedding, Low);
        assert!(
            rates.submission((&agent, None), low).is_ok(),
            "a small limit passes one"
        );
    }

    #[test]
    fn a_million_names_take_bounded_memory() {
        let (rates, time) = rates();
        for number in 0..1_000_000 {
            let domain = Domain::parse(&format!("d{number}.test")).unwrap();
            // While they share counters some are over.
            let _ = rates.foreign(&domain);
            if number % 50_000 == 0 {
                rates.0.domains.tidy();
            }
            if rates.0.domains.full.load(Ordering::Relaxed) && number % 3 == 0 {
                time.advance(Duration::from_millis(1));
            }
        }
        assert!(rates.0.domains.limiter.len() <= MOST + 50_000);
        assert!(rates.0.domains.shared.len() <= SHARED as usize);
        time.advance(Duration::from_secs(600));
        rates.0.domains.tidy();
        assert_eq!(rates.0.domains.limiter.len(), 0);
    }
}
