//! Word to the service manager: `Type=notify` of systemd, and its watchdog.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Clock;

/// The line to the service manager; silent when the process was not started by one.
#[derive(Debug, Clone)]
pub struct ServiceManager {
    watchdog: Option<Duration>,
    line: Line,
}

#[derive(Debug, Clone)]
enum Line {
    Systemd,
    None,
    #[cfg(test)]
    Kept(std::sync::Arc<std::sync::Mutex<Vec<String>>>),
}

impl ServiceManager {
    /// The one that started this process, if it told how to reach it.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled(),
            line: Line::Systemd,
        }
    }

    /// Nobody.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            watchdog: None,
            line: Line::None,
        }
    }

    #[cfg(test)]
    pub(super) fn kept(
        watchdog: Option<Duration>,
    ) -> (std::sync::Arc<std::sync::Mutex<Vec<String>>>, Self) {
        let kept = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
        (
            kept.clone(),
            Self {
                watchdog,
                line: Line::Kept(kept),
            },
        )
    }

    /// The process does its work now; also ends a reload.
    pub fn ready(&self) {
        self.say(&[NotifyState::Ready]);
    }

    /// The process takes changed files into use.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(_) => self.say(&[NotifyState::Reloading]),
        }
    }

    /// The process ends.
    pub fn stopping(&self) {
        self.say(&[NotifyState::Stopping]);
    }

    /// Waits half the watchdog's interval, then says the process lives; without a watchdog waits for ever.
    pub async fn watchdog(&self, clock: &Clock) {
        let Some(interval) = self.watchdog else {
            return std::future::pending().await;
        };
        clock.wait(interval / 2).await;
        self.say(&[NotifyState::Watchdog]);
    }

    fn say(&self, states: &[NotifyState<'_>]) {
        match &self.line {
            Line::None => {}
            Line::Systemd => {
                if let Err(fault) = sd_notify::notify(states) {
                    tracing::warn!(error = %fault, "the service manager cannot be told");
                }
            }
            #[cfg(test)]
            Line::Kept(kept) => {
                kept.lock()
                    .unwrap()
                    .extend(states.iter().map(ToString::to_string));
            }
        }
    }
}
