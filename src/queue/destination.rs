//! One destination: how much may be under way to it, and whether it takes anything at all.
//!
//! The circuit breaker opens after five failures in a row that concern the whole destination, or
//! at once when it asks for a pause. Then nothing goes there until the pause is over; after that
//! one probe goes, and its success closes the breaker. What failed because of the destination is
//! due again at that moment.

use std::time::Duration;

use super::backoff::Schedule;
use crate::protocol::Timestamp;

/// Failures in a row after which nothing is sent for a while.
const FAILURES: u32 = 5;
/// The longest pause between two probes that the destination did not ask for itself.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether a destination takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerState {
    /// Everything flows.
    Closed,
    /// Nothing goes until this moment, then one probe.
    Open(Timestamp),
}

/// The circuit breaker of one destination.
#[derive(Debug)]
pub(super) struct Breaker {
    state: BreakerState,
    failures: u32,
    recovered_at: Option<Timestamp>,
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self {
            state: BreakerState::Closed,
            failures: 0,
            recovered_at: None,
        }
    }

    pub(super) const fn state(&self) -> BreakerState {
        self.state
    }

    /// When it last came back after failures.
    pub(super) const fn recovered_at(&self) -> Option<Timestamp> {
        self.recovered_at
    }

    /// The destination answered as one that is well. Says whether it had been in trouble.
    pub(super) fn succeeded(&mut self, now: Timestamp) -> bool {
        let troubled = self.failures > 0;
        if troubled {
            self.recovered_at = Some(now);
        }
        self.failures = 0;
        self.state = BreakerState::Closed;
        troubled
    }

    /// An attempt failed for a reason that concerns the whole destination. Says whether this
    /// opened the breaker or keeps it open.
    pub(super) fn failed(
        &mut self,
        now: Timestamp,
        asked: Option<Duration>,
        (schedule, chance): (&Schedule, f64),
    ) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES && asked.is_none() {
            return false;
        }
        let pause = match asked {
            Some(_) => schedule.pause(1, asked, chance),
            None => schedule
                .pause(self.failures - FAILURES + 1, None, chance)
                .min(LONGEST),
        };
        let until = now.plus(pause);
        // Answers of what was under way already may come in any order; the latest pause counts.
        self.state = match self.state {
            BreakerState::Open(other) if other > until => BreakerState::Open(other),
            _ => BreakerState::Open(until),
        };
        true
    }

    /// An operator wants it tried now.
    pub(super) fn probe_now(&mut self, now: Timestamp) {
        if matches!(self.state, BreakerState::Open(_)) {
            self.state = BreakerState::Open(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(3_600),
        attempts: 168,
        give_up: Duration::from_secs(7 * 86_400),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_closes_it() {
        let mut breaker = Breaker::new();
        for _ in 0..4 {
            assert!(!breaker.failed(at(0), None, (&SCHEDULE, 0.5)));
        }
        assert!(breaker.succeeded(at(1)), "it had been in trouble");
        for _ in 0..4 {
            assert!(!breaker.failed(at(2), None, (&SCHEDULE, 0.5)));
        }
        assert!(breaker.failed(at(2), None, (&SCHEDULE, 0.5)));
        assert_eq!(breaker.state(), BreakerState::Open(at(3)));
        assert!(breaker.failed(at(3), None, (&SCHEDULE, 0.5)));
        assert_eq!(breaker.state(), BreakerState::Open(at(5)));
        assert!(breaker.succeeded(at(5)));
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.recovered_at(), Some(at(5)));
        assert!(!breaker.succeeded(at(6)), "it was well before");
    }

    #[test]
    fn the_pause_between_probes_grows_to_a_minute() {
        let mut breaker = Breaker::new();
        for _ in 0..30 {
            breaker.failed(at(0), None, (&SCHEDULE, 0.5));
        }
        assert_eq!(breaker.state(), BreakerState::Open(at(60)));
    }

    #[test]
    fn a_pause_asked_for_is_kept_at_once_but_not_for_a_year() {
        let mut breaker = Breaker::new();
        assert!(breaker.failed(at(0), Some(Duration::from_secs(30)), (&SCHEDULE, 0.0)));
        assert_eq!(breaker.state(), BreakerState::Open(at(30)));
        let year = Duration::from_secs(365 * 86_400);
        assert!(breaker.failed(at(30), Some(year), (&SCHEDULE, 0.0)));
        assert_eq!(breaker.state(), BreakerState::Open(at(3_630)));
        breaker.probe_now(at(31));
        assert_eq!(breaker.state(), BreakerState::Open(at(31)));
    }
}
