//! Who is in, and who may still come in. Pure: values in, values out.

use std::time::Duration;

use super::class::Class;
use super::pace::{MOST, Pace, Seen};

/// Messages handed to the store and not yet written hold at most this many bytes.
pub(super) const BYTES: u64 = 64 * 1024 * 1024;
/// Reads at a time.
pub(super) const READS: u32 = 256;
/// Reads at a time while the gateway is busy: lists are shed, but no agent is shut out for good.
pub(super) const READS_WHILE_BUSY: u32 = 2;
/// Requests at a time that only make the gateway emptier.
pub(super) const DRAINS: u32 = 4_096;

/// Who is in.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) pace: Pace,
    /// Messages whose request came in this turn or the last, and that are not handed over yet. Who
    /// takes longer (a slow client, a slow DNS) is not waited for by others and not counted.
    entering: [u32; 2],
    turn: u64,
    /// Messages handed to the store and not yet written.
    placed: u32,
    placed_bytes: u64,
    unverified: u32,
    /// Of them those of the immediate path: their senders are answered and send the next already.
    early: u32,
    reads: u32,
    drains: u32,
    seen: Seen,
    /// The least lag of the turns since the last look.
    lag: Option<Duration>,
    /// When something was shed last.
    shed_at: Option<Duration>,
}

impl Books {
    pub(super) const fn new(wanted: Duration) -> Self {
        Self {
            pace: Pace::new(wanted),
            entering: [0; 2],
            turn: 0,
            placed: 0,
            placed_bytes: 0,
            unverified: 0,
            early: 0,
            reads: 0,
            drains: 0,
            seen: Seen {
                written: 0,
                took: Duration::ZERO,
                peak: 0,
                lag: Duration::ZERO,
            },
            lag: None,
            shed_at: None,
        }
    }

    /// Messages in flight, as far as they count.
    pub(super) const fn in_flight(&self) -> u32 {
        self.placed + self.entering[0] + self.entering[1]
    }

    /// Lets a request in, or not. What is given back is its turn.
    pub(super) fn enter(&mut self, class: Class) -> Option<u64> {
        if !self.may_enter(class) {
            return None;
        }
        match class {
            Class::Read => self.reads += 1,
            Class::Drain => self.drains += 1,
            _ => {
                self.entering[slot(self.turn)] += 1;
                self.note_peak();
            }
        }
        Some(self.turn)
    }

    fn may_enter(&self, class: Class) -> bool {
        match class {
            Class::Read if self.pace.is_late() || !self.has_room(class) => {
                self.reads < READS_WHILE_BUSY
            }
            Class::Read => self.reads < READS,
            Class::Drain => self.drains < DRAINS,
            _ => self.has_room(class) && self.has_room_for_bytes(class, 1),
        }
    }

    /// A request has left, or its message is handed over.
    pub(super) const fn leave(&mut self, class: Class, turn: u64) {
        match class {
            Class::Read => self.reads -= 1,
            Class::Drain => self.drains -= 1,
            _ if self.is_counted(turn) => self.entering[slot(turn)] -= 1,
            _ => {}
        }
    }

    /// Hands a message to the store, or not. `entered` is how its request came in, which ends with
    /// this; it brings one message in with it, further ones come in by themselves.
    pub(super) fn place(
        &mut self,
        class: Class,
        bytes: u64,
        entered: Option<(Class, u64)>,
    ) -> bool {
        let counted = entered.filter(|(_, turn)| self.is_counted(*turn));
        if let Some((came_as, turn)) = entered {
            self.leave(came_as, turn);
        }
        // What the immediate path has room for is a submission like others.
        let early = class == Class::Immediate;
        let as_one = if early { Class::Submission } else { class };
        // Who came in as this class has its place; who turned out to be less must find one.
        let settled = counted.is_some_and(|(came_as, _)| came_as <= as_one);
        let room = settled || self.has_room(as_one);
        // Strangers whom nobody vouches for hold half of it at most.
        let stranger = class == Class::Unverified;
        let crowd = stranger && self.unverified >= self.pace.limit() / 2;
        if !room || crowd || self.placed >= MOST || !self.has_room_for_bytes(as_one, bytes) {
            return false;
        }
        self.early += u32::from(early);
        self.unverified += u32::from(stranger);
        self.placed += 1;
        self.placed_bytes += bytes;
        self.note_peak();
        true
    }

    /// A message was written, or refused by the store, `took` after it came.
    pub(super) fn written(&mut self, class: Class, bytes: u64, took: Duration) {
        self.placed -= 1;
        self.placed_bytes -= bytes;
        self.unverified -= u32::from(class == Class::Unverified);
        self.early -= u32::from(class == Class::Immediate);
        self.seen.written += 1;
        self.seen.took += took;
    }

    /// Whether the immediate path is open. It has a quarter of the limit for itself: who is answered
    /// at once sends at once, and would else leave no room for who waits.
    pub(super) const fn takes_early(&self) -> bool {
        let free = self.early as u64 * 4 < self.pace.limit() as u64;
        free && self.has_room(Class::Immediate) && !self.pace.is_late()
    }

    /// Begins a turn; the runtime was this late.
    pub(super) fn turn(&mut self, lag: Duration) {
        self.turn += 1;
        self.entering[slot(self.turn)] = 0;
        self.lag = Some(self.lag.map_or(lag, |least| least.min(lag)));
    }

    /// Moves the limit by what was seen in the last `span`; gives the lag.
    pub(super) fn look(&mut self, span: Duration) -> Duration {
        let mut seen = std::mem::take(&mut self.seen);
        seen.lag = self.lag.take().unwrap_or_default();
        self.seen.peak = self.in_flight();
        self.pace.look(&seen, span);
        seen.lag
    }

    pub(super) const fn shed(&mut self, now: Duration) {
        self.shed_at = Some(now);
    }

    /// Whether something was shed less than `span` ago.
    pub(super) fn shed_within(&self, span: Duration, now: Duration) -> bool {
        self.shed_at.is_some_and(|at| now.saturating_sub(at) < span)
    }

    /// Whether one more leaves others their room: nothing is shed as long as half of it is free.
    pub(super) const fn is_half_free(&self) -> bool {
        self.has_room(Class::Read) && self.has_room_for_bytes(Class::Read, 1)
    }

    /// Whether one more of this class fits.
    const fn has_room(&self, class: Class) -> bool {
        self.in_flight() as u64 * 100 < self.pace.limit() as u64 * class.share()
    }

    /// A message larger than all the room goes alone.
    const fn has_room_for_bytes(&self, class: Class, bytes: u64) -> bool {
        self.placed_bytes == 0 || self.placed_bytes + bytes <= BYTES / 100 * class.share()
    }

    /// Whether who came in in this turn counts still.
    pub(super) const fn is_counted(&self, turn: u64) -> bool {
        turn + 1 >= self.turn
    }

    fn note_peak(&mut self) {
        self.seen.peak = self.seen.peak.max(self.in_flight());
    }
}

const fn slot(turn: u64) -> usize {
    (turn % 2) as usize
}
