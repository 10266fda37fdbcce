//! The schemas of a folder: one in each `*.json`.
//!
//! A file names its schema by `x-amtp-schema`, else by `$id`, and its state by `x-amtp-state`
//! (`required` where nothing is said). A folder is taken as a whole or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::compiled::Compiled;
use super::document::{Document, DocumentFault, MOST_BYTES};
use crate::protocol::SchemaId;
use crate::store::SchemaState;

/// How many files a folder may have.
const MOST_FILES: usize = 1_000;
/// How many bytes all of them together.
const MOST_TOGETHER: usize = 64 * 1024 * 1024;

/// A schema that is a file.
#[derive(Debug)]
pub(super) struct FileSchema {
    pub(super) id: SchemaId,
    pub(super) state: SchemaState,
    pub(super) document: Document,
    pub(super) compiled: Arc<Compiled>,
    pub(super) file: PathBuf,
}

pub(super) type Files = BTreeMap<SchemaId, Arc<FileSchema>>;

/// What is wrong with a file of the folder, or the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFault {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for FolderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.text)
    }
}

impl FolderFault {
    fn of(file: &Path, text: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            text: text.to_string(),
        }
    }
}

/// What shows that a folder may have changed: its files with their lengths and times.
pub(super) type Look = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Looks at a folder without reading its files.
pub(super) fn look(folder: &Path) -> Look {
    let files = files(folder).unwrap_or_default();
    let facts = |file: PathBuf| {
        let facts = fs::metadata(&file).ok();
        let length = facts.as_ref().map_or(0, fs::Metadata::len);
        (file, length, facts.and_then(|facts| facts.modified().ok()))
    };
    files.into_iter().map(facts).collect()
}

/// Reads and compiles all of a folder.
///
/// # Errors
/// Every fault of every file.
pub(super) fn read(folder: &Path) -> Result<Files, Vec<FolderFault>> {
    let names = files(folder).map_err(|fault| vec![fault])?;
    let mut found = Files::new();
    let mut faults = Vec::new();
    let mut together = 0;
    for file in names {
        let schema = one(&file);
        if let Ok(schema) = &schema {
            together += schema.document.text.len();
        }
        match schema {
            Err(fault) => faults.push(FolderFault::of(&file, fault)),
            Ok(_) if together > MOST_TOGETHER => {
                let text = "is too much: all schemas together have more than 64 MiB";
                faults.push(FolderFault::of(&file, text));
                break;
            }
            Ok(schema) => match found.get(&schema.id) {
                Some(other) => {
                    let text = format!("is {} again, as {}", schema.id, other.file.display());
                    faults.push(FolderFault::of(&file, text));
                }
                None => {
                    found.insert(schema.id.clone(), Arc::new(schema));
                }
            },
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(faults)
    }
}

fn one(file: &Path) -> Result<FileSchema, String> {
    let opened = fs::File::open(file).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = Vec::new();
    let most = MOST_BYTES as u64 + 1;
    opened
        .take(most)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    parse(file, &text).map_err(|fault| fault.to_string())
}

fn parse(file: &Path, text: &[u8]) -> Result<FileSchema, DocumentFault> {
    let document = Document::read(text)?;
    Ok(FileSchema {
        id: document.id()?,
        state: document.state()?,
        compiled: Arc::new(Compiled::of(&document)?),
        document,
        file: file.to_owned(),
    })
}

/// The files that count, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, FolderFault> {
    let fault = |error: std::io::Error| FolderFault::of(folder, format!("cannot be read: {error}"));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let json = path.extension().is_some_and(|end| end == "json");
        if json && !hidden && path.is_file() {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            let text = format!("has more than {MOST_FILES} schemas");
            return Err(FolderFault::of(folder, text));
        }
    }
    files.sort();
    Ok(files)
}
