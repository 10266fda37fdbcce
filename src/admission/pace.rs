//! How many messages may be in flight: as many as are written within the target time. Pure.
//!
//! - The limit moves only while it is reached: when six tenths of it are in use, where low priority
//!   is shed already. A slow machine with little to do sheds nothing.
//! - It falls when messages took longer than the target, or the runtime was late, in two looks one
//!   after the other: to what Little's law allows at the measured rate, at most by half a look.
//! - It rises by an eighth a look when they took less.
//! - Else it goes back to rest: as many as are written within the target and a quarter of it by what a
//!   message was seen to cost, 128 to 512. So a burst is taken, and a flood is noticed soon and is not taken in
//!   before it is.
//! - While the store stands still the limit does too.
//! - The target is never less than three times what a small commit takes: else a slow disk would
//!   keep the batches small, and the small batches the disk slow.

use std::time::Duration;

/// The limit at rest while nothing is known of what a message costs, and the most at rest.
pub(super) const REST: u32 = 512;
/// The least at rest.
pub(super) const LEAST_REST: u32 = 128;
/// The limit is never below.
pub(super) const LEAST: u32 = 64;
/// The limit is never above.
pub(super) const MOST: u32 = 4_096;
/// The target is at least so many small commits.
const COMMITS: u32 = 3;
/// A commit of fewer verbs says nothing about what one more costs.
const TELLING: u32 = 16;
/// What a commit told counts for this much at the next.
const MEMORY: f64 = 31.0 / 32.0;

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

/// What commits took by how many verbs they had: sums that fade.
#[derive(Debug)]
struct Cost {
    count: f64,
    verbs: f64,
    seconds: f64,
    squares: f64,
    products: f64,
}

impl Cost {
    const NONE: Self = Self {
        count: 0.0,
        verbs: 0.0,
        seconds: 0.0,
        squares: 0.0,
        products: 0.0,
    };

    fn note(&mut self, verbs: u32, took: Duration) {
        let (verbs, seconds) = (f64::from(verbs), took.as_secs_f64());
        for (sum, more) in [
            (&mut self.count, 1.0),
            (&mut self.verbs, verbs),
            (&mut self.seconds, seconds),
            (&mut self.squares, verbs * verbs),
            (&mut self.products, verbs * seconds),
        ] {
            *sum = sum.mul_add(MEMORY, more);
        }
    }

    /// The seconds that one more verb takes, by the line through what was seen: at most what a verb
    /// took in the mean, which is all that commits of one size tell.
    fn each(&self) -> Option<f64> {
        let most = self.seconds / self.verbs;
        let spread = self.squares - self.verbs * self.verbs / self.count;
        let slope = (self.products - self.verbs * self.seconds / self.count) / spread;
        let each = if spread > self.count { slope } else { most };
        let each = each.clamp(f64::MIN_POSITIVE, most.max(f64::MIN_POSITIVE));
        (self.count > 0.0).then_some(each)
    }
}

/// The limit and what moves it.
#[derive(Debug)]
pub(super) struct Pace {
    wanted: Duration,
    small_commit: Duration,
    cost: Cost,
    limit: u32,
    late: u32,
}

impl Pace {
    /// At rest; messages should be written within `wanted`.
    pub(super) const fn new(wanted: Duration) -> Self {
        Self {
            wanted,
            small_commit: Duration::ZERO,
            cost: Cost::NONE,
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

    /// The store wrote `verbs` verbs at once.
    pub(super) fn committed(&mut self, verbs: usize, took: Duration) {
        let verbs = u32::try_from(verbs).unwrap_or(u32::MAX).max(1);
        if verbs <= LEAST {
            self.note_small(took);
        }
        if verbs >= TELLING {
            self.cost.note(verbs, took);
        }
    }

    /// Large batches say nothing about the disk, and slow ones little: while the gateway is busy they
    /// wait for the processor. So this follows the quick ones soon, and the slow ones hardly.
    fn note_small(&mut self, took: Duration) {
        let known = self.small_commit;
        self.small_commit = if known.is_zero() {
            took
        } else if took < known {
            known - (known - took) / 8
        } else {
            known + (took - known) / 256
        };
    }

    /// Where the limit goes while it is not reached.
    fn rest(&self) -> u32 {
        let soon = self.target() + self.target() / 4;
        let fits = self.cost.each().map(|each| soon.as_secs_f64() / each);
        fits.map_or(REST, |fits| clamp(fits, LEAST_REST, REST))
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
        let rest = self.rest();
        self.limit = match (reached, slow) {
            (true, true) if self.late == 1 => self.limit,
            (true, true) => {
                let fits = rate(seen.written, span) * target.as_secs_f64();
                clamp(fits, self.limit / 2, self.limit)
            }
            (true, false) => (self.limit + self.limit / 8).min(MOST),
            (false, _) if self.limit < rest => self.limit + (rest - self.limit).div_ceil(8),
            (false, _) => self.limit - (self.limit - rest).div_ceil(8),
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
