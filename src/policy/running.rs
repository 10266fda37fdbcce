//! The policy of a running gateway: the set in use, what senders have used of its limits, and the
//! look for new files.
//!
//! The folder is read again on a signal, half a second after something in it changed, and every
//! minute, for folders whose changes the system does not tell. Files with a fault change nothing:
//! the set of before stays, every fault is logged once, and [`Policies::state`] and the metrics say
//! so until the files are good.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fault::PolicyFaults;
use super::folder::read_folder;
use super::limits::{Ledger, Limits, MOST_SENDERS};
use super::question::Question;
use super::rule::{Action, Because, Verdict};
use super::set::PolicySet;
use crate::clock::Clock;
use crate::protocol::{Domain, Timestamp};
use crate::telemetry::{PolicyCounter, PolicyMetrics, ReloadOutcome};

/// Who saves several files is waited for.
const SETTLE: Duration = Duration::from_millis(500);
/// How often quiet senders are forgotten.
const TICK: Duration = Duration::from_secs(10);
/// Ticks between two looks at the folder without a cause.
const TICKS: u32 = 6;

/// The policy in use. Cloning is cheap; all clones change together.
#[derive(Clone)]
pub struct Policies(Arc<Shared>);

struct Shared {
    folder: Option<PathBuf>,
    local: Vec<Domain>,
    clock: Clock,
    metrics: PolicyMetrics,
    counters: Counters,
    ledger: Arc<Ledger>,
    current: ArcSwap<Current>,
    desk: Mutex<Desk>,
    /// Held by who looks: one look at a time.
    looking: Mutex<()>,
}

struct Counters {
    allowed: PolicyCounter,
    held: PolicyCounter,
    denied: PolicyCounter,
    limited: PolicyCounter,
}

/// What is in use.
struct Current {
    set: Arc<PolicySet>,
    limits: Limits,
}

/// What one look at the folder leaves for the next.
struct Desk {
    /// What the files in use say.
    texts: Vec<(PathBuf, String)>,
    loaded_at: Timestamp,
    broken: Option<(Timestamp, PolicyFaults)>,
    salts: u64,
}

/// How the policy is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyState {
    /// Files in use.
    pub files: usize,
    /// Rules in use, restricted recipients counted.
    pub rules: usize,
    /// Since when they are in use.
    pub loaded_at: Timestamp,
    /// The files have faults, and an earlier set is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

/// What keeps new files from being used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Since when.
    pub since: Timestamp,
    /// What to mend, at most a hundred.
    pub faults: Vec<String>,
}

/// Why the folder is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Somebody asked.
    Asked,
    /// Something changed, or might have.
    Change,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policies({:?})", self.state())
    }
}

impl Policies {
    /// Reads the folder, or without one takes what then holds ([`PolicySet::open`]).
    ///
    /// # Errors
    /// Every fault; a gateway does not start with a policy that is not what its operator wrote.
    pub fn load(
        folder: Option<&Path>,
        local: Vec<Domain>,
        clock: Clock,
        metrics: PolicyMetrics,
    ) -> Result<Self, PolicyFaults> {
        let texts = folder.map_or(Ok(Vec::new()), read_folder)?;
        let set = PolicySet::parse(&texts, &local)?;
        let ledger = Ledger::new(MOST_SENDERS, clock.clone());
        let mut salts = 0;
        let limits = Limits::of(set.limits(), &Limits::default(), &ledger, &mut salts);
        metrics.broken(false);
        metrics.rules(set.len());
        let counter = |verdict| metrics.verdict(verdict);
        let counters = Counters {
            allowed: counter("allow"),
            held: counter("hold"),
            denied: counter("deny"),
            limited: counter("limited"),
        };
        let set = Arc::new(set);
        Ok(Self(Arc::new(Shared {
            folder: folder.map(Path::to_owned),
            local,
            counters,
            metrics,
            ledger,
            current: ArcSwap::from_pointee(Current { set, limits }),
            desk: Mutex::new(Desk {
                texts,
                loaded_at: clock.now(),
                broken: None,
                salts,
            }),
            looking: Mutex::default(),
            clock,
        })))
    }

