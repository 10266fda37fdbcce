//! One connection of a session.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use super::Live;
use crate::events::{Subscription, Topic};
use crate::protocol::{MessageId, Timestamp};
use crate::store::{HandOut, Handed, InboxItem, SessionKind, StoreError};
use crate::telemetry::Raised;

/// What another gateway tells may get lost: look by ourselves so often.
const LOOK: Duration = Duration::from_secs(5);
/// After a fault of the store.
const AGAIN: Duration = Duration::from_secs(1);

/// What comes to a session.
#[derive(Debug)]
pub enum Pushed {
    /// Mail to push, in this order; never empty.
    Mail(Vec<InboxItem>),
    /// Nothing any more: the reason is for the other side.
    Closed(String),
}

/// What is known of a session beside its connection.
#[derive(Debug)]
pub(super) struct Shared {
    epoch: i64,
    heard: AtomicBool,
    /// Whether it has as many unacknowledged messages as it may.
    full: AtomicBool,
    /// It may have room again.
    freed: Notify,
}

impl Shared {
    pub(super) const fn epoch(&self) -> i64 {
        self.epoch
    }

    pub(super) fn take_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    fn free(&self) {
        if self.full.load(Ordering::Relaxed) {
            self.freed.notify_one();
        }
    }
}

type HandingOut = Pin<Box<dyn Future<Output = Result<Handed, StoreError>> + Send>>;

/// An open session. Dropped without [`Session::detach`] or [`Session::close`] it is detached soon.
pub struct Session {
    live: Live,
    id: Uuid,
    token: String,
    is_resumed: bool,
    kind: SessionKind,
    asked: HandOut,
    shared: Arc<Shared>,
    /// Registered before the first look, so that no commit falls between look and wait.
    mail: Subscription,
    own: Subscription,
    /// Asked of the store and not answered yet: what it brings is marked as ours.
    under_way: Option<HandingOut>,
    /// Whether to look before waiting.
    look: bool,
    due: Option<Timestamp>,
    is_over: bool,
    _counted: Raised,
}

