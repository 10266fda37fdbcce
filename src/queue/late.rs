//! What is read again because rows may become visible late: pure, without I/O or clock.
//!
//! Where several connections commit, a delivery may be committed after one with a higher number
//! was read. Such a row is there [`SETTLED`] after its number was drawn. So once a second what is
//! above the mark of that time ago is read again; and a slow sweep goes through all that is below,
//! a page at a time, for whatever was missed.

use std::collections::VecDeque;
use std::time::Duration;

/// How often what is new and recent is looked for.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// After this time every row below a mark is visible.
const SETTLED: Duration = Duration::from_secs(10);
/// How often a sweep begins.
const SWEEP: Duration = Duration::from_secs(30);

/// Numbers above the first, up to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) after: i64,
    pub(super) upto: i64,
}

/// Remembers how far the numbers had come.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    /// The highest number known at a moment, oldest first.
    marks: VecDeque<(Duration, i64)>,
    next_look: Duration,
    next_sweep: Option<Duration>,
    /// How far the sweep that goes on has come.
    swept: Option<i64>,
}

impl Lookout {
    /// When to look again.
    pub(super) const fn next_look(&self) -> Duration {
        self.next_look
    }

    /// Notes the highest number known; the next look is a second later.
    pub(super) fn looked(&mut self, now: Duration, newest: i64) {
        self.next_look = now + LOOK;
        let newest = self.marks.back().map_or(newest, |(_, it)| newest.max(*it));
        self.marks.push_back((now, newest));
        while self
            .marks
            .get(1)
            .is_some_and(|(at, _)| *at + SETTLED <= now)
        {
            self.marks.pop_front();
        }
        if *self.next_sweep.get_or_insert(now + SETTLED) <= now && self.swept.is_none() {
            self.next_sweep = Some(now + SWEEP);
            self.swept = Some(0);
        }
    }

    /// What is to be read again now, of all up to `high`.
    pub(super) fn recent(&self, high: i64) -> Option<Span> {
        let after = self.settled();
        (after < high).then_some(Span { after, upto: high })
    }

    /// What the sweep reads next, of all up to `high`.
    pub(super) fn to_sweep(&self, high: i64) -> Option<Span> {
        let after = self.swept?;
        let upto = self.settled().min(high);
        Some(Span { after, upto })
    }

    /// The sweep came up to this number, or to its end.
    pub(super) fn swept(&mut self, upto: Option<i64>) {
        self.swept = upto;
    }

    /// Up to this number every row is visible.
    fn settled(&self) -> i64 {
        self.marks.front().map_or(0, |(_, mark)| *mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_above_the_mark_of_ten_seconds_ago_is_read_again() {
        let mut lookout = Lookout::default();
        for second in 0..=12 {
            lookout.looked(seconds(second), 100 + i64::try_from(second).unwrap());
        }
        assert_eq!(lookout.next_look(), seconds(13));
        let span = |after, upto| Some(Span { after, upto });
        assert_eq!(lookout.recent(500), span(102, 500));
        assert_eq!(lookout.recent(102), None);
        lookout.looked(seconds(13), 0);
        assert_eq!(lookout.recent(500), span(103, 500), "a mark never falls");
        lookout.looked(seconds(60), 200);
        assert_eq!(lookout.recent(500), span(112, 500));
    }

    #[test]
    fn a_sweep_goes_by_pages_and_begins_every_half_minute() {
        let mut lookout = Lookout::default();
        lookout.looked(seconds(0), 70);
        assert_eq!(lookout.to_sweep(500), None);
        lookout.looked(seconds(10), 90);
        let span = |after, upto| Some(Span { after, upto });
        assert_eq!(lookout.to_sweep(500), span(0, 70));
        lookout.swept(Some(40));
        assert_eq!(lookout.to_sweep(500), span(40, 70));
        assert_eq!(lookout.to_sweep(60), span(40, 60));
        lookout.swept(None);
        lookout.looked(seconds(39), 90);
        assert_eq!(lookout.to_sweep(500), None);
        lookout.looked(seconds(40), 90);
        assert_eq!(lookout.to_sweep(500), span(0, 90));
    }
}
