//! A clock finer than the runtime's, whose ticks are a millisecond.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::clock::now;

/// The shortest wait: what is due within it goes together.
const LEAST: Duration = Duration::from_micros(100);

/// One timer of the system.
pub(super) struct Pace(AsyncFd<OwnedFd>);

impl Pace {
    #[allow(
        deprecated,
        reason = "the sound way to say the same is unsafe; an owned descriptor stays the same"
    )]
    pub(super) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Waits until this moment.
    pub(super) async fn until(&self, moment: Instant) -> Result<()> {
        let left = moment.saturating_duration_since(now()).max(LEAST);
        let none = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec {
            tv_sec: i64::try_from(left.as_secs())?,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let spec = Itimerspec {
            it_interval: none,
            it_value: value,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
