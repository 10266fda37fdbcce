//! Where a key may stand on disk, without asking it.
//!
//! New keys are appended to a log of which each key's row is known. A full log is sealed: the other
//! log takes what is new, while the rows of the full one go, in the order of their keys and a few
//! with each commit, into a run, of which only a [`Filter`] is known.
//!
//! It may name places where a key does not stand (any more), so what is freed needs no word here. It
//! never leaves one out. What a transaction changes counts once it is committed.

use std::collections::HashMap;

use super::filter::{Filter, Key};

/// What a hash table of 65,536 places holds.
pub(in crate::store) const RUN: usize = 57_344;
/// Rows that are moved by one statement.
pub(super) const STEP: usize = 256;

/// One of the two logs.
pub(super) type Half = usize;

/// Where a key may stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Rows of the two logs.
    pub(super) logs: [Vec<i64>; 2],
    /// Runs with the key.
    pub(super) runs: Vec<(i64, Key)>,
}

impl Places {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.logs.iter().all(Vec::is_empty)
    }
}

/// What is to be written for new keys.
#[derive(Debug)]
pub(super) struct Writing {
    /// The log they go to.
    pub(super) half: Half,
    /// The number of the first one's row; the others count on.
    pub(super) first: i64,
    /// Rows of that log which go, because their keys get new ones.
    pub(super) replaced: Vec<i64>,
    pub(super) sealing: Option<Step>,
}

/// A step of sealing.
#[derive(Debug)]
pub(super) enum Step {
    /// A log is full and becomes this run.
    Begin {
        run: i64,
        half: Half,
        newest: i64,
        filter: Filter,
    },
    /// These rows of the log go to the run.
    Move {
        run: i64,
        half: Half,
        rows: Vec<i64>,
        /// They are the last ones.
        last: bool,
    },
}

/// A run, sealed or on the way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) number: i64,
    /// When its youngest key was taken.
    pub(super) newest: i64,
    pub(super) filter: Filter,
}

#[derive(Debug, Default)]
struct Log {
    half: Half,
    rows: HashMap<Key, i64>,
    newest: i64,
}

impl Log {
    fn add(&mut self, key: Key, row: i64, accepted_at: i64) {
        self.rows.insert(key, row);
        self.newest = self.newest.max(accepted_at);
    }
}

#[derive(Debug)]
struct Sealing {
    run: i64,
    log: Log,
    /// Its rows in the order of their keys.
    order: Vec<i64>,
    moved: usize,
}

impl Sealing {
    fn new(run: i64, log: Log) -> Self {
        Self {
            run,
            order: in_order(&log).into_iter().map(|(_, row)| row).collect(),
            log,
            moved: 0,
        }
    }
}

fn in_order(log: &Log) -> Vec<(Key, i64)> {
    let mut rows: Vec<(Key, i64)> = log.rows.iter().map(|(key, row)| (*key, *row)).collect();
    rows.sort_unstable();
    rows
}

/// What the transaction under way changes.
#[derive(Debug, Default)]
struct Pending {
    added: Vec<(Key, i64)>,
    newest: i64,
    begun: Option<Run>,
    moved: usize,
    dropped: Vec<i64>,
}

/// The index.
#[derive(Debug)]
pub(in crate::store) struct Index {
    run_size: usize,
    /// Whether it knows what is on disk.
    read: bool,
    open: Log,
    sealing: Option<Sealing>,
    runs: Vec<Run>,
    next: i64,
    pending: Pending,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(RUN, Vec::new(), None)
    }
}

impl Index {
    /// An index over runs; `sealing` is one that was not finished, with its log.
    pub(super) fn new(run_size: usize, runs: Vec<Run>, sealing: Option<(i64, Half)>) -> Self {
        let log = |half| Log {
            half,
            ..Log::default()
        };
        Self {
            run_size,
            read: true,
            open: log(sealing.map_or(0, |(_, half)| 1 - half)),
            sealing: sealing.map(|(run, half)| Sealing::new(run, log(half))),
            runs,
            next: 1,
            pending: Pending::default(),
        }
    }

    /// An index that does not know yet what is on disk.
    pub(super) fn unread(run_size: usize) -> Self {
        Self {
            read: false,
            ..Self::new(run_size, Vec::new(), None)
        }
    }

    pub(super) const fn run_size(&self) -> usize {
        self.run_size
    }

    /// Whether one of these keys may be on disk.
    pub(super) fn may_know(&self, keys: &[Key]) -> bool {
        !self.read || !self.find(keys).is_empty()
    }

    /// A row found in a log when the database was opened, accepted at that moment or before. Call in
    /// the order of the rows.
    pub(super) fn found(&mut self, half: Half, (key, row): (Key, i64), accepted_at: i64) {
        self.next = self.next.max(row + 1);
        match &mut self.sealing {
            Some(sealing) if sealing.log.half == half => sealing.log.add(key, row, accepted_at),
            _ if self.open.half == half => self.open.add(key, row, accepted_at),
            // Without a run that is being sealed there is one log; which one, its rows tell.
            _ => {
                self.open.half = half;
                self.open.add(key, row, accepted_at);
            }
        }
    }

