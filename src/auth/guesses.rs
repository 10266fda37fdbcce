//! Guessing is slow: who shows wrong credentials, or asks for addresses nobody has, again and again
//! waits longer for the answer, and is turned away when too many wait.
//!
//! Counted by client address (an IPv6 /64 is one); addresses that are quiet are forgotten. A right
//! credential is never held up.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Ticks};
use crate::net::network_of;

/// Wrong ones a minute that are answered at once.
const FREE: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
/// How long the others wait.
const WAIT: Duration = Duration::from_secs(2);
/// How many wait at a time.
const WAITING: usize = 256;
/// How often quiet addresses are forgotten.
const EVERY: Duration = Duration::from_secs(10);

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Nanos>>;

/// Holds up those who guess. Cloning is cheap.
#[derive(Clone)]
pub struct Guesses(Arc<Shared>);

struct Shared {
    limiter: Limiter,
    waiting: Semaphore,
    clock: Clock,
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// When to come again.
    pub retry_after: Duration,
}

impl Guesses {
    /// Nobody has guessed yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let limiter =
            Limiter::dashmap_with_clock(Quota::per_minute(FREE), Ticks::of(clock.clone()));
        Self(Arc::new(Shared {
            limiter,
            waiting: Semaphore::new(WAITING),
            clock,
        }))
    }

    /// Something wrong came from `client`: returns when it may be told.
    ///
    /// # Errors
    /// `TooMany`: tell it that instead.
    pub async fn wrong(&self, client: IpAddr) -> Result<(), TooMany> {
        self.wrong_at_once(client, NonZeroU32::MIN).await
    }

    /// The same of so many wrong things in one request.
    ///
    /// # Errors
    /// `TooMany`: tell it that instead.
    pub async fn wrong_at_once(&self, client: IpAddr, count: NonZeroU32) -> Result<(), TooMany> {
        let checked = self.0.limiter.check_key_n(&network_of(client), count);
        if matches!(checked, Ok(Ok(()))) {
            return Ok(());
        }
        let Ok(_place) = self.0.waiting.try_acquire() else {
            return Err(TooMany { retry_after: WAIT });
        };
        self.0.clock.wait(WAIT).await;
        Ok(())
    }

    /// Forgets quiet addresses until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.0.clock.wait(EVERY) => self.0.limiter.retain_recent(),
                () = stop.cancelled() => return,
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
    async fn who_guesses_often_waits_and_others_do_not() {
        let time = TestClock::at(Timestamp::from_millis(0));
        let guesses = Guesses::new(Clock::over(time.clone()));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..FREE.get() {
            assert_eq!(guesses.wrong(one).await, Ok(()));
        }
        let mut held = Box::pin(guesses.wrong(one));
        tokio::select! {
            biased;
            _ = &mut held => panic!("answered at once"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(guesses.wrong(other).await, Ok(()));
        time.advance(WAIT);
        assert_eq!(held.await, Ok(()));
    }

    #[tokio::test]
    async fn when_too_many_wait_the_next_is_turned_away() {
        let time = TestClock::at(Timestamp::from_millis(0));
        let guesses = Guesses::new(Clock::over(time));
        let one = "2001:db8::1".parse().unwrap();
        let waiting = guesses.0.waiting.try_acquire_many(256).unwrap();
        for _ in 0..FREE.get() {
            guesses.wrong(one).await.unwrap();
        }
        let neighbour = "2001:db8::2".parse().unwrap();
        let retry_after = WAIT;
        assert_eq!(guesses.wrong(neighbour).await, Err(TooMany { retry_after }));
        drop(waiting);
    }
}
