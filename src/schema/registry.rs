//! What is known at a moment: the schemas of the folder and those of the store, put together.

use std::collections::HashMap;
use std::sync::Arc;

use super::compiled::{Compiled, SchemaFault};
use super::document::Document;
use super::folder::Files;
use crate::protocol::SchemaId;
use crate::store::{SchemaState, Store, StoreError, StoredSchema};

/// How many revisions are listed in one go.
const PAGE: usize = 500;

/// What payloads of one identifier are checked against.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// A fault refuses.
    pub(super) required: Option<Arc<Compiled>>,
    /// A fault is recorded.
    pub(super) trial: Option<Arc<Compiled>>,
}

impl Known {
    pub(super) fn of(state: SchemaState, compiled: &Arc<Compiled>) -> Self {
        let mut known = Self::default();
        known.set(state, compiled);
        known
    }

    fn set(&mut self, state: SchemaState, compiled: &Arc<Compiled>) {
        match state {
            SchemaState::Required => self.required = Some(compiled.clone()),
            SchemaState::Accepted => self.trial = Some(compiled.clone()),
            SchemaState::Draft | SchemaState::Retired => {}
        }
    }

    /// Whether payloads are checked at all.
    pub(super) fn is_used(&self) -> bool {
        self.required.is_some() || self.trial.is_some()
    }

    /// The faults that refuse a payload, and those that are recorded.
    pub(super) fn faults(&self, payload: &str) -> (Vec<SchemaFault>, Vec<SchemaFault>) {
        let of = |compiled: &Option<Arc<Compiled>>| {
            let compiled = compiled.as_ref();
            compiled.map_or_else(Vec::new, |it| it.faults(payload))
        };
        let refused = of(&self.required);
        let recorded = match refused.is_empty() {
            true => of(&self.trial),
            false => Vec::new(),
        };
        (refused, recorded)
    }
}

/// A revision of the store that payloads are checked against.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    id: SchemaId,
    revision: i64,
    state: SchemaState,
    sha256: Vec<u8>,
    compiled: Arc<Compiled>,
}

/// What was read from the store, and at which generation.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) generation: Option<i64>,
    pub(super) revisions: Vec<Revision>,
    /// What could not be compiled.
    pub(super) faults: Vec<String>,
}

impl Stored {
    /// Reads what changed; documents that were compiled already stay as they are.
    ///
    /// # Errors
    /// When the database fails: everything stays as it was.
    pub(super) async fn read_again(&self, store: &Store) -> Result<Option<Self>, StoreError> {
        let generation = store.schema_generation().await?;
        if self.generation == Some(generation) {
            return Ok(None);
        }
        let mut fresh = Self {
            generation: Some(generation),
            ..Self::default()
        };
        for meta in used(&all(store).await?) {
            match self.compiled(store, meta).await? {
                Some(Ok(revision)) => fresh.revisions.push(revision),
                Some(Err(fault)) => {
                    let (id, revision) = (&meta.id, meta.revision);
                    let text = format!("schema {id}, revision {revision}: {fault}");
                    fresh.faults.push(text);
                }
                // It was removed meanwhile; the generation will say so.
                None => {}
            }
        }
        Ok(Some(fresh))
    }

    async fn compiled(
        &self,
        store: &Store,
        meta: &StoredSchema,
    ) -> Result<Option<Result<Revision, String>>, StoreError> {
        let id = match SchemaId::parse(&meta.id) {
            Ok(id) => id,
            Err(fault) => return Ok(Some(Err(fault.to_string()))),
        };
        let mut kept = self.revisions.iter();
        let compiled = match kept.find(|it| it.sha256 == meta.sha256) {
            Some(kept) => kept.compiled.clone(),
            None => {
                let found = store.find_schema(&id, Some(meta.revision)).await?;
                let Some(found) = found else {
                    return Ok(None);
                };
                let compiled = Document::read(&found.document).and_then(|it| Compiled::of(&it));
                match compiled {
                    Ok(compiled) => Arc::new(compiled),
                    Err(fault) => return Ok(Some(Err(fault.to_string()))),
                }
            }
        };
        Ok(Some(Ok(Revision {
            id,
            revision: meta.revision,
            state: meta.state,
            sha256: meta.sha256.clone(),
            compiled,
        })))
    }
}

/// All revisions of the store, in order, without their documents.
async fn all(store: &Store) -> Result<Vec<StoredSchema>, StoreError> {
    let mut all: Vec<StoredSchema> = Vec::new();
    loop {
        let after = all.last().map(|last| (last.id.clone(), last.revision));
        let after = after
            .as_ref()
            .map(|(id, revision)| (id.as_str(), *revision));
        let page = store.list_schemas(after, PAGE).await?;
        let more = page.len() == PAGE;
        all.extend(page);
        if !more {
            return Ok(all);
        }
    }
}

/// Of each identifier the newest required revision, and an accepted one that is newer.
fn used(all: &[StoredSchema]) -> Vec<&StoredSchema> {
    let mut newest: HashMap<(&str, &str), &StoredSchema> = HashMap::new();
    for meta in all {
        newest.insert((&meta.id, meta.state.as_str()), meta);
    }
    let wins = |meta: &&&StoredSchema| match meta.state {
        SchemaState::Required => true,
        SchemaState::Accepted => {
            let required = newest.get(&(meta.id.as_str(), SchemaState::Required.as_str()));
            required.is_none_or(|required| required.revision < meta.revision)
        }
        SchemaState::Draft | SchemaState::Retired => false,
    };
    newest.values().filter(wins).copied().collect()
}

/// What is known, to be read without a lock.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) known: HashMap<SchemaId, Known>,
    pub(super) faults: Vec<String>,
}

impl Snapshot {
    /// The folder goes before the store; where they hold different documents that is a fault.
    pub(super) fn of(files: &Files, stored: &Stored) -> Self {
        let mut snapshot = Self {
            faults: stored.faults.clone(),
            ..Self::default()
        };
        for revision in &stored.revisions {
            let file = files.get(&revision.id);
            if let Some(file) = file {
                if file.document.sha256[..] != revision.sha256[..] {
                    snapshot.faults.push(format!(
                        "schema {} differs between {} and revision {} of the store; the file is used",
                        revision.id,
                        file.file.display(),
                        revision.revision,
                    ));
                }
                continue;
            }
            let known = snapshot.known.entry(revision.id.clone()).or_default();
            known.set(revision.state, &revision.compiled);
        }
        for (id, file) in files {
            let known = Known::of(file.state, &file.compiled);
            snapshot.known.insert(id.clone(), known);
        }
        snapshot.faults.sort();
        snapshot
    }
}
