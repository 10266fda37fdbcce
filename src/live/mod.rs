//! Who is connected and waits for what: sessions, and those who wait for replies.
//!
//! A [`Session`] is one connection over which an agent is sent its mail as it arrives: a WebSocket
//! the agent or the gateway opened, or a stream of events. [`Live`] holds those of this gateway.
//!
//! - What a session was handed is marked in the store until it is acknowledged, so what holds among
//!   sessions holds among gateways too.
//! - A session holds no mail itself: what [`Session::next`] answers is all there is in memory, at
//!   most a window of messages and 4 MiB of bodies (one message may be larger).
//! - A session that is dropped is detached: what it was handed goes to the next one at once, and it
//!   can be resumed for a while.

mod replies;
mod session;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::intake::Intake;
use crate::protocol::Address;
use crate::store::{HandOut, NewSession, Opened, SessionRef, Store, StoreError, Tending};
use crate::telemetry::LiveMetrics;

pub use crate::store::{SessionKind, SessionPresence as Presence};
pub use replies::{Asked, Replied, wait_for_reply};
use session::Shared;
pub use session::{Pushed, Session};

/// No session has more unacknowledged messages than this, whatever it says it takes.
pub const MOST_CREDIT: u32 = 1_000;

/// How sessions are kept.
#[derive(Debug, Clone, Copy)]
pub struct LiveRules {
    /// How often both sides show that they live.
    pub heartbeat: Duration,
    /// How long a detached session can be resumed.
    pub resume: Duration,
    /// The most sessions of one mailbox.
    pub sessions: usize,
    /// The most messages handed over at a time.
    pub window: usize,
}

/// A session to open.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The mailbox it takes mail from: the agent's own, or that of a group it is in. The caller has
    /// made sure that it may.
    pub mailbox: i64,
    /// The agent.
    pub agent: i64,
    /// Its address.
    pub address: Address,
    /// With which credential it came.
    pub key_id: String,
    /// How it is connected.
    pub kind: SessionKind,
    /// Where it comes from.
    pub remote: Option<String>,
    /// The token of the session to go on with.
    pub resume: Option<String>,
    /// The most unacknowledged messages at a time, to begin with; at most [`MOST_CREDIT`] counts.
    pub credit: u32,
}

/// Why a session cannot be opened.
#[derive(Debug, Error)]
pub enum OpenFault {
    /// The mailbox has as many as it may.
    #[error("the agent has as many sessions as it may")]
    TooMany,
    /// There is no such session to go on with, or it is another's, or its time is over.
    #[error("there is no session to go on with under this token")]
    BadResume,
    /// The mailbox is gone.
    #[error("the agent is gone")]
    Gone,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The sessions of this gateway. Cloning is cheap.
#[derive(Clone)]
pub struct Live(Arc<Held>);

struct Held {
    store: Store,
    clock: Clock,
    metrics: LiveMetrics,
    rules: LiveRules,
    node: Uuid,
    /// Who is told that an agent has a message.
    intake: OnceLock<Intake>,
    /// By number; a later connection of a session takes the place of an earlier one.
    sessions: Mutex<HashMap<i64, Arc<Shared>>>,
    /// Sessions that were dropped: as many as there are sessions at most.
    dropped: mpsc::UnboundedSender<SessionRef>,
    dropping: Mutex<Option<mpsc::UnboundedReceiver<SessionRef>>>,
}

impl Live {
    /// The sessions of the gateway `node`: none yet.
    #[must_use]
    pub fn new(
        (store, clock): (Store, Clock),
        metrics: LiveMetrics,
        rules: LiveRules,
        node: Uuid,
    ) -> Self {
        let (dropped, dropping) = mpsc::unbounded_channel();
        Self(Arc::new(Held {
            store,
            clock,
            metrics,
            rules,
            node,
            intake: OnceLock::new(),
            sessions: Mutex::default(),
            dropped,
            dropping: Mutex::new(Some(dropping)),
        }))
    }

    /// Tells the door of every message that an agent is handed.
    #[must_use]
    pub fn telling(self, intake: Intake) -> Self {
        // The first one stays.
        drop(self.0.intake.set(intake));
        self
    }

    /// How sessions are kept.
    #[must_use]
    pub fn rules(&self) -> &LiveRules {
        &self.0.rules
    }

    /// Opens a session, or goes on with the one of `opening.resume`.
    ///
    /// # Errors
    /// [`OpenFault`] says why not; nothing is left of it then.
    pub async fn open(&self, opening: Opening) -> Result<Session, OpenFault> {
        let opened = self.try_open(opening).await;
        self.0.metrics.opened(match &opened {
            Ok(session) if session.is_resumed() => "resumed",
            Ok(_) => "opened",
            Err(OpenFault::TooMany) => "too_many",
            Err(OpenFault::BadResume) => "bad_resume",
            Err(OpenFault::Gone) => "gone",
            Err(OpenFault::Store(_)) => "failed",
        });
        opened
    }

