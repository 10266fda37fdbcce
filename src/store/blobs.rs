//! Large contents that messages refer to, kept in chunks of 256 KiB.
//!
//! Several gateways share no disk, so contents stand in the database. A content is written chunk
//! by chunk, then completed; one that is not completed or not claimed by a message within a day
//! is removed, and so is one whose message is gone.

use bytes::Bytes;
use ring::digest;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Statement};
use crate::events::Topic;
use crate::protocol::Timestamp;

/// The size of every chunk but the last.
pub(super) const CHUNK: usize = 256 * 1024;

/// What is known of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMeta {
    /// Its id.
    pub id: String,
    /// The stored message it belongs to; nothing = not claimed yet.
    pub message: Option<i64>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: Vec<u8>,
    /// Its media type.
    pub media_type: String,
}

/// A content on its way in.
pub struct Blob {
    store: Store,
    id: String,
    hash: digest::Context,
    pending: Vec<u8>,
    size: u64,
    chunks: i64,
}

impl Store {
    /// Begins a content under a fresh id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_blob(
        &self,
        id: String,
        media_type: String,
        now: Timestamp,
    ) -> Result<Blob, StoreError> {
        self.0
            .committing
            .commit(BeginBlob {
                id: id.clone(),
                media_type,
                now,
            })
            .await?;
        Ok(Blob {
            store: self.clone(),
            id,
            hash: digest::Context::new(&digest::SHA256),
            pending: Vec::new(),
            size: 0,
            chunks: 0,
        })
    }

    /// What is known of a complete content.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_blob(&self, id: &str) -> Result<Option<BlobMeta>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT id, mid, size, sha256, media_type FROM blobs WHERE id = ? AND complete = 1",
        )
        .bind(id);
        let Some(row) = reader.row(statement).await? else {
            return Ok(None);
        };
        Ok(Some(BlobMeta {
            id: row.text(0)?,
            message: row.maybe_int(1)?,
            size: u64::try_from(row.int(2)?).unwrap_or(0),
            sha256: row.bytes(3)?,
            media_type: row.text(4)?,
        }))
    }

    /// The chunk of this number, from 0; nothing behind the last one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn blob_chunk(&self, id: &str, chunk: i64) -> Result<Option<Bytes>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new("SELECT bytes FROM blob_chunks WHERE id = ? AND chunk = ?")
            .bind(id)
            .bind(chunk);
        let row = reader.row(statement).await?;
        Ok(row.map(|row| row.bytes(0)).transpose()?.map(Bytes::from))
    }

    /// Ties contents to the message that refers to them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_blobs(&self, ids: Vec<String>, message: i64) -> Result<(), StoreError> {
        self.0.committing.commit(ClaimBlobs { ids, message }).await
    }
}

impl Blob {
    /// Adds bytes; whole chunks go to disk.
    ///
    /// # Errors
    /// When the database fails; what was written is then removed in time.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.pending.extend_from_slice(bytes);
        while self.pending.len() >= CHUNK {
            let rest = self.pending.split_off(CHUNK);
            let chunk = std::mem::replace(&mut self.pending, rest);
            self.put(chunk).await?;
        }
        Ok(())
    }

    /// Completes the content: from now on it can be read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn complete(mut self) -> Result<(), StoreError> {
        if !self.pending.is_empty() {
            let chunk = std::mem::take(&mut self.pending);
            self.put(chunk).await?;
        }
        let sha256 = self.hash.finish().as_ref().to_vec();
        let done = CompleteBlob {
            id: self.id,
            size: self.size,
            sha256,
        };
        self.store.0.committing.commit(done).await
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), StoreError> {
        let put = PutChunk {
            id: self.id.clone(),
            chunk: self.chunks,
            bytes: Bytes::from(bytes),
        };
        self.chunks += 1;
        self.store.0.committing.commit(put).await
    }
}

struct BeginBlob {
    id: String,
    media_type: String,
    now: Timestamp,
}

impl Verb for BeginBlob {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let insert = Statement::new(
            "INSERT INTO blobs (id, size, sha256, media_type, created_at, complete) VALUES (?, 0, ?, ?, ?, 0)",
        )
        .bind(self.id.as_str())
        .bind(Bytes::new())
        .bind(self.media_type.as_str())
        .bind(self.now.as_millis());
        tx.run(insert).await.map(drop)
    }
}

struct PutChunk {
    id: String,
    chunk: i64,
    bytes: Bytes,
}

impl Verb for PutChunk {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let insert = Statement::new("INSERT INTO blob_chunks (id, chunk, bytes) VALUES (?, ?, ?)")
            .bind(self.id.as_str())
            .bind(self.chunk)
            .bind(self.bytes.clone());
        tx.run(insert).await.map(drop)
    }
}

struct CompleteBlob {
    id: String,
    size: u64,
    sha256: Vec<u8>,
}

impl Verb for CompleteBlob {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let update =
            Statement::new("UPDATE blobs SET complete = 1, size = ?, sha256 = ? WHERE id = ?")
                .bind(i64::try_from(self.size).unwrap_or(i64::MAX))
                .bind(self.sha256.as_slice())
                .bind(self.id.as_str());
        tx.run(update).await.map(drop)
    }
}

struct ClaimBlobs {
    ids: Vec<String>,
    message: i64,
}

impl Verb for ClaimBlobs {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        for id in &self.ids {
            let update = Statement::new("UPDATE blobs SET mid = ? WHERE id = ?")
                .bind(self.message)
                .bind(id.as_str());
            tx.run(update).await?;
        }
        Ok(())
    }
}
