//! What senders have used of the limits of rules.
//!
//! Each sender has an allowance of its own by each rule with `rate_limit` or `quota`. It is refilled
//! evenly: of `100/hour` one message each 36 seconds. What is remembered of a sender is one number,
//! until its allowance is full again.
//!
//! **Bounded memory.** At most [`MOST_SENDERS`] numbers are remembered, of all rules together. While
//! that many senders have used some of theirs, senders that are not remembered share one
//! allowance by each rule, as if they were one sender. Those remembered keep their own. So who
//! invents senders fills the room and is limited; nobody who was writing before is shut out by it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::rule::{Because, Limit, Verdict};
use crate::clock::{Clock, Ticks};
use crate::protocol::{Address, ErrorCode};

/// Senders remembered at a time, counted once for each limit they use: about 40 MiB.
pub const MOST_SENDERS: usize = 500_000;
const SHARDS: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);

/// What has been used, by a number made of limit and sender.
#[derive(Debug)]
pub(super) struct Ledger {
    shards: Vec<Mutex<HashMap<u64, u64>>>,
    remembered: AtomicUsize,
    most: usize,
    secret: RandomState,
    clock: Clock,
}

impl Ledger {
    pub(super) fn new(most: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            remembered: AtomicUsize::new(0),
            most,
            secret: RandomState::new(),
            clock,
        })
    }

    pub(super) fn remembered(&self) -> usize {
        self.remembered.load(Ordering::Relaxed)
    }

    /// Equal for equal addresses; which others have the same nobody outside can know.
    /// What a sender is counted under. Who only claims to be it is another: nobody uses up what
    /// belongs to somebody else.
    fn number(&self, (sender, believed): (&Address, bool)) -> u64 {
        self.secret.hash_one((sender, believed))
    }

    /// Forgets senders whose allowance is full again.
    pub(super) fn forget_quiet(&self) {
        let now = nanos(self.clock.monotonic());
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|_, full_at| *full_at > now);
            let forgotten = before - shard.len();
            if shard.capacity() / 4 > shard.len() {
                shard.shrink_to_fit();
            }
            drop(shard);
            self.remembered.fetch_sub(forgotten, Ordering::Relaxed);
        }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, HashMap<u64, u64>> {
        let place = usize::try_from(key % SHARDS as u64).unwrap_or_default();
        lock(&self.shards[place])
    }
}

fn lock(shard: &Mutex<HashMap<u64, u64>>) -> MutexGuard<'_, HashMap<u64, u64>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One limit's part of the ledger.
#[derive(Debug)]
struct Page {
    ledger: Arc<Ledger>,
    /// The limiter counts from here; the ledger counts as the clock does.
    start: u64,
    /// Tells this limit from all others, those of before a reload too.
    salt: u64,
}

impl StateStore for Page {
    /// A sender's number.
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, sender: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let ledger = &self.ledger;
        let own = ledger.secret.hash_one((self.salt, sender));
        let mut shard = ledger.shard(own);
        if let Some(used) = shard.get_mut(&own) {
            return self.replace(used, measure);
        }
        if ledger.remembered() < ledger.most {
            let (outcome, state) = measure(None)?;
            shard.insert(own, self.start.saturating_add(state.as_u64()));
            ledger.remembered.fetch_add(1, Ordering::Relaxed);
            return Ok(outcome);
        }
        drop(shard);
        let crowd = ledger.secret.hash_one(self.salt);
        let mut shard = ledger.shard(crowd);
        // One for each limit, beyond the bound.
        let used = shard.entry(crowd).or_insert_with(|| {
            ledger.remembered.fetch_add(1, Ordering::Relaxed);
            self.start
        });
        self.replace(used, measure)
    }
}

