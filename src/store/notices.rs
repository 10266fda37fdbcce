//! Telling the other gateways of one database what was committed.
//!
//! - The committers leave a note after each commit; one connection of its own tells the others,
//!   at most fifty times a second and only where there are others. Never inside a write: NOTIFY
//!   takes a lock of the whole database at commit.
//! - What is told wakes whoever waits on the other gateways. It may get lost, or be too much to
//!   tell: everyone who waits looks by themselves now and then, so it only saves time.
//! - Of new deliveries the lowest number that may be new is told: a delivery may become visible
//!   after a later one was read.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Store;
use super::error::StoreError;
use super::sql::{Connection, Statement};
use crate::clock::Clock;
use crate::events::{Events, Topic};

const CHANNEL: &str = "amtpd";
/// Between two notices.
const PAUSE: Duration = Duration::from_millis(20);
/// After a fault.
const AGAIN: Duration = Duration::from_secs(1);
/// PostgreSQL takes less than 8,000 bytes.
const LONGEST: usize = 7_900;
/// More waiting topics than this are not told one by one.
const TOPICS: usize = 4_096;

/// What is to be told, and what was heard. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    outbox: Mutex<Outbox>,
    left: Notify,
    /// How many other gateways are alive.
    others: AtomicUsize,
    /// The lowest number that another gateway told of, and one above it; 0 where none did.
    low: AtomicI64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outbox {
    topics: HashSet<Topic>,
    /// The lowest number of a delivery that may be new.
    low: Option<i64>,
    overflow: bool,
}

impl Board {
    /// Leaves a note of a commit; its deliveries have numbers above `lowest`.
    pub(super) fn leave(&self, topics: &[Topic], lowest: i64) {
        if self.0.others.load(Ordering::Relaxed) == 0 || topics.is_empty() {
            return;
        }
        let mut outbox = lock(&self.0.outbox);
        if topics.contains(&Topic::Queue) {
            outbox.low = Some(outbox.low.map_or(lowest + 1, |low| low.min(lowest + 1)));
        }
        for topic in topics {
            let must = matches!(
                topic,
                Topic::Queue | Topic::Control | Topic::Pushes | Topic::Calls
            );
            if outbox.topics.len() >= TOPICS && !must {
                outbox.overflow = true;
                break;
            }
            outbox.topics.insert(*topic);
        }
        drop(outbox);
        self.0.left.notify_one();
    }

    /// How many other gateways there are to tell.
    pub(super) fn others(&self, count: usize) {
        self.0.others.store(count, Ordering::Relaxed);
    }

    /// Has the others told that this gateway is here, also where there is nothing else to tell.
    fn greet(&self) {
        self.0.left.notify_one();
    }

    /// Another gateway was heard: from now on there is somebody to tell.
    fn meet(&self) {
        self.0.others.fetch_max(1, Ordering::Relaxed);
    }

    fn take(&self) -> Outbox {
        std::mem::take(&mut *lock(&self.0.outbox))
    }

    fn hear(&self, low: i64) {
        let lower = |heard: i64| (heard == 0 || low < heard).then_some(low);
        // A value that is lower already stays.
        let _ = self
            .0
            .low
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lower);
    }
}

fn lock(outbox: &Mutex<Outbox>) -> std::sync::MutexGuard<'_, Outbox> {
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    /// As text, and only so much as fits: `low topic topic …`, each a letter and a number.
    fn notice(&self, from: &str) -> String {
        let mut text = format!("{from} {}", self.low.unwrap_or(0));
        let mut topics: Vec<&Topic> = self.topics.iter().collect();
        // What must not be missed stands first.
        topics.sort_unstable_by_key(|topic| match topic {
            Topic::Queue | Topic::Control | Topic::Room | Topic::Pushes | Topic::Calls => 0,
            Topic::Mailbox(_) | Topic::Session(_) => 1,
            Topic::Answer(_) | Topic::Task(_) => 2,
            Topic::Message(_) => 3,
        });
        for topic in topics {
            let before = text.len();
            let written = match topic {
                Topic::Queue => write!(text, " q"),
                Topic::Control => write!(text, " c"),
                Topic::Room => write!(text, " r"),
                Topic::Mailbox(id) => write!(text, " m{id:x}"),
                Topic::Answer(hash) => write!(text, " a{hash:x}"),
                Topic::Message(mid) => write!(text, " s{mid:x}"),
                Topic::Session(number) => write!(text, " e{number:x}"),
                Topic::Task(hash) => write!(text, " t{hash:x}"),
                Topic::Pushes => write!(text, " p"),
                Topic::Calls => write!(text, " k"),
            };
            if written.is_err() || text.len() > LONGEST {
                text.truncate(before);
                break;
            }
        }
        text
    }
}