    /// All rows are found; those of the log up to this key were moved before.
    pub(super) fn go_on_after(&mut self, last_moved: Option<Key>) {
        if let Some(Sealing {
            log, order, moved, ..
        }) = &mut self.sealing
        {
            let rows = in_order(log);
            *moved = rows.partition_point(|(key, _)| Some(*key) <= last_moved);
            *order = rows.into_iter().map(|(_, row)| row).collect();
        }
    }

    /// Where any of these keys may stand.
    pub(super) fn find<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Places {
        let mut places = Places::default();
        let logs = || {
            let sealing = self.sealing.iter().map(|sealing| &sealing.log);
            sealing.chain([&self.open])
        };
        for key in keys {
            for log in logs() {
                places.logs[log.half].extend(log.rows.get(key));
            }
            let runs = self.runs.iter().filter(|run| run.filter.may_hold(key));
            places.runs.extend(runs.map(|run| (run.number, *key)));
        }
        places
    }

    /// Takes up new keys, the youngest accepted at `newest`, and says what is to be written. Once a
    /// transaction.
    pub(super) fn add(&mut self, keys: &[Key], newest: i64) -> Writing {
        let sealing = self.step(keys.len());
        let (half, replaced) = match &sealing {
            Some(Step::Begin { half, .. }) => (1 - half, Vec::new()),
            _ => {
                let rows = keys.iter().filter_map(|key| self.open.rows.get(key));
                (self.open.half, rows.copied().collect())
            }
        };
        let first = self.next;
        self.pending.added = keys.iter().copied().zip(first..).collect();
        self.pending.newest = newest;
        Writing {
            half,
            first,
            replaced,
            sealing,
        }
    }

    /// The next step. Twice as many rows are moved as come, so one log is done before the other is
    /// full.
    fn step(&mut self, added: usize) -> Option<Step> {
        let Some(sealing) = &self.sealing else {
            return self.begin();
        };
        let many = (2 * added).next_multiple_of(STEP).max(STEP);
        let left = &sealing.order[sealing.moved..];
        let rows = left[..left.len().min(many)].to_vec();
        self.pending.moved = rows.len();
        Some(Step::Move {
            run: sealing.run,
            half: sealing.log.half,
            last: rows.len() == left.len(),
            rows,
        })
    }

    fn begin(&mut self) -> Option<Step> {
        if self.open.rows.len() < self.run_size {
            return None;
        }
        let mut filter = Filter::with_room(self.open.rows.len());
        self.open.rows.keys().for_each(|key| filter.add(key));
        let number = self.runs.iter().map(|run| run.number).max().unwrap_or(0) + 1;
        self.pending.begun = Some(Run {
            number,
            newest: self.open.newest,
            filter: filter.clone(),
        });
        Some(Step::Begin {
            run: number,
            half: self.open.half,
            newest: self.open.newest,
            filter,
        })
    }

    /// The oldest run, if its youngest key is older than `before` and it is sealed.
    pub(super) fn over(&self, before: i64) -> Option<i64> {
        let sealing = self.sealing.as_ref().map(|sealing| sealing.run);
        let over = |run: &&Run| run.newest < before && Some(run.number) != sealing;
        self.runs.iter().find(over).map(|run| run.number)
    }

    /// A run has no keys any more.
    pub(super) fn drop_run(&mut self, run: i64) {
        self.pending.dropped.push(run);
    }

    /// The transaction is on disk.
    pub(in crate::store) fn committed(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if let Some(sealing) = &mut self.sealing {
            sealing.moved += pending.moved;
        }
        let over = |sealing: &Sealing| sealing.moved == sealing.order.len();
        if !pending.added.is_empty() && self.sealing.as_ref().is_some_and(over) {
            self.sealing = None;
        }
        if let Some(run) = pending.begun {
            let fresh = Log {
                half: 1 - self.open.half,
                ..Log::default()
            };
            let full = std::mem::replace(&mut self.open, fresh);
            self.sealing = Some(Sealing::new(run.number, full));
            self.runs.push(run);
        }
        for (key, row) in pending.added {
            self.open.add(key, row, pending.newest);
            self.next = row + 1;
        }
        self.runs
            .retain(|run| !pending.dropped.contains(&run.number));
    }

    /// The transaction is not there.
    pub(in crate::store) fn rolled_back(&mut self) {
        self.pending = Pending::default();
    }

    /// Keys of logs in memory, and runs.
    #[cfg(test)]
    pub(in crate::store) fn held(&self) -> (usize, usize) {
        let sealing = self.sealing.iter().map(|it| it.log.rows.len());
        let keys = self.open.rows.len() + sealing.sum::<usize>();
        (keys, self.runs.len())
    }
}

#[cfg(test)]
mod tests;
