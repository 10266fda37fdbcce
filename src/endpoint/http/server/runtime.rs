//! What the HTTP library needs from us: tasks on our tracker, timers on our clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Sleep, Timer};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Wait};

/// Spawns HTTP/2 streams where the listener waits for them.
#[derive(Debug, Clone)]
pub(super) struct Tracked(pub(super) TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Our clock as the library's timer.
#[derive(Debug, Clone)]
pub(super) struct ClockTimer {
    clock: Clock,
    start: Instant,
}

impl ClockTimer {
    /// Counts from the clock's own start.
    #[allow(
        clippy::disallowed_methods,
        reason = "only a fixed point that the clock's time is added to"
    )]
    pub(super) fn new(clock: Clock) -> Self {
        let now = Instant::now();
        let start = now.checked_sub(clock.monotonic()).unwrap_or(now);
        Self { clock, start }
    }
}

impl Timer for ClockTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let clock = self.clock.clone();
        Box::pin(ClockSleep(Mutex::new(Box::pin(async move {
            clock.wait(duration).await
        }))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        self.start + self.clock.monotonic()
    }
}

/// The mutex makes the wait `Sync`, as the library demands; it is never contended.
struct ClockSleep(Mutex<Wait>);

impl Future for ClockSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .poll(context)
    }
}

impl Sleep for ClockSleep {}