/// What another gateway told: the lowest number of its deliveries, and who is to be woken.
fn read(notice: &str, own: &str) -> Option<(i64, Vec<Topic>)> {
    let mut words = notice.split(' ');
    if words.next()? == own {
        return None;
    }
    let low = words.next()?.parse().ok()?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok().map(u64::cast_signed);
    let topics = words.filter_map(|word| {
        let rest = word.get(1..)?;
        match word.get(..1)? {
            "q" => Some(Topic::Queue),
            "c" => Some(Topic::Control),
            "r" => Some(Topic::Room),
            "m" => number(rest).map(Topic::Mailbox),
            "a" => number(rest).map(Topic::Answer),
            "s" => number(rest).map(Topic::Message),
            "e" => number(rest).map(Topic::Session),
            "t" => number(rest).map(Topic::Task),
            "p" => Some(Topic::Pushes),
            "k" => Some(Topic::Calls),
            _ => None,
        }
    });
    Some((low, topics.collect()))
}

/// Tells the other gateways what this one commits, and wakes who waits here for what they do.
pub struct Messenger {
    store: Store,
    events: Events,
    clock: Clock,
    /// By which this process knows its own notices.
    name: String,
}

impl Messenger {
    /// A messenger of a shared store.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self {
            events: store.events().clone(),
            store,
            clock,
            name: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.tell() => {}
            () = self.listen() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn tell(&self) {
        let board = self.store.board();
        let mut connection = None;
        loop {
            board.0.left.notified().await;
            let notice = board.take().notice(&self.name);
            if let Err(error) = self.send(&mut connection, notice).await {
                tracing::warn!(%error, "the other gateways could not be told of new work");
                connection = None;
                self.clock.wait(AGAIN).await;
            }
            self.clock.wait(PAUSE).await;
        }
    }

    async fn send(
        &self,
        connection: &mut Option<Connection>,
        notice: String,
    ) -> Result<(), StoreError> {
        let line = match connection {
            Some(line) => line,
            None => connection.insert(self.store.duty_connection().await?),
        };
        let notify = Statement::new("SELECT 1 FROM (SELECT pg_notify(?, ?)) AS told");
        line.row(notify.bind(CHANNEL).bind(notice)).await?;
        Ok(())
    }

    async fn listen(&self) {
        loop {
            if let Err(error) = self.hear().await {
                tracing::warn!(%error, "what other gateways do is not heard; it is looked for");
            }
            self.clock.wait(AGAIN).await;
        }
    }

    async fn hear(&self) -> Result<(), StoreError> {
        let mut listener = PgListener::connect_with(&self.store.reading_pool()?).await?;
        listener.listen(CHANNEL).await?;
        // Until they hear of this gateway, the others tell nobody.
        self.store.board().greet();
        // Nobody knows what was told before.
        self.events.publish([Topic::Queue, Topic::Control]);
        loop {
            let Some(heard) = listener.try_recv().await? else {
                return Ok(());
            };
            let Some((low, topics)) = read(heard.payload(), &self.name) else {
                continue;
            };
            self.store.board().meet();
            if low > 0 {
                self.store.board().hear(low);
            }
            self.events.publish(topics);
        }
    }
}

impl Store {
    /// The lowest number of a delivery that another gateway told of since the last call.
    #[must_use]
    pub fn take_foreign_mark(&self) -> Option<i64> {
        let low = self.board().0.low.swap(0, Ordering::SeqCst);
        (low != 0).then_some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_by_others_only() {
        let board = Board::default();
        board.leave(&[Topic::Queue], 5);
        assert_eq!(board.take(), Outbox::default(), "there is nobody to tell");
        board.meet();
        let topics = [
            Topic::Message(77),
            Topic::Answer(-3),
            Topic::Queue,
            Topic::Mailbox(9),
            Topic::Session(12),
            Topic::Task(-1),
            Topic::Pushes,
            Topic::Calls,
        ];
        board.leave(&topics, 41);
        board.leave(&[Topic::Queue], 50);
        let notice = board.take().notice("me");
        assert_eq!(read(&notice, "me"), None);
        let (low, mut heard) = read(&notice, "you").unwrap();
        assert_eq!(low, 42);
        heard.sort_by_key(|topic| format!("{topic:?}"));
        let mut sent = topics.to_vec();
        sent.sort_by_key(|topic| format!("{topic:?}"));
        assert_eq!(heard, sent);
    }

    #[test]
    fn a_notice_is_never_too_long_and_says_first_what_must_be_heard() {
        let board = Board::default();
        board.others(1);
        let many: Vec<Topic> = (0..10_000)
            .map(Topic::Message)
            .chain([Topic::Control])
            .collect();
        board.leave(&many, 0);
        board.leave(&[Topic::Queue], 0);
        let notice = board.take().notice("me");
        assert!(notice.len() <= LONGEST);
        assert!(read(&notice, "you").unwrap().1.contains(&Topic::Queue));
    }

    #[test]
    fn the_lowest_number_heard_is_kept_until_it_is_taken() {
        let board = Board::default();
        for low in [9, 4, 7] {
            board.hear(low);
        }
        assert_eq!(board.0.low.swap(0, Ordering::SeqCst), 4);
    }

    #[test]
    fn nonsense_is_not_understood() {
        for notice in ["", "you", "you x", "you 1 zz q\u{e9} \u{e9}"] {
            let understood = read(notice, "me");
            assert!(
                understood.is_none_or(|(_, topics)| topics.is_empty() || topics == [Topic::Queue])
            );
        }
    }
}
