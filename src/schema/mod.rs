//! Schemas of payloads: which there are, and whether a payload fits (AMTP 1.0, section 6).
//!
//! A schema has an identifier, such as `agntcy:commerce.order.v1`; `v1`, `v2` … of one entity are a
//! family. Schemas come from a folder of files, from the store (the admin API) and from
//! registries of others.
//!
//! - A stored identifier has revisions, each in a state. What is `required` refuses payloads with
//!   faults; a newer `accepted` one is checked as well, and its faults are only recorded. So a
//!   schema is tried on real mail before it counts.
//! - Where folder and store differ about one identifier the file is used, and
//!   [`Schemas::faults`] says so.
//! - Judging reads memory only. What another gateway changed in the store, and what changed in
//!   the folder, is seen within five seconds.
//! - A registry of others is asked only for what is not known here, for at most three seconds.

mod branches;
mod compat;
mod compiled;
mod desk;
mod document;
mod folder;
mod registry;
mod remote;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use compat::{Break, Mode, ModeFault, compare};
pub use compiled::{MOST_FAULTS, SchemaFault};
pub use desk::{Found, PutFault, SchemaInfo, Source, Submission};
pub use document::{Document, DocumentFault, MOST_BYTES};
pub use folder::FolderFault;

use crate::clock::Clock;
use crate::config::{RegistryEntry, UnknownSchemas};
use crate::net::GuardedClient;
use crate::protocol::{SchemaId, SchemaPattern};
use crate::store::{Store, StoreError};
use crate::telemetry::{Metrics, SchemaMetrics};
use compiled::Compiled;
use folder::{Files, Look};
use registry::{Snapshot, Stored};
use remote::Remote;

/// How often the store and the folder are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How many alternatives are named.
const MOST_ALTERNATIVES: usize = 10;

/// What is said of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It fits, or nothing that refuses says otherwise.
    Valid,
    /// Nobody here knows its schema.
    Unknown,
    /// It does not fit; at most [`MOST_FAULTS`].
    Faults(Vec<SchemaFault>),
}

/// Where schemas come from.
#[derive(Default)]
pub struct SchemaOptions {
    /// The folder of files.
    pub dir: Option<PathBuf>,
    /// What the operator wants of unknown schemas; the registry itself only tells it.
    pub unknown: Option<UnknownSchemas>,
    /// Registries of others, and the connector they are asked over.
    pub remote: Option<(Vec<RegistryEntry>, GuardedClient)>,
}

/// Why there is no registry.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// Files of the folder.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Folder(Vec<FolderFault>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The registry of schemas. Cloning is cheap.
#[derive(Clone)]
pub struct Schemas(Arc<Shared>);

struct Shared {
    dir: Option<PathBuf>,
    unknown: UnknownSchemas,
    remote: Option<Remote>,
    store: Store,
    clock: Clock,
    metrics: SchemaMetrics,
    folder: Mutex<Folder>,
    stored: tokio::sync::Mutex<Stored>,
    snapshot: ArcSwap<Snapshot>,
}

/// The folder as it was read last.
#[derive(Default)]
struct Folder {
    files: Files,
    look: Look,
    /// Why it was not taken when it was read last; the files before stay.
    faults: Vec<FolderFault>,
}

impl std::fmt::Debug for Schemas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schemas")
    }
}

impl Schemas {
    /// Reads everything there is.
    ///
    /// # Errors
    /// Every fault of the folder, or that of the database. A stored schema that cannot be used is
    /// only told by [`Self::faults`].
    pub async fn open(
        options: SchemaOptions,
        store: Store,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, OpenFault> {
        let metrics = metrics.schemas().clone();
        let remote = options
            .remote
            .filter(|(registries, _)| !registries.is_empty());
        let remote = remote.map(|(registries, client)| {
            Remote::new(registries, client, clock.clone(), metrics.clone())
        });
        let schemas = Self(Arc::new(Shared {
            dir: options.dir,
            unknown: options.unknown.unwrap_or(UnknownSchemas::Accept),
            remote,
            store,
            clock,
            metrics,
            folder: Mutex::default(),
            stored: tokio::sync::Mutex::default(),
            snapshot: ArcSwap::default(),
        }));
        schemas.read_folder().await.map_err(OpenFault::Folder)?;
        schemas.refresh().await?;
        Ok(schemas)
    }

    /// Checks the files of a folder without taking them.
    #[must_use]
    pub fn check_folder(dir: &std::path::Path) -> Vec<FolderFault> {
        folder::read(dir).err().unwrap_or_default()
    }

    /// What the operator wants of messages whose schema is unknown.
    #[must_use]
    pub fn unknown(&self) -> UnknownSchemas {
        self.0.unknown
    }

    /// What is wrong at present: files that were not taken, documents that differ.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let folder = self.folder();
        let files = folder.faults.iter().map(ToString::to_string);
        files.chain(self.0.snapshot.load().faults.clone()).collect()
    }