impl Page {
    fn replace<T, E>(
        &self,
        used: &mut u64,
        measure: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Result<T, E> {
        let state = Nanos::new(used.saturating_sub(self.start));
        let (outcome, state) = measure(Some(state))?;
        *used = self.start.saturating_add(state.as_u64());
        Ok(outcome)
    }
}

type Limiter = RateLimiter<u64, Page, Ticks, NoOpMiddleware<Nanos>>;

/// One limit with what is used of it.
#[derive(Debug)]
struct Gauge {
    limiter: Limiter,
    because: Because,
}

/// The gauges of one rule.
#[derive(Debug)]
pub(super) struct Gauges {
    limit: Limit,
    rate: Option<Gauge>,
    messages: Option<Gauge>,
    kibibytes: Option<Gauge>,
}

impl Gauges {
    fn new(limit: &Limit, ledger: &Arc<Ledger>, salts: &mut u64) -> Self {
        let mut gauge = |count: NonZeroU32, period: Duration, burst: NonZeroU32, because| {
            *salts += 1;
            let each = (period / count.get()).max(Duration::from_nanos(1));
            let quota = Quota::with_period(each).expect("a nanosecond at least");
            let page = Page {
                ledger: ledger.clone(),
                start: nanos(ledger.clock.monotonic()),
                salt: *salts,
            };
            let ticks = Ticks::of(ledger.clock.clone());
            let limiter = Limiter::new(quota.allow_burst(burst), page, ticks);
            Gauge { limiter, because }
        };
        let rate = limit
            .rate
            .map(|it| gauge(it.count, it.period, it.burst, Because::RateLimit));
        let mut daily =
            |count: Option<NonZeroU32>| count.map(|count| gauge(count, DAY, count, Because::Quota));
        let (messages, kibibytes) = (daily(limit.messages), daily(limit.kibibytes));
        Self {
            limit: limit.clone(),
            rate,
            messages,
            kibibytes,
        }
    }

    /// Whether it may go on for a limit of a new set: the same rule with the same limit.
    fn is_for(&self, limit: &Limit) -> bool {
        let own = &self.limit;
        own.identity == limit.identity
            && (own.rate, own.messages, own.kibibytes)
                == (limit.rate, limit.messages, limit.kibibytes)
    }

    fn check(&self, sender: u64, size: usize) -> Result<(), Over> {
        let one = NonZeroU32::MIN;
        let kibibytes = u32::try_from(size.div_ceil(1_024)).unwrap_or(u32::MAX);
        let kibibytes = NonZeroU32::new(kibibytes).unwrap_or(one);
        let gauges = [
            (&self.rate, one),
            (&self.messages, one),
            (&self.kibibytes, kibibytes),
        ];
        for (gauge, count) in gauges {
            if let Some(gauge) = gauge {
                gauge.check(sender, count)?;
            }
        }
        Ok(())
    }
}

/// Which limit a sender is over, and when it may come again; never, where the message alone is more
/// than a day's quota.
struct Over {
    because: Because,
    wait: Option<Duration>,
}

impl Gauge {
    fn check(&self, sender: u64, count: NonZeroU32) -> Result<(), Over> {
        let because = self.because;
        let over = |wait| Err(Over { because, wait });
        match self.limiter.check_key_n(&sender, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                let now = self.limiter.clock().now();
                let wait = Duration::from(until.earliest_possible().duration_since(now));
                over(Some(wait))
            }
            Err(_) => over(None),
        }
    }
}

/// The gauges of a whole set, by the numbers of its limits.
#[derive(Debug, Default)]
pub(super) struct Limits(Vec<Arc<Gauges>>);

impl Limits {
    /// The gauges of these limits; those go on that are in `before` already.
    pub(super) fn of(
        limits: &[Arc<Limit>],
        before: &Self,
        ledger: &Arc<Ledger>,
        salts: &mut u64,
    ) -> Self {
        let known: HashMap<&str, &Arc<Gauges>> = before
            .0
            .iter()
            .map(|gauges| (&*gauges.limit.identity, gauges))
            .collect();
        let gauges = limits
            .iter()
            .map(|limit| match known.get(&*limit.identity) {
                Some(gauges) if gauges.is_for(limit) => Arc::clone(gauges),
                _ => Arc::new(Gauges::new(limit, ledger, salts)),
            });
        Self(gauges.collect())
    }

    /// Counts a message that passes, or refuses it.
    pub(super) fn count(
        &self,
        verdict: Verdict,
        (sender, size): ((&Address, bool), usize),
        ledger: &Ledger,
    ) -> Verdict {
        let gauges = verdict.limit.as_ref().and_then(|it| self.0.get(it.number));
        let (Some(gauges), None) = (gauges, verdict.refusal) else {
            return verdict;
        };
        match gauges.check(ledger.number(sender), size) {
            Ok(()) => verdict,
            Err(over) => refuse(verdict, &over),
        }
    }
}