impl Session {
    pub(super) fn new(
        live: Live,
        (id, token, is_resumed): (Uuid, String, bool),
        asked: HandOut,
        kind: SessionKind,
    ) -> Self {
        let events = live.0.store.events().clone();
        let counted = live.0.metrics.attached(kind.as_str());
        Self {
            mail: events.subscribe(Topic::Mailbox(asked.session.mailbox)),
            own: events.subscribe(Topic::Session(asked.session.number)),
            live,
            id,
            token,
            is_resumed,
            kind,
            asked,
            shared: Arc::new(Shared {
                epoch: asked.session.epoch,
                heard: AtomicBool::new(true),
                full: AtomicBool::new(false),
                freed: Notify::new(),
            }),
            under_way: None,
            look: true,
            due: None,
            is_over: false,
            _counted: counted,
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Its id, the same after it was resumed.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Its number in the store, the same after it was resumed.
    #[must_use]
    pub const fn number(&self) -> i64 {
        self.asked.session.number
    }

    /// What resumes it, with the same agent's credential.
    #[must_use]
    pub fn resume_token(&self) -> &str {
        &self.token
    }

    /// Whether it was there before.
    #[must_use]
    pub const fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Sets the most unacknowledged messages at a time, of which [`super::MOST_CREDIT`] count; 0 stops
    /// the flow.
    pub fn grant(&mut self, credit: u32) {
        self.asked.credit = super::credit(credit);
        self.shared.full.store(false, Ordering::Relaxed);
        self.look = true;
    }

    /// The other side gave a sign of life.
    pub fn heard(&self) {
        self.shared.heard.store(true, Ordering::Relaxed);
    }

    /// Waits for mail, as long as its credit is used up also where mail waits. May be dropped and
    /// called again without loss.
    pub async fn next(&mut self) -> Pushed {
        loop {
            if self.under_way.is_none() {
                if !self.look {
                    self.wait().await;
                }
                self.look = false;
                self.ask();
            }
            let answer = match &mut self.under_way {
                Some(under_way) => under_way.await,
                None => continue,
            };
            self.under_way = None;
            match answer {
                Ok(Handed::Ended(reason)) => return Pushed::Closed(reason),
                Ok(Handed::Mail {
                    items,
                    full,
                    more,
                    due,
                }) => {
                    self.asked.again = false;
                    self.shared.full.store(full, Ordering::Relaxed);
                    self.look = self.look || (more && !full);
                    self.due = due;
                    if !items.is_empty() {
                        let metrics = &self.live.0.metrics;
                        metrics.pushed(self.kind.as_str(), items.len());
                        return Pushed::Mail(items);
                    }
                }
                Err(StoreError::Closed) => {
                    return Pushed::Closed("the gateway is going down".to_owned());
                }
                Err(error) => {
                    tracing::warn!(%error, session.id = %self.id, "mail could not be handed out yet");
                    self.asked.again = true;
                    self.due = Some(self.live.0.clock.now().plus(AGAIN));
                }
            }
        }
    }

    fn ask(&mut self) {
        self.mail.catch_up();
        self.own.catch_up();
        let asked = HandOut {
            now: self.live.0.clock.now(),
            ..self.asked
        };
        let live = self.live.clone();
        self.under_way = Some(Box::pin(async move {
            let handed = live.0.store.hand_out(asked).await;
            if let (Some(intake), Ok(Handed::Mail { items, .. })) = (live.0.intake.get(), &handed) {
                for item in items {
                    intake.note_handed_over(&item.message).await;
                }
            }
            handed
        }));
    }

    async fn wait(&mut self) {
        let clock = self.live.0.clock.clone();
        let full = self.shared.full.load(Ordering::Relaxed);
        let due = self.due.filter(|_| !full);
        let mut pause = due.map(|due| until(clock.now(), due));
        if self.live.0.store.is_shared() {
            pause = Some(pause.map_or(LOOK, |pause| pause.min(LOOK)));
        }
        let pause = async {
            match pause {
                Some(pause) => clock.wait(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.mail.changed(), if !full => {}
            () = self.own.changed() => {}
            () = self.shared.freed.notified(), if full => {}
            () = pause => {}
        }
        self.look = true;
    }

    /// Acknowledges messages. Answers, for each id, whether it was there. What is given back need not
    /// be waited for at once.
    pub fn acknowledge(
        &self,
        ids: Vec<MessageId>,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send + 'static {
        let (live, shared) = (self.live.clone(), self.shared.clone());
        let (session, kind) = (self.asked.session, self.kind.as_str());
        async move {
            let now = live.0.clock.now();
            let found = live.0.store.acknowledge_as(session, ids, now).await?;
            let count = found.iter().filter(|found| **found).count();
            live.0.metrics.acknowledged(kind, count);
            shared.free();
            Ok(found)
        }
    }

    /// Puts messages back, hidden for `delay`, with the later ones of their senders. Answers, for
    /// each id, whether it was there. What is given back need not be waited for at once.
    pub fn put_back(
        &self,
        ids: Vec<MessageId>,
        delay: Duration,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send + 'static {
        let (live, shared) = (self.live.clone(), self.shared.clone());
        let (session, kind) = (self.asked.session, self.kind.as_str());
        async move {
            let until = live.0.clock.now().plus(delay);
            let found = live.0.store.put_back_as(session, ids, until).await?;
            let count = found.iter().filter(|found| **found).count();
            live.0.metrics.put_back(kind, count);
            shared.free();
            Ok(found)
        }
    }

    /// The connection is lost: what it was handed goes to the next session at once, and this one can
    /// be resumed for a while.
    pub async fn detach(mut self) {
        let now = self.live.0.clock.now();
        let done = self.live.0.store.detach_session(self.asked.session, now);
        self.is_over = done.await.is_ok();
    }

    /// Ends it for good.
    pub async fn close(mut self) {
        let now = self.live.0.clock.now();
        let done = self.live.0.store.end_session(self.asked.session, now);
        self.is_over = done.await.is_ok();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.live.forget(self.asked.session, self.is_over);
    }
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    let millis = then.as_millis().saturating_sub(now.as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
