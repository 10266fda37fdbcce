//! When a delivery is tried again (AMTP 1.0, section 5.3.2).
//!
//! The pause doubles from the first to the longest, a quarter more or less by chance, so that what
//! failed together does not come back together. A time the other side asks for takes its place, up
//! to the longest pause; but after six attempts it doubles too, else a side that is busy for some minutes
//! and asks for a second each time would use up all attempts.

use std::time::Duration;

/// So many attempts come after the pause that was asked for alone.
const QUICK: u32 = 6;

/// How long and how often a delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The pause after the first attempt.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
    /// The most attempts.
    pub attempts: u32,
    /// The longest time from acceptance.
    pub give_up: Duration,
}

impl Schedule {
    /// The pause after `made` attempts; `chance` from 0 to 1 spreads it. Never earlier than `asked` for.
    #[must_use]
    pub fn pause(&self, made: u32, asked: Option<Duration>, chance: f64) -> Duration {
        let chance = chance.clamp(0.0, 1.0);
        if let Some(asked) = asked {
            let own = self.plain(made.saturating_sub(QUICK));
            // A little later, so that not all come at once.
            return asked.min(self.max).max(own).mul_f64(1.0 + chance / 4.0);
        }
        self.plain(made).mul_f64(0.75 + chance / 2.0)
    }

    fn plain(&self, made: u32) -> Duration {
        let doublings = made.saturating_sub(1).min(40);
        let factor = 1_u64 << doublings;
        let plain = u64::try_from(self.initial.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(factor);
        Duration::from_millis(plain).min(self.max)
    }

    /// Whether a delivery that keeps failing for its own sake leaves its lane, so that it no
    /// longer holds up those behind it: after five attempts, or a quarter of an hour.
    #[must_use]
    pub fn leaves_lane(made: u32, since_first: Duration) -> bool {
        made >= 5 || since_first >= Duration::from_secs(15 * 60)
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

    #[test]
    fn the_pause_doubles_up_to_an_hour() {
        for (made, seconds) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (10, 512),
            (12, 2_048),
            (13, 3_600),
            (168, 3_600),
            (u32::MAX, 3_600),
        ] {
            let plain = Duration::from_secs(seconds);
            assert_eq!(SCHEDULE.pause(made, None, 0.5), plain, "{made}");
            assert_eq!(
                SCHEDULE.pause(made, None, 0.0),
                plain.mul_f64(0.75),
                "{made}"
            );
            assert_eq!(
                SCHEDULE.pause(made, None, 1.0),
                plain.mul_f64(1.25),
                "{made}"
            );
        }
    }

    #[test]
    fn what_the_other_side_asks_for_is_honoured_within_bounds() {
        for (made, asked, chance, pause) in [
            (1, 30_000, 0.0, 30_000),
            (9, 30_000, 0.0, 30_000),
            (9, 30_000, 1.0, 37_500),
            (1, 0, 0.0, 1_000),
            (7, 0, 0.0, 1_000),
            (9, 0, 0.0, 4_000),
            (168, 0, 0.0, 3_600_000),
            (1, 365 * 86_400_000, 0.0, 3_600_000),
        ] {
            let asked = Some(Duration::from_millis(asked));
            assert_eq!(
                SCHEDULE.pause(made, asked, chance),
                Duration::from_millis(pause)
            );
        }
    }

    #[test]
    fn a_week_of_attempts_fits_the_schedule() {
        for asked in [None, Some(Duration::from_secs(1))] {
            let pauses = (1..SCHEDULE.attempts).map(|made| SCHEDULE.pause(made, asked, 0.5));
            let total: Duration = pauses.sum();
            assert!(total > Duration::from_secs(6 * 86_400), "{total:?}");
            assert!(total < SCHEDULE.give_up.mul_f64(1.125), "{total:?}");
        }
    }

    #[test]
    fn a_poison_message_leaves_its_lane() {
        let minute = Duration::from_secs(60);
        assert!(!Schedule::leaves_lane(4, minute));
        assert!(Schedule::leaves_lane(5, minute));
        assert!(Schedule::leaves_lane(1, 15 * minute));
    }
}
