//! The one source of time and of time-ordered ids.
//!
//! Everything that asks "what time is it" or "wake me at" holds a [`Clock`]. In the daemon it is
//! the [`SystemClock`]; a test moves a [`TestClock`] by hand, so no test ever sleeps.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::nanos::Nanos;
use tokio::sync::watch;
use uuid::Uuid;

use crate::protocol::Timestamp;

/// A wait that a clock hands out.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a source of time can do. The daemon's clock and the tests' clock implement it.
pub trait TimeSource: Send + Sync {
    /// The present moment, in milliseconds since 1970 (UTC).
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start; never goes backwards.
    fn monotonic(&self) -> Duration;
    /// Completes when `duration` has passed.
    fn wait(&self, duration: Duration) -> Wait;
    /// Whether it is moved by hand: then the clocks of others mean nothing beside it.
    fn is_moved_by_hand(&self) -> bool {
        false
    }
}

/// A shared handle to a source of time. Cloning is cheap.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(SystemClock::new()))
    }

    /// A clock over any source of time.
    #[must_use]
    pub fn over(source: Arc<dyn TimeSource>) -> Self {
        Self(source)
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Time since an arbitrary start; use it for measuring, never for showing.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    /// The present moment where this clock is moved by hand: it goes before the database's.
    #[must_use]
    pub fn set_by_hand(&self) -> Option<Timestamp> {
        self.0.is_moved_by_hand().then(|| self.0.now())
    }

    /// Completes when `duration` has passed on this clock.
    pub async fn wait(&self, duration: Duration) {
        self.0.wait(duration).await;
    }

    /// Runs `work` for at most `duration` of this clock; `None` when time ran out.
    pub async fn within<T>(&self, duration: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.wait(duration) => None,
        }
    }

    /// A fresh UUID version 7 that carries this clock's time.
    #[must_use]
    pub fn mint_v7(&self) -> Uuid {
        let now = u64::try_from(self.now().as_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(now, &random_10()).into_uuid()
    }
}

fn random_10() -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&Uuid::new_v4().as_bytes()[6..]);
    let more = Uuid::new_v4();
    // Bytes 6 and 8 of a version 4 id hold fixed bits; take those two from free places of a second one.
    bytes[0] = more.as_bytes()[0];
    bytes[2] = more.as_bytes()[1];
    bytes
}

/// A [`Clock`] as the rate limiters read it.
#[derive(Clone, Debug)]
pub struct Ticks(Clock);

impl Ticks {
    /// The ticks of a clock.
    #[must_use]
    pub const fn of(clock: Clock) -> Self {
        Self(clock)
    }
}

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Starts its monotonic count at zero.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl TimeSource for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn wait(&self, duration: Duration) -> Wait {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct TestClock {
    start: Timestamp,
    elapsed: Mutex<Duration>,
    moved: watch::Sender<Duration>,
}

impl TestClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            start,
            elapsed: Mutex::new(Duration::ZERO),
            moved: watch::Sender::new(Duration::ZERO),
        })
    }

    /// Moves time forward and wakes every wait that is over.
    pub fn advance(&self, by: Duration) {
        let mut elapsed = self.elapsed.lock().unwrap_or_else(PoisonError::into_inner);
        *elapsed += by;
        self.moved.send_replace(*elapsed);
    }
}

impl TimeSource for TestClock {
    fn now(&self) -> Timestamp {
        self.start.plus(self.monotonic())
    }

    fn is_moved_by_hand(&self) -> bool {
        true
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, duration: Duration) -> Wait {
        let due = self.monotonic() + duration;
        let mut moved = self.moved.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock; once it is gone nobody can end the wait.
            if moved.wait_for(|now| *now >= due).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_id_is_version_7_and_carries_the_clock() {
        let clock = Clock::over(TestClock::at(Timestamp::from_millis(1_700_000_000_123)));
        let id = clock.mint_v7();
        assert_eq!(id.get_version_num(), 7);
        let (seconds, nanos) = id
            .get_timestamp()
            .expect("a version 7 id has a time")
            .to_unix();
        assert_eq!((seconds, nanos), (1_700_000_000, 123_000_000));
        assert_ne!(id, clock.mint_v7());
    }

    #[tokio::test]
    async fn a_wait_ends_when_the_test_moves_time() {
        let test = TestClock::at(Timestamp::from_millis(0));
        let clock = Clock::over(test.clone());
        let mut wait = Box::pin(clock.wait(Duration::from_secs(5)));
        assert!(futures_poll(&mut wait).await.is_none());
        test.advance(Duration::from_secs(5));
        wait.await;
        assert_eq!(clock.now().as_millis(), 5_000);
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = tokio::task::yield_now() => None,
        }
    }
}
