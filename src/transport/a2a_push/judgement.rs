//! What an answer of a receiver means, or that there was none, and when it is tried again. Pure.
//!
//! | answer | meaning |
//! | --- | --- |
//! | 2xx | it has it |
//! | 408, 425, 429, 5xx, none | again |
//! | all others, also 3xx; an address that is not connected to | again twice, then never |

use std::time::Duration;

use crate::net::{Answer, NetFault};
use crate::protocol::Timestamp;
use crate::store::id_hash;
use crate::transport::after::retry_after;

/// A refusal is final at this attempt in a row that fails.
const REFUSALS: u32 = 3;
/// Any failure is at this one: with the usual pauses after some hours.
const MOST: u32 = 16;

/// When a receiver that fails is tried again.
#[derive(Debug, Clone, Copy)]
pub struct PushRetry {
    initial: Duration,
    max: Duration,
    attempts: u32,
}

/// What is done about a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on with what follows.
    Delivered,
    /// The same again, after this time.
    Again(Duration),
    /// Nothing more is posted there.
    Never,
}

impl PushRetry {
    /// Pauses from `initial` to `max`, and so many attempts; at most sixteen, because clients name
    /// receivers that nobody looks after.
    #[must_use]
    pub fn new(initial: Duration, max: Duration, attempts: u32) -> Self {
        Self {
            initial,
            max,
            attempts: attempts.min(MOST),
        }
    }

    /// The verdict on a place that failed `failures` times in a row before. `name` spreads the pauses.
    pub(super) fn judge(
        &self,
        answer: &Result<Answer, NetFault>,
        (failures, name): (u32, &str),
        now: Timestamp,
    ) -> Verdict {
        let is_refused = match answer {
            Ok(answer) if answer.status.is_success() => return Verdict::Delivered,
            Ok(answer) => !matches!(answer.status.as_u16(), 408 | 425 | 429 | 500..),
            Err(fault) => matches!(fault, NetFault::RefusedAddress { .. }),
        };
        let failures = failures.saturating_add(1);
        if failures >= self.attempts || (is_refused && failures >= REFUSALS) {
            return Verdict::Never;
        }
        let asked = match answer {
            Ok(answer) => retry_after(&answer.headers, now),
            Err(_) => None,
        };
        Verdict::Again(self.pause(failures, asked, name))
    }

    /// Doubles from the first to the longest, a quarter more or less; or what was asked for, within
    /// the same bounds.
    pub(super) fn pause(&self, failures: u32, asked: Option<Duration>, name: &str) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let plain = match asked {
            Some(asked) => asked.max(self.initial),
            None => self.initial.saturating_mul(1 << doublings),
        };
        let chance = id_hash(&format!("{name} {failures}")).rem_euclid(1_000);
        let chance = f64::from(u16::try_from(chance).unwrap_or(0)) / 1_000.0;
        let spread = match asked {
            // Never earlier than asked for.
            Some(_) => 1.0 + chance / 4.0,
            None => 0.75 + chance / 2.0,
        };
        plain.min(self.max).mul_f64(spread)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::{HeaderMap, StatusCode};

    use super::*;

    const RETRY: PushRetry = PushRetry {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(600),
        attempts: 16,
    };
    const NOW: Timestamp = Timestamp::from_millis(0);

    fn answer(status: u16, after: Option<&str>) -> Result<Answer, NetFault> {
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            headers.insert("retry-after", after.parse().unwrap());
        }
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::new(),
            remote: None,
        })
    }

    #[test]
    fn what_a_receiver_answers_decides_how_it_goes_on() {
        let again = |verdict| matches!(verdict, Verdict::Again(_));
        for (status, failures, expected) in [
            (200, 0, "delivered"),
            (204, 15, "delivered"),
            (301, 1, "again"),
            (307, 2, "never"),
            (401, 1, "again"),
            (404, 2, "never"),
            (410, 2, "never"),
            (408, 9, "again"),
            (425, 9, "again"),
            (429, 9, "again"),
            (500, 14, "again"),
            (503, 15, "never"),
            (503, u32::MAX, "never"),
        ] {
            let verdict = RETRY.judge(&answer(status, None), (failures, "p"), NOW);
            let fits = match expected {
                "delivered" => verdict == Verdict::Delivered,
                "never" => verdict == Verdict::Never,
                _ => again(verdict),
            };
            assert!(fits, "{status} after {failures}: {verdict:?}");
        }
    }

    #[test]
    fn an_address_that_is_not_connected_to_is_soon_given_up_and_silence_is_not() {
        let refused = || {
            Err(NetFault::RefusedAddress {
                host: "r.test".to_owned(),
                address: "10.0.0.1".parse().unwrap(),
                range: "private",
            })
        };
        let silent = || {
            Err(NetFault::TimedOut {
                host: "r.test".to_owned(),
                phase: "the answer",
            })
        };
        assert_eq!(RETRY.judge(&refused(), (2, "p"), NOW), Verdict::Never);
        for (fault, failures) in [(refused(), 1), (silent(), 2), (silent(), 14)] {
            let verdict = RETRY.judge(&fault, (failures, "p"), NOW);
            assert!(matches!(verdict, Verdict::Again(_)), "{fault:?}");
        }
    }

    #[test]
    fn pauses_double_within_bounds_and_are_as_long_as_asked_for() {
        for (failures, asked, low, high) in [
            (1, None, 750, 1_250),
            (2, None, 1_500, 2_500),
            (5, None, 12_000, 20_000),
            (40, None, 450_000, 750_000),
            (1, Some(90), 90_000, 112_500),
            (1, Some(0), 1_000, 1_250),
            (1, Some(1_000_000), 600_000, 750_000),
        ] {
            let asked = asked.map(Duration::from_secs);
            for name in ["a", "b", "c"] {
                let pause = RETRY.pause(failures, asked, name).as_millis();
                assert!(
                    (low..=high).contains(&pause),
                    "{failures} {asked:?} {pause}"
                );
            }
        }
        let spread = |name| RETRY.pause(3, None, name);
        assert_ne!(spread("a"), spread("b"));
        let verdict = RETRY.judge(&answer(503, Some("120")), (0, "p"), NOW);
        assert!(matches!(verdict, Verdict::Again(pause) if pause.as_secs() >= 120));
    }
}