    /// Holds a payload, which is JSON, against its schema.
    pub async fn judge(&self, id: &SchemaId, payload: &str) -> Judgement {
        let known = self.0.snapshot.load().known.get(id).cloned();
        let known = match (known, &self.0.remote) {
            (None, Some(remote)) => remote.find(id).await,
            (known, _) => known,
        };
        let Some(known) = known.filter(registry::Known::is_used) else {
            self.0.metrics.judged("unknown");
            return Judgement::Unknown;
        };
        let (refused, recorded) = known.faults(payload);
        if !refused.is_empty() {
            self.0.metrics.judged("faults");
            return Judgement::Faults(refused);
        }
        match recorded.first() {
            None => self.0.metrics.judged("valid"),
            Some(first) => {
                self.0.metrics.judged("recorded");
                let (path, error) = (first.path.as_str(), first.error.as_str());
                tracing::info!(schema.id = %id, faults = recorded.len(), path, error, "a payload does not fit a schema that is on trial");
            }
        }
        Judgement::Valid
    }

    /// The known schemas that an agent of these patterns takes: those of the same entity first,
    /// then of the same domain; at most ten.
    #[must_use]
    pub fn alternatives(&self, patterns: &[SchemaPattern], asked: &SchemaId) -> Vec<String> {
        let snapshot = self.0.snapshot.load();
        let used = snapshot.known.iter().filter(|(_, known)| known.is_used());
        let taken = |id: &&SchemaId| patterns.iter().any(|pattern| pattern.matches(id));
        let known = used.map(|(id, _)| id.clone());
        // A pattern without a star names a schema that the agent takes, whoever knows it.
        let plain = patterns.iter().filter(|it| !it.as_str().contains('*'));
        let plain = plain.filter_map(|it| SchemaId::parse(it.as_str()).ok());
        let mut found: Vec<SchemaId> = known.chain(plain).collect();
        found.retain(|id| taken(&id) && id != asked);
        found.sort_by_cached_key(|id| (distance(id, asked), id.clone()));
        found.dedup();
        found.truncate(MOST_ALTERNATIVES);
        found.iter().map(ToString::to_string).collect()
    }

    /// Takes what changed in the store.
    ///
    /// # Errors
    /// When the database fails: what is known stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let mut stored = self.0.stored.lock().await;
        if let Some(fresh) = stored.read_again(&self.0.store).await? {
            *stored = fresh;
        }
        self.put_together(&stored);
        Ok(())
    }

    /// Reads the folder again: all of it is taken, or nothing.
    ///
    /// # Errors
    /// Every fault of every file; the files before stay.
    pub async fn reload(&self) -> Result<(), Vec<FolderFault>> {
        let outcome = self.read_folder().await;
        if let Err(faults) = &outcome {
            for fault in faults {
                tracing::error!(error = %fault, "schemas not replaced, the old ones stay");
            }
        }
        let stored = self.0.stored.lock().await;
        self.put_together(&stored);
        outcome
    }

    /// Looks at store and folder now and then, and at once when `reloads` counts up.
    pub async fn run(self, mut reloads: watch::Receiver<u64>, stop: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.clock.wait(EVERY) => false,
                Ok(()) = reloads.changed() => true,
            };
            if asked || self.folder_changed() {
                // It is told already.
                drop(self.reload().await);
            }
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the stored schemas could not be read; those known stay");
            }
        }
    }

    async fn read_folder(&self) -> Result<(), Vec<FolderFault>> {
        let Some(dir) = self.0.dir.clone() else {
            return Ok(());
        };
        let look = folder::look(&dir);
        let read = tokio::task::spawn_blocking(move || folder::read(&dir)).await;
        let read = read.unwrap_or_else(|_| Ok(self.folder().files.clone()));
        let mut folder = self.folder();
        folder.look = look;
        match read {
            Ok(files) => {
                folder.files = files;
                folder.faults.clear();
                Ok(())
            }
            Err(faults) => {
                folder.faults.clone_from(&faults);
                Err(faults)
            }
        }
    }

    fn folder_changed(&self) -> bool {
        let dir = self.0.dir.as_deref();
        dir.is_some_and(|dir| folder::look(dir) != self.folder().look)
    }

    fn folder(&self) -> std::sync::MutexGuard<'_, Folder> {
        let folder = &self.0.folder;
        folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_together(&self, stored: &Stored) {
        let fresh = Snapshot::of(&self.folder().files, stored);
        let before = self.0.snapshot.swap(Arc::new(fresh));
        for fault in &self.0.snapshot.load().faults {
            if !before.faults.contains(fault) {
                tracing::error!(error = %fault, "a schema is in doubt");
            }
        }
    }
}

/// How far a schema is from another: 0 another version of it, 1 of the same domain, 2 any other.
fn distance(id: &SchemaId, asked: &SchemaId) -> u8 {
    match (id.agntcy(), asked.agntcy()) {
        (Some(one), Some(other)) if one.domain == other.domain => {
            u8::from(one.entity != other.entity)
        }
        _ => 2,
    }
}

/// Checks that a document can be used, and a payload against it.
///
/// # Errors
/// What is wrong with the document.
pub fn check(document: &Document, payload: &str) -> Result<Vec<SchemaFault>, DocumentFault> {
    Ok(Compiled::of(document)?.faults(payload))
}

#[cfg(test)]
mod tests;
