//! How the members of groups do: who failed, who rests, who has how much under way.
//!
//! A member that could not be reached, or asked for a pause, rests: five seconds at first, twice as
//! long each time, a minute at most. After that one attempt finds out whether it is back. Each
//! gateway knows what it saw itself. There is one entry a member that was ever handed something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::protocol::Timestamp;

/// The first rest.
const FIRST: Duration = Duration::from_secs(5);
/// The longest rest that the member did not ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest rest that a member may ask for.
const ASKED: Duration = Duration::from_secs(3_600);

/// How one member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is handed to it before this moment.
    pub rests_until: Option<Timestamp>,
    /// What it has under way.
    pub under_way: usize,
    /// When it took something last.
    pub last_success: Option<Timestamp>,
}

impl Standing {
    /// Whether it may be handed something now. Of one that failed, one attempt at a time finds out.
    #[must_use]
    pub fn is_well(&self, now: Timestamp) -> bool {
        let rests = self.rests_until.is_some_and(|until| until > now);
        !rests && (self.failures == 0 || self.under_way == 0)
    }
}

/// What is known of all members, by their numbers. Cloning is cheap; all clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Standings(Arc<Mutex<HashMap<i64, Standing>>>);

/// Something a member has under way, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct UnderWay(Standings, i64);

impl Standings {
    /// How a member does.
    #[must_use]
    pub fn of(&self, member: i64) -> Standing {
        self.lock().get(&member).copied().unwrap_or_default()
    }

    /// A member is handed something.
    pub fn begin(&self, member: i64) -> UnderWay {
        self.lock().entry(member).or_default().under_way += 1;
        UnderWay(self.clone(), member)
    }

    /// A member took something.
    pub fn succeeded(&self, member: i64, now: Timestamp) {
        let mut all = self.lock();
        let it = all.entry(member).or_default();
        (it.failures, it.rests_until) = (0, None);
        it.last_success = Some(now);
    }

    /// A member could not be reached, or asked for a pause.
    pub fn failed(&self, member: i64, now: Timestamp, asked: Option<Duration>) {
        let mut all = self.lock();
        let it = all.entry(member).or_default();
        let rest = FIRST * (1 << it.failures.min(8));
        it.failures = it.failures.saturating_add(1);
        let rest = asked.map_or(rest.min(LONGEST), |asked| asked.clamp(FIRST, ASKED));
        it.rests_until = Some(now.plus(rest));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(it) = self.0.lock().get_mut(&self.1) {
            it.under_way = it.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_rests_longer_each_time_and_is_then_tried_by_one() {
        let standings = Standings::default();
        let at = |seconds| Timestamp::from_millis(0).plus(Duration::from_secs(seconds));
        assert!(standings.of(7).is_well(at(0)));
        for (seconds, asked, until) in [
            (0, None, 5),
            (5, None, 15),
            (15, None, 35),
            (35, None, 75),
            (75, None, 135),
            (135, None, 195),
            (195, Some(120), 315),
            (315, Some(1), 320),
        ] {
            standings.failed(7, at(seconds), asked.map(Duration::from_secs));
            assert_eq!(standings.of(7).rests_until, Some(at(until)));
            assert!(!standings.of(7).is_well(at(until - 1)));
            assert!(standings.of(7).is_well(at(until)));
        }
        let probe = standings.begin(7);
        assert!(!standings.of(7).is_well(at(320)), "one finds out");
        standings.succeeded(7, at(321));
        assert!(standings.of(7).is_well(at(321)));
        drop(probe);
        assert_eq!(standings.of(7).under_way, 0);
        assert_eq!(standings.of(7).last_success, Some(at(321)));
    }
}
