//! What operators do with schemas: store, list, show, try, roll out, remove.

use serde_json::Value;
use thiserror::Error;

use super::compat::{Break, Mode, compare};
use super::compiled::Compiled;
use super::document::{Document, DocumentFault};
use super::folder::FileSchema;
use super::{SchemaFault, Schemas};
use crate::protocol::{SchemaId, Timestamp};
use crate::store::{NewSchema, PutSchema, SchemaState, StoreError, StoredSchema};

/// Where a schema is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In a file of the folder.
    Directory,
    /// In the store.
    Store,
}

impl Source {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Store => "store",
        }
    }
}

/// What is known about a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaInfo {
    /// The identifier.
    pub id: String,
    /// Which revision; 0 for a file.
    pub revision: i64,
    /// What it is good for.
    pub state: SchemaState,
    /// Where it is kept.
    pub source: Source,
    /// SHA-256 of the document.
    pub sha256: Vec<u8>,
    /// When it was stored.
    pub created_at: Option<Timestamp>,
    /// When and by whom its state was last set.
    pub changed: Option<(Timestamp, String)>,
}

/// A revision with its document.
#[derive(Debug, Clone)]
pub struct Found {
    /// What is known about it.
    pub info: SchemaInfo,
    /// The document.
    pub document: Document,
}

/// A document that somebody wants to store.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its identifier; what the document calls itself where it is not given.
    pub id: Option<SchemaId>,
    /// Its text.
    pub document: Vec<u8>,
    /// The state of the new revision.
    pub state: SchemaState,
    /// How it must go with the version before; nothing: that is not looked at.
    pub mode: Option<Mode>,
    /// Who stores it, for people.
    pub by: String,
}

/// Why a document is not stored.
#[derive(Debug, Error)]
pub enum PutFault {
    /// It cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentFault),
    /// It does not go with the version before.
    #[error("it does not go with {against}")]
    Breaks {
        /// The version before.
        against: String,
        /// Where.
        breaks: Vec<Break>,
    },
    /// A file of the folder says otherwise.
    #[error("a file of this gateway has another schema of this name")]
    File,
    /// There are too many already.
    #[error("there are as many revisions as may be stored; remove some")]
    TooMany,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Schemas {
    /// Stores a document as the newest revision of its identifier. Tells the identifier, the
    /// revision, and whether it is new.
    ///
    /// # Errors
    /// See [`PutFault`]; nothing is stored.
    pub async fn put(&self, it: Submission) -> Result<(SchemaId, i64, bool), PutFault> {
        let document = Document::read(&it.document)?;
        let id = it.id.map_or_else(|| document.id(), Ok)?;
        document.check_name(&id)?;
        Compiled::of(&document)?;
        let file = self.folder().files.get(&id).cloned();
        if file.is_some_and(|file| file.document.sha256 != document.sha256) {
            return Err(PutFault::File);
        }
        if let Some(mode) = it.mode {
            self.check_with_before(&id, &document, mode).await?;
        }
        let new = NewSchema {
            id: id.clone(),
            state: it.state,
            sha256: document.sha256.to_vec(),
            document: document.text,
            changed_by: it.by,
            now: self.0.clock.now(),
        };
        let put = self.0.store.put_schema(new).await?;
        self.refresh().await?;
        match put {
            PutSchema::Stored(revision) => Ok((id, revision, true)),
            PutSchema::Same(revision) => Ok((id, revision, false)),
            PutSchema::TooMany => Err(PutFault::TooMany),
        }
    }

    async fn check_with_before(
        &self,
        id: &SchemaId,
        document: &Document,
        mode: Mode,
    ) -> Result<(), PutFault> {
        let Some((against, before)) = self.before(id).await? else {
            return Ok(());
        };
        let breaks = compare(&before, &document.value, mode);
        if breaks.is_empty() {
            return Ok(());
        }
        Err(PutFault::Breaks { against, breaks })
    }

    /// The version that stands before a new one: the newest revision in use of the same
    /// identifier, else the highest version below it in its family.
    async fn before(&self, id: &SchemaId) -> Result<Option<(String, Value)>, StoreError> {
        if let Some(found) = self.in_use(id).await? {
            return Ok(Some(found));
        }
        let Some(own) = id.agntcy() else {
            return Ok(None);
        };
        let snapshot = self.0.snapshot.load_full();
        let family = snapshot.known.iter().filter(|(_, known)| known.is_used());
        let family = family.filter_map(|(id, _)| Some((id.agntcy()?, id)));
        let below = family.filter(|(it, _)| {
            (it.domain, it.entity) == (own.domain, own.entity) && it.version < own.version
        });
        match below.max_by_key(|(it, _)| it.version) {
            Some((_, before)) => self.in_use(before).await,
            None => Ok(None),
        }
    }

    /// The newest revision of an identifier that payloads are checked against, with its name.
    async fn in_use(&self, id: &SchemaId) -> Result<Option<(String, Value)>, StoreError> {
        let file = self.folder().files.get(id).cloned();
        if let Some(file) = file {
            return Ok(Some((id.to_string(), file.document.value.clone())));
        }
        let mut after = 0;
        let mut newest = None;
        loop {
            let page = self.0.store.list_schemas(Some((id.as_str(), after)), 500);
            let page = page.await?;
            let own = || page.iter().filter(|it| it.id == id.as_str());
            let used = |it: &&StoredSchema| {
                matches!(it.state, SchemaState::Accepted | SchemaState::Required)
            };
            newest = own().rfind(used).map(|it| it.revision).or(newest);
            match own().next_back() {
                Some(last) if page.last() == Some(last) => after = last.revision,
                _ => break,
            }
        }
        let Some(newest) = newest else {
            return Ok(None);
        };
        let found = self.find(id, Some(newest)).await?;
        let named = |it: Found| (format!("{id} (revision {newest})"), it.document.value);
        Ok(found.map(named))
    }

    /// A revision with its document: 0 is the file, nothing is the file or else the newest of
    /// the store.
    ///
    /// # Errors
    /// When the database fails, or holds what is no schema.
    pub async fn find(
        &self,
        id: &SchemaId,
        revision: Option<i64>,
    ) -> Result<Option<Found>, StoreError> {
        if revision.is_none_or(|revision| revision == 0) {
            let file = self.folder().files.get(id).cloned();
            if file.is_some() || revision == Some(0) {
                return Ok(file.map(|file| Found {
                    info: of_file(&file),
                    document: file.document.clone(),
                }));
            }
        }
        let Some(stored) = self.0.store.find_schema(id, revision).await? else {
            return Ok(None);
        };
        let document = Document::read(&stored.document)
            .map_err(|fault| StoreError::Corrupt(format!("schema {id}: {fault}")))?;
        Ok(Some(Found {
            info: of_store(stored),
            document,
        }))
    }

    /// Everything kept here, in the order of identifiers and revisions, after `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        after: Option<(&str, i64)>,
        limit: usize,
    ) -> Result<Vec<SchemaInfo>, StoreError> {
        let stored = self.0.store.list_schemas(after, limit).await?;
        let mut all: Vec<SchemaInfo> = stored.into_iter().map(of_store).collect();
        let behind =
            |info: &SchemaInfo| after.is_none_or(|at| (info.id.as_str(), info.revision) > at);
        let files = self.folder().files.clone();
        all.extend(files.values().map(|file| of_file(file)).filter(behind));
        all.sort_by(|one, other| (&one.id, one.revision).cmp(&(&other.id, other.revision)));
        all.truncate(limit);
        Ok(all)
    }

