//! Which urgency has the next slot of a destination: pure.
//!
//! The most urgent work that waits goes first. Of twenty slots each less urgent kind that waits has
//! one all the same, so that under any load something of it goes on.

/// How many urgencies there are: 0 is the most urgent, 3 the least.
const URGENCIES: usize = 4;
/// Who was passed over so often has the next slot: one of twenty.
const PATIENCE: u8 = 19;

/// How often each urgency was passed over while it waited.
#[derive(Debug, Default)]
pub(super) struct Slots {
    passed: [u8; URGENCIES],
}

impl Slots {
    /// The urgency that has the next slot; the least urgent of those whose patience is at an end.
    pub(super) fn next(&self, waits: impl Fn(u8) -> bool) -> Option<u8> {
        let waiting = || (0_u8..).take(URGENCIES).filter(|urgency| waits(*urgency));
        let overdue = waiting().filter(|urgency| self.passed[usize::from(*urgency)] >= PATIENCE);
        overdue.last().or_else(|| waiting().next())
    }

    /// Work of this urgency takes a slot; `waits` says what was there at that moment.
    pub(super) fn took(&mut self, urgency: u8, waits: impl Fn(u8) -> bool) {
        for (other, passed) in (0_u8..).zip(&mut self.passed) {
            if other == urgency {
                *passed = 0;
            } else if waits(other) {
                *passed = passed.saturating_add(1).min(PATIENCE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many slots each urgency gets where all of `waiting` wait all the time.
    fn shares(waiting: &[u8], slots: usize) -> [usize; URGENCIES] {
        let mut shares = [0; URGENCIES];
        let mut state = Slots::default();
        let waits = |urgency: u8| waiting.contains(&urgency);
        for _ in 0..slots {
            let next = state.next(waits).unwrap();
            state.took(next, waits);
            shares[usize::from(next)] += 1;
        }
        shares
    }

    #[test]
    fn the_less_urgent_have_one_slot_of_twenty_each() {
        for (waiting, expected) in [
            (&[0_u8, 3][..], [950, 0, 0, 50]),
            (&[2, 3], [0, 0, 950, 50]),
            (&[0, 1, 2, 3], [850, 50, 50, 50]),
            (&[1], [0, 1000, 0, 0]),
        ] {
            let found = shares(waiting, 1_000);
            for (found, expected) in found.into_iter().zip(expected) {
                assert!(
                    found.abs_diff(expected) <= 3,
                    "{waiting:?}: {found} {expected}"
                );
            }
        }
        assert_eq!(Slots::default().next(|_| false), None);
    }

    #[test]
    fn nobody_saves_up_slots_while_nothing_of_it_waits() {
        let mut state = Slots::default();
        for _ in 0..100 {
            state.took(0, |urgency| urgency == 0);
        }
        assert_eq!(state.next(|urgency| urgency == 0 || urgency == 3), Some(0));
    }
}
