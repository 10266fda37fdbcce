//! Who may still come in when more comes than the gateway can write.
//!
//! - In flight are messages whose request has come and that are not yet written. Their number is
//!   limited so that each is written within a target time (`pace` says how the limit moves); what
//!   goes beyond is shed at once, with a time to come again, before its body is read.
//! - Shed in this order: lists and reads, low priority, the immediate path (which becomes durable),
//!   submissions, unverified peers, verified peers. A quarter of the limit is for peers alone.
//! - A request is admitted at its head by what is known then ([`Admission::enter`]), and its message
//!   once more when it is known better ([`Admission::place`]). A place lasts until the message is
//!   written, also when its sender has gone.
//! - The further messages of a batch wait for room instead: they have come, and they go on only while half
//!   of the limit is free, so that nobody is shed for their sake ([`Admission::room`]).
//! - Who is slow (a client with its body, a DNS with its answer) stops counting after 25 to 50 ms:
//!   slow clients cannot take the places of others.
//! - What makes the gateway emptier has room of its own; operators and probes are never asked.
//!
//! All of it is one short lock and a few sums a request.

mod books;
mod class;
mod pace;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::telemetry::{AdmissionMetrics, ClassMetrics};
use books::Books;
pub use class::Class;

/// A turn: who entered in an earlier one than the last does not count.
const TURN: Duration = Duration::from_millis(25);
/// The limit is looked at once in so many turns.
const TURNS: u32 = 4;
/// A timer is this late on a machine that does nothing.
const USUAL_LAG: Duration = Duration::from_millis(1);
/// So long after the last thing shed the gateway is said to shed.
const SHEDDING: Duration = Duration::from_secs(3);
/// Who is shed is asked to wait one to four seconds, in turn, so that not all come back at once.
const WAITS: u64 = 4;

/// What is kept to.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionRules {
    /// How long a message may take to be written while the gateway is busy.
    pub commit_wait: Duration,
    /// The most requests at a time, those that wait for something too.
    pub requests: usize,
}

/// How far the gateway is behind what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pressure {
    /// It is not.
    #[default]
    None,
    /// What comes takes longer than it should to be written.
    Late,
    /// Somebody was shed within the last seconds.
    Shedding,
}

/// One who may not come in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the gateway is busy: {} is shed", .class.as_str())]
pub struct Shed {
    /// What was shed.
    pub class: Class,
    /// When to come again.
    pub retry_after: Duration,
}

/// The door-keeper. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    books: Mutex<Books>,
    rules: AdmissionRules,
    clock: Clock,
    metrics: AdmissionMetrics,
    classes: [ClassMetrics; Class::ALL.len()],
    present: AtomicUsize,
    shed: AtomicU64,
    /// Something left.
    freed: Notify,
}

impl Admission {
    /// Nobody is in. The limit moves while [`Admission::run`] runs.
    #[must_use]
    pub fn new(rules: AdmissionRules, clock: Clock, metrics: AdmissionMetrics) -> Self {
        let books = Books::new(rules.commit_wait);
        metrics.limit(books.pace.limit());
        Self(Arc::new(Shared {
            books: Mutex::new(books),
            rules,
            clock,
            classes: Class::ALL.map(|class| metrics.class(class.as_str())),
            metrics,
            present: AtomicUsize::new(0),
            shed: AtomicU64::new(0),
            freed: Notify::new(),
        }))
    }

    /// Lets a request in by what its head tells. It is present until the first of the two is
    /// dropped; the second is for [`Admission::place`], or is dropped when the work is done and
    /// only waiting is left.
    ///
    /// # Errors
    /// [`Shed`]: answer it at once.
    pub fn enter(&self, class: Class) -> Result<(Presence, Entry), Shed> {
        let now = self.0.clock.monotonic();
        let before = self.0.present.fetch_add(1, Ordering::Relaxed);
        let presence = Presence(self.clone());
        let turn = match before < self.0.rules.requests {
            true => self.books().enter(class),
            false => None,
        };
        let Some(turn) = turn else {
            return Err(self.shed(class, now));
        };
        if !class.is_message() {
            self.of(class).admitted();
        }
        let entry = Entry {
            admission: self.clone(),
            class,
            turn,
            since: now,
            placed: false,
        };
        Ok((presence, entry))
    }

    /// Gives a judged message of `bytes` bytes its place, just before it is handed to the store.
    /// `entry` is that of its request; further messages of a request have none.
    ///
    /// # Errors
    /// [`Shed`]: nothing of it may be stored.
    pub fn place(&self, class: Class, bytes: usize, entry: Option<Entry>) -> Result<Place, Shed> {
        let now = self.0.clock.monotonic();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let entered = entry.as_ref().map(|entry| (entry.class, entry.turn));
        let mut books = self.books();
        let since = match &entry {
            Some(entry) if books.is_counted(entry.turn) => entry.since,
            _ => now,
        };
        let placed = books.place(class, bytes, entered);
        drop(books);
        if let Some(mut entry) = entry {
            entry.placed = true;
        }
        // That the immediate path took it was counted when it was asked.
        let counted = match class {
            Class::Immediate => Class::Submission,
            class => class,
        };
        if !placed {
            return Err(self.shed(counted, now));
        }
        self.of(counted).admitted();
        Ok(Place(Arc::new(Placed {
            admission: self.clone(),
            class,
            bytes,
            since,
        })))
    }

