//! Tasks and events read back from the store.

use super::json::{Fault, Place};
use super::model::{Artifact, StreamResponse, Task};
use super::read;
use crate::store::{StoreError, TaskEvent, TaskRow, WholeTask};

/// A task of its rows.
///
/// # Errors
/// [`StoreError::Corrupt`]: the rows are not what this version writes.
pub fn task(whole: &WholeTask) -> Result<Task, StoreError> {
    let row = &whole.row;
    let history = whole.history.iter();
    Ok(Task {
        history: history
            .map(|body| stored(body, read::message))
            .collect::<Result<_, _>>()?,
        artifacts: artifacts(&whole.artifacts)?,
        ..bare(row)?
    })
}

/// A task without its history and artifacts.
///
/// # Errors
/// As [`task`].
pub fn bare(row: &TaskRow) -> Result<Task, StoreError> {
    let metadata = row.metadata.as_deref();
    Ok(Task {
        id: row.id.clone(),
        context_id: row.context.clone(),
        status: stored(&row.status, read::status)?,
        artifacts: Vec::new(),
        history: Vec::new(),
        metadata: metadata
            .map(|body| stored(body, |place| place.json()))
            .transpose()?,
    })
}

/// An event of the log.
///
/// # Errors
/// As [`task`].
pub fn event(event: &TaskEvent) -> Result<StreamResponse, StoreError> {
    stored(&event.body, read::stream_response)
}

/// Pieces of the same artifact stand together.
fn artifacts(pieces: &[Vec<u8>]) -> Result<Vec<Artifact>, StoreError> {
    let mut artifacts: Vec<Artifact> = Vec::new();
    for body in pieces {
        let piece = stored(body, read::artifact)?;
        match artifacts.last_mut() {
            Some(last) if last.artifact_id == piece.artifact_id => add(last, piece),
            _ => artifacts.push(piece),
        }
    }
    Ok(artifacts)
}

/// More of an artifact: its parts come behind, and what else it says counts from now on.
fn add(artifact: &mut Artifact, piece: Artifact) {
    artifact.parts.extend(piece.parts);
    artifact.name = piece.name.or(artifact.name.take());
    artifact.description = piece.description.or(artifact.description.take());
    artifact.metadata = piece.metadata.or(artifact.metadata.take());
    for uri in piece.extensions {
        if !artifact.extensions.contains(&uri) {
            artifact.extensions.push(uri);
        }
    }
}

fn stored<T>(body: &[u8], read: impl Fn(&Place<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
    let text = std::str::from_utf8(body);
    let text = text.map_err(|fault| StoreError::Corrupt(format!("of a task: {fault}")))?;
    read(&Place::top(text, "")).map_err(|fault| StoreError::Corrupt(format!("of a task: {fault}")))
}