    /// Sets the state of a stored revision, or of the newest one. Tells which; nothing if it is
    /// not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_state(
        &self,
        (id, revision): (&SchemaId, Option<i64>),
        state: SchemaState,
        by: &str,
    ) -> Result<Option<i64>, StoreError> {
        let Some(found) = self.0.store.find_schema(id, revision).await? else {
            return Ok(None);
        };
        let (place, now) = ((id, found.revision), self.0.clock.now());
        let set = self.0.store.set_schema_state(place, state, by, now).await?;
        self.refresh().await?;
        Ok(set.then_some(found.revision))
    }

    /// Removes a stored revision, or all of an identifier. Tells how many went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove(&self, id: &SchemaId, revision: Option<i64>) -> Result<u64, StoreError> {
        let removed = self.0.store.remove_schema(id, revision).await?;
        self.refresh().await?;
        Ok(removed)
    }

    /// Holds a payload against a revision, whatever its state; nothing if it is not there.
    ///
    /// # Errors
    /// When the database fails, or holds what is no schema.
    pub async fn try_payload(
        &self,
        id: &SchemaId,
        revision: Option<i64>,
        payload: &str,
    ) -> Result<Option<Vec<SchemaFault>>, StoreError> {
        let Some(found) = self.find(id, revision).await? else {
            return Ok(None);
        };
        let faults = super::check(&found.document, payload);
        let corrupt = |fault| StoreError::Corrupt(format!("schema {id}: {fault}"));
        faults.map(Some).map_err(corrupt)
    }
}

fn of_file(file: &FileSchema) -> SchemaInfo {
    SchemaInfo {
        id: file.id.to_string(),
        revision: 0,
        state: file.state,
        source: Source::Directory,
        sha256: file.document.sha256.to_vec(),
        created_at: None,
        changed: None,
    }
}

fn of_store(stored: StoredSchema) -> SchemaInfo {
    SchemaInfo {
        id: stored.id,
        revision: stored.revision,
        state: stored.state,
        source: Source::Store,
        sha256: stored.sha256,
        created_at: Some(stored.created_at),
        changed: Some((stored.changed_at, stored.changed_by)),
    }
}