    /// The set in use.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        self.0.current.load().set.clone()
    }

    /// The verdict on a message. One that passes is counted against its sender's limits: ask once
    /// for a message and recipient, when all else is in order.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Verdict {
        let current = self.0.current.load();
        let verdict = current.set.decide(question);
        let sender = (question.sender, question.standing.is_trusted());
        let of = (sender, question.size);
        let verdict = current.limits.count(verdict, of, &self.0.ledger);
        let counters = &self.0.counters;
        let counter = match (verdict.action, verdict.because) {
            (Action::Allow, _) => &counters.allowed,
            (Action::Hold, _) => &counters.held,
            (Action::Deny, Because::RateLimit | Because::Quota) => &counters.limited,
            (Action::Deny, _) => &counters.denied,
        };
        counter.inc();
        verdict
    }

    /// Reads the folder again, and takes it into use if it says something new and has no fault.
    ///
    /// # Errors
    /// Every fault; the set in use stays.
    pub fn reload(&self) -> Result<ReloadOutcome, PolicyFaults> {
        self.look(Cause::Asked)
    }

    /// How the policy is.
    #[must_use]
    pub fn state(&self) -> PolicyState {
        let desk = self.desk();
        let set = self.current();
        let broken = desk.broken.as_ref().map(|(since, faults)| Broken {
            since: *since,
            faults: faults.faults().iter().map(ToString::to_string).collect(),
        });
        PolicyState {
            files: set.files().len(),
            rules: set.len(),
            loaded_at: desk.loaded_at,
            broken,
        }
    }

    /// Looks at the folder when `reloads` changes and when the folder does, and forgets quiet
    /// senders, until stopped.
    pub async fn run(self, mut reloads: watch::Receiver<u64>, stop: CancellationToken) {
        let clock = self.0.clock.clone();
        let changed = Arc::new(Notify::new());
        // Watched before the first look, so that no change falls between.
        let mut watched = Watched::start(self.0.folder.as_deref(), &changed, None);
        let mut cause = Some(Cause::Change);
        let mut ticks = 0;
        loop {
            if let Some(cause) = cause.take() {
                self.look_aside(cause).await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = reloads.changed() => cause = Some(Cause::Asked),
                () = changed.notified() => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = clock.wait(SETTLE) => cause = Some(Cause::Change),
                    }
                }
                () = clock.wait(TICK) => {
                    self.0.ledger.forget_quiet();
                    self.0.metrics.limited_senders(self.0.ledger.remembered());
                    ticks += 1;
                    if ticks % TICKS == 0 {
                        // A folder that was put in the place of another is watched from now on.
                        watched = Watched::start(self.0.folder.as_deref(), &changed, Some(watched));
                        cause = Some(Cause::Change);
                    }
                }
            }
        }
    }

    /// Ten thousand rules take long enough to be read elsewhere.
    async fn look_aside(&self, cause: Cause) {
        let policies = self.clone();
        let look = tokio::task::spawn_blocking(move || policies.look(cause));
        // What came of it is logged and counted.
        let _ = look.await;
    }

    fn look(&self, cause: Cause) -> Result<ReloadOutcome, PolicyFaults> {
        let Some(folder) = &self.0.folder else {
            return Ok(ReloadOutcome::Unchanged);
        };
        let looking = self.0.looking.lock();
        let _looking = looking.unwrap_or_else(PoisonError::into_inner);
        let read = read_folder(folder).and_then(|texts| {
            if texts == self.desk().texts {
                return Ok(None);
            }
            // The desk stays free: others ask how the policy is.
            let set = PolicySet::parse(&texts, &self.0.local)?;
            Ok(Some((set, texts)))
        });
        let mut desk = self.desk();
        match read {
            Ok(news) => Ok(self.take(news, &mut desk, cause)),
            Err(faults) => {
                self.complain(&faults, &mut desk, cause);
                Err(faults)
            }
        }
    }

    fn take(
        &self,
        news: Option<(PolicySet, Vec<(PathBuf, String)>)>,
        desk: &mut Desk,
        cause: Cause,
    ) -> ReloadOutcome {
        let mended = desk.broken.take().is_some();
        self.0.metrics.broken(false);
        let Some((set, texts)) = news else {
            if mended {
                tracing::info!("policy files are as they were, and in order again");
            }
            if mended || cause == Cause::Asked {
                self.0.metrics.reloaded(ReloadOutcome::Unchanged);
            }
            return ReloadOutcome::Unchanged;
        };
        let before = self.0.current.load();
        let limits = Limits::of(
            set.limits(),
            &before.limits,
            &self.0.ledger,
            &mut desk.salts,
        );
        let (files, rules) = (set.files().len(), set.len());
        let set = Arc::new(set);
        self.0.current.store(Arc::new(Current { set, limits }));
        desk.texts = texts;
        desk.loaded_at = self.0.clock.now();
        self.0.metrics.rules(rules);
        self.0.metrics.reloaded(ReloadOutcome::Replaced);
        tracing::info!(
            policy.files = files,
            policy.rules = rules,
            "policy replaced"
        );
        ReloadOutcome::Replaced
    }

    /// Tells each fault once; again only to who asks.
    fn complain(&self, faults: &PolicyFaults, desk: &mut Desk, cause: Cause) {
        self.0.metrics.broken(true);
        let known = desk
            .broken
            .as_ref()
            .is_some_and(|(_, known)| known == faults);
        if known && cause == Cause::Change {
            return;
        }
        self.0.metrics.reloaded(ReloadOutcome::Broken);
        for fault in faults.faults() {
            tracing::error!(policy.fault = %fault, "policy not replaced, the rules of before stay");
        }
        if faults.untold() > 0 {
            tracing::error!(policy.untold = faults.untold(), "there are more faults");
        }
        let since = match desk.broken.take() {
            Some((since, _)) => since,
            None => self.0.clock.now(),
        };
        desk.broken = Some((since, faults.clone()));
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that is watched, if it can be.
struct Watched {
    #[expect(dead_code, reason = "held, never read: it watches while it lives")]
    watcher: Option<RecommendedWatcher>,
    /// What was logged of it.
    complaint: Option<String>,
}

impl Watched {
    fn start(folder: Option<&Path>, changed: &Arc<Notify>, before: Option<Self>) -> Self {
        let complained = before.and_then(|before| before.complaint);
        let Some(folder) = folder else {
            return Self {
                watcher: None,
                complaint: None,
            };
        };
        match watch_folder(folder, changed.clone()) {
            Ok(watcher) => Self {
                watcher: Some(watcher),
                complaint: None,
            },
            Err(error) => {
                let complaint = Some(error.to_string());
                if complaint != complained {
                    tracing::warn!(
                        policy.folder = %folder.display(),
                        error = %error,
                        "changes of policies are seen within a minute only"
                    );
                }
                Self {
                    watcher: None,
                    complaint,
                }
            }
        }
    }
}

fn watch_folder(folder: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // A fault of the watching may hide a change.
        if event.is_ok_and(|event| is_reading(event.kind)) {
            return;
        }
        changed.notify_one();
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Our own looks are no changes.
const fn is_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
