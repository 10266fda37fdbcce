//! How many messages may be in flight: as many as are written within the target time. Pure.
//!
//! - The limit moves only while it is reached: when six tenths of it are in use, where low priority
//!   is shed already. A slow machine with little to do sheds nothing.
//! - It falls when messages took longer than the target, or the runtime was late, in two looks one
//!   after the other: to what Little's law allows at the measured rate, at most by half a look.
//! - It rises by an eighth a look when they took less.
//! - Else it goes back to 512, so that a burst is taken and a flood is noticed soon.
//! - While the store stands still the limit does too.
//! - The target is never less than three times what a small commit takes: else a slow disk would
//!   keep the batches small, and the small batches the disk slow.

use std::time::Duration;

/// The limit at rest.
pub(super) const REST: u32 = 512;
/// The limit is never below.
pub(super) const LEAST: u32 = 64;
/// The limit is never above.
pub(super) const MOST: u32 = 4_096;
/// The target is at least so many small commits.
const COMMITS: u32 = 3;

/// What was seen since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Messages that left: written, or refused by the store.
    pub(super) written: u32,
    /// How long all of them took together.
    pub(super) took: Duration,
    /// The most that were in flight.
    pub(super) peak: u32,
    /// How late the runtime was at its best.
    pub(super) lag: Duration,
}

impl Seen {
    fn mean(&self) -> Duration {
        self.took.checked_div(self.written).unwrap_or_default()
    }
}

/// The limit and what moves it.
#[derive(Debug)]
pub(super) struct Pace {
    wanted: Duration,
    small_commit: Duration,
    limit: u32,
    late: u32,
}

impl Pace {
    /// At rest; messages should be written within `wanted`.
    pub(super) const fn new(wanted: Duration) -> Self {
        Self {
            wanted,
            small_commit: Duration::ZERO,
            limit: REST,
            late: 0,
        }
    }

    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether the limit was reached and messages took too long at the last look.
    pub(super) const fn is_late(&self) -> bool {
        self.late > 0
    }

    /// How long a message may take.
    pub(super) fn target(&self) -> Duration {
        self.wanted.max(self.small_commit * COMMITS)
    }

    /// The store wrote `verbs` verbs at once. Large batches say nothing about the disk, and slow
    /// ones little: while the gateway is busy they wait for the processor. So this follows the
    /// quick ones soon, and the slow ones hardly.
    pub(super) fn committed(&mut self, verbs: usize, took: Duration) {
        if verbs > LEAST as usize {
            return;
        }
        let known = self.small_commit;
        self.small_commit = if known.is_zero() {
            took
        } else if took < known {
            known - (known - took) / 8
        } else {
            known + (took - known) / 256
        };
    }

    /// Takes in what was seen in the last `span`.
    pub(super) fn look(&mut self, seen: &Seen, span: Duration) {
        if seen.written == 0 && seen.peak > 0 {
            // The store stands still: that says nothing of how much it takes when it goes.
            return;
        }
        let target = self.target();
        let reached = u64::from(seen.peak) * 5 >= u64::from(self.limit) * 3;
        let slow = seen.mean() > target || seen.lag > target / 2;
        self.late = if reached && slow { self.late + 1 } else { 0 };
        self.limit = match (reached, slow) {
            (true, true) if self.late == 1 => self.limit,
            (true, true) => {
                let fits = rate(seen.written, span) * target.as_secs_f64();
                clamp(fits, self.limit / 2, self.limit)
            }
            (true, false) => (self.limit + self.limit / 8).min(MOST),
            (false, _) if self.limit < REST => self.limit + (REST - self.limit).div_ceil(8),
            (false, _) => self.limit - (self.limit - REST).div_ceil(8),
        };
    }
}

fn rate(count: u32, span: Duration) -> f64 {
    match span.as_secs_f64() {
        seconds if seconds > 0.0 => f64::from(count) / seconds,
        _ => 0.0,
    }
}

/// The nearest allowed limit.
fn clamp(wanted: f64, low: u32, high: u32) -> u32 {
    let low = low.max(LEAST);
    let high = high.max(low);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between two whole numbers"
    )]
    let nearest = wanted.clamp(f64::from(low), f64::from(high)) as u32;
    nearest
}
