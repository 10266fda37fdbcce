//! The audit log: who did what to what, when, and how it ended.
//!
//! - Each gateway writes a chain of its own. An entry carries the hash of the one before it, so that
//!   nothing can be changed, taken out or put in between without showing ([`chain`]). Now and then an
//!   entry names where the other chains stand: then a chain cannot be cut short either.
//! - What staff does is on disk before it is answered. What strangers bring about is gathered, so
//!   that they cannot fill the log: one entry at once, then one a minute with a count.
//! - Secrets and payloads are never in it.

pub mod chain;
mod gathering;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::masked;
use crate::clock::Clock;
use crate::envelope::Principal;
use crate::store::{AuditRow, Store, StoreError};
use chain::Head;
use gathering::Gathering;

/// Events that may wait to be written.
const WAITING: usize = 1_024;
/// Entries of one commit.
const BATCH: usize = 256;
/// How often what was gathered is written, and where the other chains stand.
const EVERY: Duration = Duration::from_secs(60);
/// How long to wait for a database that is away.
const AGAIN: Duration = Duration::from_secs(1);
/// Chains named in one entry.
const ANCHORS: usize = 64;

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed.
    Denied,
    /// It was tried and did not work.
    Failed,
}

/// Something worth an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What, such as `agent.key.revoke`.
    pub event: String,
    /// Who: `admin-key`, `staff:NAME`, `agent:ADDRESS`, `gateway`, `command-line`, `anonymous`.
    pub actor: String,
    /// On what: an address, a key's id, a domain.
    pub subject: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The request it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// How often, where several were gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// More of it; no secret and no payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl Event {
    /// An event that says who did what, to what. A credential in a wrong place is not written down.
    #[must_use]
    pub fn new(event: &str, actor: String, subject: impl Into<String>, outcome: Outcome) -> Self {
        let subject: String = subject.into();
        Self {
            event: event.to_owned(),
            actor,
            subject: masked(&subject).into_owned(),
            outcome,
            request_id: None,
            remote: None,
            count: None,
            details: None,
        }
    }

    /// Says in which request, and from where.
    #[must_use]
    pub fn in_request(mut self, request_id: &str, remote: IpAddr) -> Self {
        self.request_id = Some(request_id.to_owned());
        self.remote = Some(remote);
        self
    }

    /// Adds more.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
}

/// How the log names who called.
#[must_use]
pub fn actor(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "anonymous".to_owned(),
        Principal::Agent { address, .. } => format!("agent:{address}"),
        Principal::Staff { name, .. } => format!("staff:{name}"),
    }
}

struct Noted {
    event: Event,
    written: Option<oneshot::Sender<Result<(), StoreError>>>,
}

/// The end that events are handed to. Cloning is cheap.
#[derive(Clone)]
pub struct Audit {
    events: mpsc::Sender<Noted>,
    gathering: Arc<Gathering>,
}

/// The end that writes.
pub struct Auditor {
    store: Store,
    clock: Clock,
    chain: String,
    events: mpsc::Receiver<Noted>,
    gathering: Arc<Gathering>,
}

impl Audit {
    /// Both ends. `chain` is this gateway's name in the log.
    #[must_use]
    pub fn new(store: Store, clock: Clock, chain: String) -> (Self, Auditor) {
        let (events, noted) = mpsc::channel(WAITING);
        let gathering = Arc::new(Gathering::default());
        let auditor = Auditor {
            store,
            clock,
            chain,
            events: noted,
            gathering: gathering.clone(),
        };
        (Self { events, gathering }, auditor)
    }

    /// Notes what somebody who need not be known brought about, without waiting.
    pub fn note(&self, event: Event) {
        let Some(event) = self.gathering.first(event) else {
            return;
        };
        let written = None;
        if self.events.try_send(Noted { event, written }).is_err() {
            tracing::warn!("the audit log takes nothing at present: an event is missing in it");
        }
    }