    async fn try_open(&self, opening: Opening) -> Result<Session, OpenFault> {
        let held = &self.0;
        let owner = held.store.find_agent_by_number(opening.mailbox).await?;
        let settings = owner.ok_or(OpenFault::Gone)?.settings.live;
        let resume = opening.resume.as_deref().map(parse_token);
        let resume = resume
            .map(|it| it.ok_or(OpenFault::BadResume))
            .transpose()?;
        let id = held.clock.mint_v7();
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let new = NewSession {
            id,
            token: secret.clone(),
            resume: resume.clone(),
            mailbox: opening.mailbox,
            agent: opening.agent,
            key_id: opening.key_id.clone(),
            kind: opening.kind,
            sharing: settings.sessions,
            node: held.node,
            remote: opening.remote.clone(),
            most: held.rules.sessions,
            kept: held.rules.resume,
            now: held.clock.now(),
        };
        let (session, id, is_resumed) = match held.store.open_session(new).await? {
            Opened::Session {
                session,
                id,
                is_resumed,
            } => (session, id, is_resumed),
            Opened::TooMany => return Err(OpenFault::TooMany),
            Opened::BadResume => return Err(OpenFault::BadResume),
            Opened::Gone => return Err(OpenFault::Gone),
        };
        let secret = resume.map_or(secret, |(_, secret)| secret);
        let token = format!("{}.{secret}", id.simple());
        let asked = HandOut {
            session,
            order: settings.order,
            credit: credit(opening.credit),
            most: held.rules.window,
            again: false,
            now: held.clock.now(),
        };
        let session = Session::new(self.clone(), (id, token, is_resumed), asked, opening.kind);
        self.lock().insert(session.number(), session.shared());
        Ok(session)
    }

    /// Who is there for each of these mailboxes, in their order: of all gateways of the database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn presence(&self, mailboxes: &[i64]) -> Result<Vec<Presence>, StoreError> {
        self.0.store.presence(mailboxes).await
    }

    /// The number of this gateway among those that share its database.
    #[must_use]
    pub fn node(&self) -> Uuid {
        self.0.node
    }

    /// How many sessions this gateway holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Arc<Shared>>> {
        self.0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is no more; its session is detached unless it was closed or detached before.
    fn forget(&self, session: SessionRef, is_over: bool) {
        let mut sessions = self.lock();
        if sessions
            .get(&session.number)
            .is_some_and(|held| held.epoch() == session.epoch)
        {
            sessions.remove(&session.number);
        }
        drop(sessions);
        if !is_over {
            // Where nobody works any more the gateway is going down: all are detached at its end.
            let _ = self.0.dropped.send(session);
        }
    }

    /// Looks after sessions until stopped: notes who was heard, detaches what was dropped and what
    /// gateways that are gone left, ends what nobody resumed. At the end all of this gateway are
    /// detached.
    pub async fn run(self, stop: CancellationToken) {
        let held = &self.0;
        let dropping = held
            .dropping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut dropping) = dropping else {
            return;
        };
        let every = held.rules.heartbeat.min(held.rules.resume).max(SHORTEST);
        loop {
            self.tend().await;
            let mut pause = Box::pin(held.clock.wait(every));
            loop {
                tokio::select! {
                    Some(session) = dropping.recv() => self.detach(session).await,
                    () = &mut pause => break,
                    () = stop.cancelled() => {
                        self.leave().await;
                        return;
                    }
                }
            }
        }
    }

    async fn detach(&self, session: SessionRef) {
        let now = self.0.clock.now();
        if let Err(error) = self.0.store.detach_session(session, now).await {
            // It is not held any more: the next round sees that.
            tracing::warn!(%error, session.number, "a session could not be detached yet");
        }
    }

    async fn leave(&self) {
        let now = self.0.clock.now();
        if let Err(error) = self.0.store.detach_all(self.0.node, now).await {
            tracing::warn!(%error, "sessions could not be detached; they are when the gateway is found gone");
        }
    }

    async fn tend(&self) {
        let held = &self.0;
        let (mut numbers, mut heard) = (Vec::new(), Vec::new());
        for (number, session) in self.lock().iter() {
            numbers.push(*number);
            if session.take_heard() {
                heard.push(*number);
            }
        }
        let now = held.clock.now();
        let tending = Tending {
            node: held.node,
            held: numbers,
            heard,
            detached_before: now.minus(held.rules.resume),
            now,
            set_by_hand: held.clock.set_by_hand(),
        };
        match held.store.tend_sessions(tending).await {
            Ok(tended) if tended.detached + tended.ended > 0 => {
                let (detached, ended) = (tended.detached, tended.ended);
                tracing::info!(detached, ended, "sessions that nobody holds were given up");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "sessions could not be looked after"),
        }
    }
}

/// The credit that counts.
fn credit(asked: u32) -> usize {
    usize::try_from(asked.min(MOST_CREDIT)).unwrap_or(usize::MAX)
}

/// Between two rounds at least.
const SHORTEST: Duration = Duration::from_secs(1);

/// The id and secret of a resume token.
fn parse_token(token: &str) -> Option<(Uuid, String)> {
    let (id, secret) = token.split_once('.')?;
    let is_secret = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = Uuid::try_parse(id).ok().filter(|_| is_secret)?;
    Some((id, secret.to_owned()))
}