    /// Waits until half of the limit is free, but no longer than until the moment `until` of the clock
    /// that never goes back: for a further message of a request that is in.
    pub async fn room(&self, until: Duration) {
        let patience = until.saturating_sub(self.0.clock.monotonic());
        let room = async {
            loop {
                // Before the look: what leaves after it is heard of.
                let freed = self.0.freed.notified();
                if self.books().is_half_free() {
                    return;
                }
                freed.await;
            }
        };
        // Who has no room then is shed like others.
        let _ = self.0.clock.within(patience, room).await;
    }

    /// Whether a submission may take the immediate path; else it takes the durable one.
    #[must_use]
    pub fn takes_early(&self) -> bool {
        let open = self.books().takes_early();
        match open {
            true => self.of(Class::Immediate).admitted(),
            false => self.of(Class::Immediate).shed(),
        }
        open
    }

    /// The store wrote `verbs` verbs at once, which took `took`.
    pub fn committed(&self, verbs: usize, took: Duration) {
        self.books().pace.committed(verbs, took);
    }

    /// Whether somebody was shed within the last seconds.
    #[must_use]
    pub fn is_shedding(&self) -> bool {
        let now = self.0.clock.monotonic();
        self.books().shed_within(SHEDDING, now)
    }

    /// How far the gateway is behind.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let now = self.0.clock.monotonic();
        let books = self.books();
        match (books.shed_within(SHEDDING, now), books.pace.is_late()) {
            (true, _) => Pressure::Shedding,
            (false, true) => Pressure::Late,
            (false, false) => Pressure::None,
        }
    }

    /// Moves the limit until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let clock = self.0.clock.clone();
        let (mut turns, mut looked, mut shedding) = (0, clock.monotonic(), false);
        loop {
            let began = clock.monotonic();
            tokio::select! {
                () = clock.wait(TURN) => {}
                () = stop.cancelled() => return,
            }
            let now = clock.monotonic();
            self.books()
                .turn((now - began).saturating_sub(TURN + USUAL_LAG));
            self.0.freed.notify_waiters();
            turns += 1;
            if turns % TURNS == 0 {
                self.look(now - looked);
                looked = now;
                self.tell(&mut shedding);
            }
        }
    }

    fn look(&self, span: Duration) {
        let mut books = self.books();
        let lag = books.look(span);
        let (limit, in_flight) = (books.pace.limit(), books.in_flight());
        drop(books);
        self.0.metrics.limit(limit);
        self.0.metrics.busy(in_flight, lag);
    }

    /// One line when it begins, one when it is over: a line for each would be load itself.
    fn tell(&self, shedding: &mut bool) {
        let before = std::mem::replace(shedding, self.is_shedding());
        let shed = self.0.shed.load(Ordering::Relaxed);
        match (before, *shedding) {
            (false, true) => tracing::warn!(
                limit = self.books().pace.limit(),
                "overloaded: what goes beyond the limit is answered 503"
            ),
            (true, false) => tracing::info!(shed.total = shed, "no longer overloaded"),
            _ => {}
        }
    }

    fn shed(&self, class: Class, now: Duration) -> Shed {
        self.books().shed(now);
        self.of(class).shed();
        let number = self.0.shed.fetch_add(1, Ordering::Relaxed);
        Shed {
            class,
            retry_after: Duration::from_secs(1 + number % WAITS),
        }
    }

    fn of(&self, class: Class) -> &ClassMetrics {
        &self.0.classes[class as usize]
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
#[must_use]
pub struct Presence(Admission);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request whose work is not done.
#[derive(Debug)]
#[must_use]
pub struct Entry {
    admission: Admission,
    class: Class,
    turn: u64,
    since: Duration,
    placed: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.placed {
            self.admission.books().leave(self.class, self.turn);
        }
    }
}

/// The place of a message until it is written. Clones share it.
#[derive(Debug, Clone)]
pub struct Place(#[expect(dead_code, reason = "held, never read")] Arc<Placed>);

#[derive(Debug)]
struct Placed {
    admission: Admission,
    class: Class,
    bytes: u64,
    since: Duration,
}

impl Drop for Placed {
    fn drop(&mut self) {
        let took = self.admission.0.clock.monotonic() - self.since;
        let mut books = self.admission.books();
        books.written(self.class, self.bytes, took);
        drop(books);
        self.admission.0.freed.notify_waiters();
    }
}