fn refuse(verdict: Verdict, over: &Over) -> Verdict {
    let code = match over.wait {
        Some(_) => ErrorCode::RateLimitExceeded,
        None => ErrorCode::MessageTooLarge,
    };
    let mut verdict = verdict.refuse(code, over.because);
    verdict.retry_after = over.wait;
    verdict
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::clock::TestClock;
    use crate::policy::{Direction, PolicySet, Question, Standing};
    use crate::protocol::Timestamp;

    struct World {
        test: Arc<TestClock>,
        ledger: Arc<Ledger>,
        set: PolicySet,
        limits: Limits,
        salts: u64,
    }

    fn set(limit: &str) -> PolicySet {
        let text = format!(
            "version: \"1.0\"\ndefault_policy: deny\nrules: [{{name: r, action: allow, {limit}}}]\n"
        );
        PolicySet::parse(&[(PathBuf::from("p"), text)], &[]).unwrap()
    }

    impl World {
        fn new(limit: &str, most: usize) -> Self {
            let test = TestClock::at(Timestamp::from_millis(0));
            test.advance(Duration::from_secs(5));
            let ledger = Ledger::new(most, Clock::over(test.clone()));
            let mut world = Self {
                test,
                ledger,
                set: set(limit),
                limits: Limits::default(),
                salts: 0,
            };
            world.reload(limit);
            world
        }

        fn reload(&mut self, limit: &str) {
            self.set = set(limit);
            let (limits, salts) = (self.set.limits(), &mut self.salts);
            self.limits = Limits::of(limits, &self.limits, &self.ledger, salts);
        }

        fn send(&self, sender: &str, size: usize) -> Verdict {
            let sender = Address::parse(sender).unwrap();
            let recipient = Address::parse("c@example.com").unwrap();
            let verdict = self.set.decide(&Question {
                directions: Direction::Inbound.into(),
                sender: &sender,
                recipient: &recipient,
                schema: None,
                size,
                standing: Standing::default(),
            });
            self.limits
                .count(verdict, ((&sender, true), size), &self.ledger)
        }

        fn passes(&self, sender: &str) -> bool {
            self.send(sender, 100).refusal.is_none()
        }
    }

    #[test]
    fn each_sender_has_its_own_allowance_and_is_told_when_to_come_again() {
        let world = World::new("rate_limit: {rate: 60/minute, burst: 2}", 100);
        assert!(world.passes("a@b.com") && world.passes("A@B.com"));
        let verdict = world.send("a@b.com", 100);
        assert_eq!(verdict.refusal, Some(ErrorCode::RateLimitExceeded));
        assert_eq!(verdict.retry_after, Some(Duration::from_secs(1)));
        assert_eq!(verdict.because, Because::RateLimit);
        assert!(world.passes("b@b.com"));
        world.test.advance(Duration::from_secs(1));
        assert!(world.passes("a@b.com") && !world.passes("a@b.com"));
    }

    #[test]
    fn a_quota_counts_messages_and_bytes_of_a_day() {
        let world = World::new("quota: {messages: 3, bytes: 10KiB}", 100);
        assert_eq!(world.send("a@b.com", 8 << 10).refusal, None);
        let over = world.send("a@b.com", 3 << 10);
        assert_eq!(
            (over.refusal, over.because),
            (Some(ErrorCode::RateLimitExceeded), Because::Quota)
        );
        assert!(world.passes("a@b.com") && !world.passes("a@b.com"));
        let alone = world.send("b@b.com", 11 << 10);
        assert_eq!(
            (alone.refusal, alone.retry_after),
            (Some(ErrorCode::MessageTooLarge), None)
        );
        world.test.advance(DAY);
        assert_eq!(world.send("a@b.com", 10 << 10).refusal, None);
    }

    #[test]
    fn what_is_used_outlives_a_reload_that_changes_nothing_of_the_limit() {
        let mut world = World::new("rate_limit: 1/hour", 100);
        assert!(world.passes("a@b.com"));
        world.reload("rate_limit: 1/hour, priority: high");
        assert!(!world.passes("a@b.com"));
        world.reload("rate_limit: 2/hour");
        assert!(world.passes("a@b.com"));
    }

    #[test]
    fn invented_senders_share_what_is_left_and_take_no_more_memory() {
        let world = World::new("rate_limit: 10/hour", 100);
        assert!(world.passes("known@b.com"));
        let passed = (0..5_000)
            .filter(|n| world.passes(&format!("x{n}@b.com")))
            .count();
        assert_eq!(
            passed,
            99 + 10,
            "the room, and one allowance for all others"
        );
        assert!(world.ledger.remembered() <= 101);
        assert!(world.passes("known@b.com"), "who was known keeps its own");
        world.test.advance(Duration::from_secs(3_600));
        world.ledger.forget_quiet();
        assert_eq!(world.ledger.remembered(), 0);
        assert!(world.passes("x4999@b.com"));
    }

    #[test]
    fn a_refused_message_is_not_counted() {
        let world = World::new("rate_limit: 1/hour, max_size: 1KiB", 100);
        assert_eq!(
            world.send("a@b.com", 2_000).refusal,
            Some(ErrorCode::MessageTooLarge)
        );
        assert!(world.passes("a@b.com"));
    }
}
