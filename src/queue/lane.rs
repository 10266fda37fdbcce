//! One lane: the order of one sender and one recipient.
//!
//! A lane has one request, or one batch of it, under way. What cannot be kept in memory stands
//! *behind*: from that number on the lane is read again from the database when its turn comes. So
//! a blocked lane costs one entry, however much waits in it.

use std::collections::VecDeque;

use crate::protocol::Timestamp;
use crate::store::{QueueRow, shard_of};

/// The most rows of one lane in memory.
pub(super) const LANE_ROWS: usize = 400;

/// Which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LaneKey {
    /// The order of a sender and a recipient.
    Pair(i64),
    /// A delivery that left its lane: it is tried by itself. Its number, and the lane it left.
    Alone(i64, i64),
}

impl LaneKey {
    pub(super) const fn of(row: &QueueRow) -> Self {
        if row.loose {
            Self::Alone(row.seq, row.lane)
        } else {
            Self::Pair(row.lane)
        }
    }

    /// The shard whose owner may send it.
    pub(super) fn shard(self) -> u16 {
        let (Self::Pair(lane) | Self::Alone(_, lane)) = self;
        shard_of(lane)
    }
}

/// What a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneState {
    /// Its head may go.
    Free,
    /// Something of it is under way.
    Taken,
    /// Its head must wait.
    Blocked {
        until: Timestamp,
        destination_fault: bool,
    },
}

/// The rows of a lane that are in memory, and where the others begin.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) state: LaneState,
    pub(super) rows: VecDeque<QueueRow>,
    pub(super) behind: Option<i64>,
    /// Where it is listed among those that may go.
    pub(super) listed: Option<(u8, i64)>,
}

impl Lane {
    pub(super) const fn new() -> Self {
        Self {
            state: LaneState::Free,
            rows: VecDeque::new(),
            behind: None,
            listed: None,
        }
    }

    /// Whether the entry holds nothing that is not known without it.
    pub(super) fn is_empty(&self) -> bool {
        self.state == LaneState::Free && self.rows.is_empty() && self.behind.is_none()
    }

    /// Takes a row at the end; says whether it is in memory now.
    pub(super) fn push(&mut self, row: QueueRow) -> bool {
        if self.behind.is_some() {
            return false;
        }
        let blocked = matches!(self.state, LaneState::Blocked { .. });
        if blocked || self.rows.len() >= LANE_ROWS {
            self.behind = Some(row.seq);
            return false;
        }
        self.rows.push_back(row);
        true
    }

    /// Takes a row that was committed late, in its place, where there is room for it; else it and
    /// what follows it stand behind. Says how many rows came into memory and how many went.
    pub(super) fn push_late(
        &mut self,
        row: QueueRow,
        has_room: impl Fn() -> bool,
    ) -> (usize, usize) {
        let at = self.rows.partition_point(|other| other.seq < row.seq);
        let known = self.behind.is_some_and(|behind| behind <= row.seq)
            || self.rows.get(at).is_some_and(|other| other.seq == row.seq);
        if known {
            return (0, 0);
        }
        let blocked = matches!(self.state, LaneState::Blocked { .. });
        if blocked || self.rows.len() >= LANE_ROWS || !has_room() {
            let gone = self.rows.len() - at;
            self.rows.truncate(at);
            self.behind = Some(row.seq);
            return (0, gone);
        }
        self.rows.insert(at, row);
        (1, 0)
    }

    /// Drops the rows in memory: they stand behind. Says how many there were.
    pub(super) fn shed(&mut self, from: Option<i64>) -> usize {
        let first = self.rows.front().map(|row| row.seq);
        self.behind = [from, first, self.behind].into_iter().flatten().min();
        let count = self.rows.len();
        self.rows.clear();
        count
    }

    /// Where the lane stands among those that may go: urgent ones first, then by age.
    pub(super) fn rank(&self) -> Option<(u8, i64)> {
        if self.state != LaneState::Free {
            return None;
        }
        match (self.rows.front(), self.behind) {
            (Some(row), _) => Some((3_u8.saturating_sub(row.priority), row.seq)),
            (None, Some(behind)) => Some((2, behind)),
            (None, None) => None,
        }
    }
}