    /// Writes an event, and waits until it is on disk.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record(&self, event: Event) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let written = Some(reply);
        let noted = Noted { event, written };
        self.events
            .send(noted)
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Auditor {
    /// Writes until stopped, and what is left then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut head = None;
        let mut anchored = BTreeMap::new();
        let mut next = self.clock.monotonic() + EVERY;
        loop {
            let left = next.saturating_sub(self.clock.monotonic());
            let mut batch = Vec::new();
            let ending = tokio::select! {
                biased;
                count = self.events.recv_many(&mut batch, BATCH) => count == 0,
                () = self.clock.wait(left) => {
                    next = self.clock.monotonic() + EVERY;
                    batch.extend(self.gathered());
                    batch.extend(self.anchors(&mut anchored).await);
                    false
                }
                () = stop.cancelled() => {
                    self.events.close();
                    true
                }
            };
            if ending {
                batch.extend(self.gathered());
                while let Ok(noted) = self.events.try_recv() {
                    batch.push(noted);
                }
            }
            self.write(&mut head, batch, &stop).await;
            if ending {
                return;
            }
        }
    }

    fn gathered(&self) -> Vec<Noted> {
        let events = self.gathering.take().into_iter();
        events
            .map(|event| Noted {
                event,
                written: None,
            })
            .collect()
    }

    /// Where the other chains stand, if that is not where they stood.
    async fn anchors(&self, before: &mut BTreeMap<String, i64>) -> Option<Noted> {
        let heads = self.store.audit_heads().await.ok()?;
        let mut others: Vec<AuditRow> = heads
            .into_iter()
            .filter(|row| row.chain != self.chain && before.get(&row.chain) != Some(&row.n))
            .collect();
        others.sort_by_key(|row| std::cmp::Reverse(row.at));
        others.truncate(ANCHORS);
        if others.is_empty() {
            return None;
        }
        before.extend(others.iter().map(|row| (row.chain.clone(), row.n)));
        let event = Event::new("audit.anchor", "gateway".to_owned(), "", Outcome::Done)
            .with(chain::anchors(&others));
        Some(Noted {
            event,
            written: None,
        })
    }

    async fn write(&self, head: &mut Option<Head>, batch: Vec<Noted>, stop: &CancellationToken) {
        if batch.is_empty() {
            return;
        }
        let (events, waiting): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|it| (it.event, it.written)).unzip();
        let outcome = loop {
            match self.append(head, &events).await {
                Err(StoreError::Unavailable(_) | StoreError::Full | StoreError::Busy)
                    if !stop.is_cancelled() =>
                {
                    tokio::select! {
                        () = self.clock.wait(AGAIN) => {}
                        () = stop.cancelled() => {}
                    }
                }
                outcome => break outcome,
            }
        };
        if let Err(error) = &outcome {
            *head = None;
            tracing::error!(%error, events = events.len(), "the audit log could not be written");
        }
        let failed = outcome.err().map(|error| error.to_string());
        for reply in waiting.into_iter().flatten() {
            let said = failed
                .clone()
                .map_or(Ok(()), |error| Err(StoreError::Unavailable(error)));
            // Who asked may be gone.
            drop(reply.send(said));
        }
    }

    async fn append(&self, head: &mut Option<Head>, events: &[Event]) -> Result<(), StoreError> {
        let from = match head.take() {
            Some(known) => known,
            None => self.find_head().await?,
        };
        let now = self.clock.now();
        let mut last = from.clone();
        let rows = events
            .iter()
            .map(|event| last.extend(&self.chain, now, event))
            .collect();
        let appended = self.store.append_audit(rows).await;
        *head = Some(if appended.is_ok() { last } else { from });
        appended
    }

    async fn find_head(&self) -> Result<Head, StoreError> {
        let heads = self.store.audit_heads().await?;
        let own = heads.into_iter().find(|row| row.chain == self.chain);
        if let Some(row) = own {
            return Ok(Head::at(row.n, &row.hash));
        }
        let cuts = self.store.audit_cuts().await?;
        let own = cuts.into_iter().find(|cut| cut.chain == self.chain);
        Ok(own.map_or_else(Head::default, |cut| Head::at(cut.n, &cut.hash)))
    }
}

#[cfg(test)]
mod tests;
