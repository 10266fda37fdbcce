//! The board where workers post what they are doing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::Standings;
use crate::clock::Clock;
use crate::protocol::Timestamp;

/// What a worker is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It has not looked for work yet.
    Starting,
    /// It waits for work.
    Idle,
    /// It works.
    Busy,
    /// It finishes what it has begun and takes nothing new.
    Draining,
    /// It has ended.
    Stopped,
}

/// One line of the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The worker.
    pub name: String,
    /// What it is doing.
    pub state: WorkerState,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// More for people, such as `12 in flight`; may be empty.
    pub detail: String,
}

/// The board of one process. Cloning is cheap; all clones show the same lines.
#[derive(Clone)]
pub struct Board {
    lines: Arc<Mutex<BTreeMap<String, Status>>>,
    standings: Standings,
    clock: Clock,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Board").field(&self.read()).finish()
    }
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            lines: Arc::default(),
            standings: Standings::default(),
            clock,
        }
    }

    /// How members of groups do.
    #[must_use]
    pub fn standings(&self) -> Standings {
        self.standings.clone()
    }

    /// A place on the board for a worker; a second place of that name takes over the line of the first.
    #[must_use]
    pub fn place(&self, name: impl Into<String>) -> Post {
        let post = Post {
            name: name.into(),
            board: self.clone(),
        };
        post.show(WorkerState::Starting, "");
        post
    }

    /// Every line, by name.
    #[must_use]
    pub fn read(&self) -> Vec<Status> {
        self.lines().values().cloned().collect()
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, Status>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's place on the board; when it is dropped the line says `stopped`.
#[derive(Debug)]
pub struct Post {
    name: String,
    board: Board,
}

impl Post {
    /// Shows what the worker does now; `since` moves only when the state changes.
    pub fn show(&self, state: WorkerState, detail: impl Into<String>) {
        let now = self.board.clock.now();
        let mut lines = self.board.lines();
        let since = match lines.get(&self.name) {
            Some(line) if line.state == state => line.since,
            _ => now,
        };
        let line = Status {
            name: self.name.clone(),
            state,
            since,
            detail: detail.into(),
        };
        lines.insert(self.name.clone(), line);
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.show(WorkerState::Stopped, "");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::TestClock;

    #[test]
    fn a_line_says_since_when_the_worker_is_in_its_state() {
        let test = TestClock::at(Timestamp::from_millis(1_000));
        let board = Board::new(Clock::over(test.clone()));
        let post = board.place("queue");
        let other = board.place("committer");
        post.show(WorkerState::Busy, "1 in flight");
        test.advance(Duration::from_secs(2));
        post.show(WorkerState::Busy, "2 in flight");
        let line = board.read().remove(1);
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"name":"queue","state":"busy","since":"1970-01-01T00:00:01.000Z","detail":"2 in flight"}"#
        );
        drop(post);
        assert_eq!(board.read()[1].state, WorkerState::Stopped);
        assert_eq!(board.read()[1].since.as_millis(), 3_000);
        assert_eq!(board.read()[0].state, WorkerState::Starting);
        drop(other);
    }
}
