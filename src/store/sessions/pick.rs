//! Which of the messages that wait a session is handed next.
//!
//! Within a sender the oldest comes first, always. Which sender comes next: one whose oldest message
//! was handed out before, so that of a lost session; then the more urgent one; then the older one.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::store::SessionOrder;

/// A message that waits in the mailbox and belongs to no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) seq: i64,
    pub(super) mid: i64,
    pub(super) sender: i64,
    pub(super) read: bool,
    pub(super) priority: i64,
    /// Hidden until this moment.
    pub(super) hidden_until: i64,
    pub(super) size: i64,
}

/// What there is to pick from.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// By sender, or each by itself where no order is kept.
    lines: HashMap<i64, VecDeque<Waiting>>,
    /// Senders of which something is hidden.
    held: HashSet<i64>,
    /// When the first of what is hidden can be seen.
    due: Option<i64>,
}

/// How much may be picked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) messages: usize,
    pub(super) bytes: i64,
}

impl Choice {
    /// Adds messages in rising order of their positions.
    pub(super) fn add(&mut self, rows: Vec<Waiting>, order: SessionOrder, now: i64) {
        for row in rows {
            let kept = order == SessionOrder::Kept;
            if row.hidden_until > now {
                self.due = Some(
                    self.due
                        .map_or(row.hidden_until, |due| due.min(row.hidden_until)),
                );
                self.held.insert(row.sender);
            } else if !(kept && self.held.contains(&row.sender)) {
                let line = if kept { row.sender } else { row.seq };
                self.lines.entry(line).or_default().push_back(row);
            }
        }
    }

    /// Whether there is nothing to pick.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// When the first of what is hidden can be seen.
    pub(super) fn due(&self) -> Option<i64> {
        self.due
    }

    /// Picks what there is room for, in the order it is to be pushed; a single message may be larger
    /// than the room. Tells also whether something was left.
    pub(super) fn pick(mut self, room: Room) -> (Vec<Waiting>, bool) {
        let rank =
            |line: i64, row: &Waiting| (Reverse(row.read), Reverse(row.priority), row.seq, line);
        let heads = self.lines.iter();
        let mut heads: BTreeSet<_> = heads
            .filter_map(|(line, rows)| Some(rank(*line, rows.front()?)))
            .collect();
        let (mut picked, mut bytes) = (Vec::new(), 0);
        while picked.len() < room.messages {
            let Some((_, _, _, line)) = heads.pop_first() else {
                return (picked, false);
            };
            let Some(rows) = self.lines.get_mut(&line) else {
                continue;
            };
            let Some(row) = rows.pop_front() else {
                continue;
            };
            bytes += row.size;
            if bytes > room.bytes && !picked.is_empty() {
                return (picked, true);
            }
            if let Some(next) = rows.front() {
                heads.insert(rank(line, next));
            }
            picked.push(row);
        }
        let more = !heads.is_empty();
        (picked, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        messages: 100,
        bytes: 1_000,
    };

    /// Rows as `(sender, priority, read, hidden until)`; positions count from 1.
    fn rows(all: &[(i64, i64, bool, i64)]) -> Vec<Waiting> {
        let row =
            |(at, (sender, priority, read, hidden_until)): (usize, &(i64, i64, bool, i64))| {
                let seq = i64::try_from(at + 1).unwrap();
                Waiting {
                    seq,
                    mid: seq * 10,
                    sender: *sender,
                    read: *read,
                    priority: *priority,
                    hidden_until: *hidden_until,
                    size: 100,
                }
            };
        all.iter().enumerate().map(row).collect()
    }

    fn picked(all: &[(i64, i64, bool, i64)], order: SessionOrder, room: Room) -> (Vec<i64>, bool) {
        let mut choice = Choice::default();
        choice.add(rows(all), order, 50);
        let (picked, more) = choice.pick(room);
        (picked.iter().map(|row| row.seq).collect(), more)
    }

    #[test]
    fn senders_come_by_lost_then_priority_then_age_and_each_in_its_order() {
        let kept = SessionOrder::Kept;
        let free = SessionOrder::None;
        // An urgent message does not overtake an earlier one of its sender.
        let mixed = [
            (1, 1, false, 0),
            (2, 1, false, 0),
            (1, 3, false, 0),
            (3, 3, false, 0),
        ];
        assert_eq!(picked(&mixed, kept, ROOM).0, [4, 1, 3, 2]);
        assert_eq!(picked(&mixed, free, ROOM).0, [3, 4, 1, 2]);
        let lost = [
            (1, 3, false, 0),
            (2, 0, true, 0),
            (2, 3, false, 0),
            (3, 1, true, 0),
        ];
        assert_eq!(picked(&lost, kept, ROOM).0, [4, 2, 1, 3]);
    }

    #[test]
    fn behind_what_is_hidden_its_sender_waits() {
        let held = [
            (1, 1, false, 0),
            (1, 1, false, 90),
            (2, 1, false, 0),
            (1, 1, false, 0),
        ];
        assert_eq!(picked(&held, SessionOrder::Kept, ROOM).0, [1, 3]);
        assert_eq!(picked(&held, SessionOrder::None, ROOM).0, [1, 3, 4]);
        let mut choice = Choice::default();
        choice.add(rows(&held), SessionOrder::Kept, 50);
        assert_eq!(choice.due(), Some(90));
    }

    #[test]
    fn the_room_is_kept_but_one_message_always_fits() {
        let three = [(1, 1, false, 0), (2, 1, false, 0), (3, 1, false, 0)];
        let room = |messages, bytes| Room { messages, bytes };
        let kept = SessionOrder::Kept;
        assert_eq!(picked(&three, kept, room(2, 1_000)), (vec![1, 2], true));
        assert_eq!(picked(&three, kept, room(9, 250)), (vec![1, 2], true));
        assert_eq!(picked(&three, kept, room(9, 10)), (vec![1], true));
        assert_eq!(picked(&three, kept, room(3, 300)), (vec![1, 2, 3], false));
        assert_eq!(picked(&three, kept, room(0, 300)), (vec![], true));
        assert_eq!(picked(&[], kept, ROOM), (vec![], false));
    }
}
