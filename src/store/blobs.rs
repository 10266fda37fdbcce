//! Large contents that messages refer to, kept in chunks of 256 KiB.
//!
//! Several gateways share no disk, so contents stand in the database. A content is written chunk
//! by chunk, then completed; one that is not completed or not claimed by a message within a day
//! is removed, and so is one whose message is gone.

use std::time::Duration;

use bytes::Bytes;
use ring::digest;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Statement};
use crate::events::Topic;
use crate::protocol::{IdempotencyKey, Timestamp};

/// The size of every chunk but the last.
pub(super) const CHUNK: usize = 256 * 1024;

/// The name of the mail that a message was made of, whole, by the message's sender (its
/// [`crate::protocol::Address::key`]) and key. It is kept only where the mail has to go on as it came.
#[must_use]
pub fn raw_mail_id(sender: &str, key: &IdempotencyKey) -> String {
    part_id(sender, key, "raw")
}

/// The name of a part of the mail that a message was made of, by the message's sender and key: who
/// only knows another's key does not get at what is kept under it.
#[must_use]
pub fn part_id(sender: &str, key: &IdempotencyKey, part: &str) -> String {
    let named = format!("{sender}\n{}\n{part}", key.as_str());
    let hash = digest::digest(&digest::SHA256, named.as_bytes());
    let hex = hash.as_ref()[..20].iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

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

/// Whether a content under a known name has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Fresh,
    /// It is complete.
    Known,
    /// It is being written.
    Busy,
}

/// After this time a content that is not complete is not being written any more.
const STALE: Duration = Duration::from_secs(3_600);

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
        Ok(self.blob(id))
    }

    fn blob(&self, id: String) -> Blob {
        Blob {
            store: self.clone(),
            id,
            hash: digest::Context::new(&digest::SHA256),
            pending: Vec::new(),
            size: 0,
            chunks: 0,
        }
    }

    /// Keeps a content under a name that follows from what it is, so that who comes again with it
    /// finds it there: then nothing is written.
    ///
    /// # Errors
    /// When the database fails; `Busy` while another writes it.
    pub async fn keep_blob(
        &self,
        id: &str,
        media_type: &str,
        (bytes, now): (Bytes, Timestamp),
    ) -> Result<(), StoreError> {
        let begin = BeginNamed {
            id: id.to_owned(),
            media_type: media_type.to_owned(),
            whole: Some(bytes.clone()).filter(|bytes| bytes.len() <= CHUNK),
            now,
        };
        match self.0.committing.commit(begin).await? {
            Beginning::Known => return Ok(()),
            Beginning::Busy => return Err(StoreError::Busy),
            Beginning::Fresh if bytes.len() <= CHUNK => return Ok(()),
            Beginning::Fresh => {}
        }
        let mut blob = self.blob(id.to_owned());
        for part in bytes.chunks(CHUNK) {
            blob.write(part).await?;
        }
        blob.complete().await
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

    /// A complete content, whole: for contents of a size that is bounded.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_blob(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(known) = self.find_blob(id).await? else {
            return Ok(None);
        };
        let mut whole = Vec::new();
        let mut chunk = 0;
        while let Some(bytes) = self.blob_chunk(id, chunk).await? {
            whole.extend_from_slice(&bytes);
            chunk += 1;
        }
        // It may have been removed meanwhile.
        Ok(Some(whole).filter(|whole| u64::try_from(whole.len()) == Ok(known.size)))
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

/// Begins a content unless it is there. One that nobody completed in time is begun anew; one that is
/// complete and nobody's is kept as if it came now.
struct BeginNamed {
    id: String,
    media_type: String,
    /// All of it, where that is one chunk: then it is complete at once.
    whole: Option<Bytes>,
    now: Timestamp,
}

impl Verb for BeginNamed {
    type Answer = Beginning;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Beginning> {
        let asked = Statement::new("SELECT complete, created_at FROM blobs WHERE id = ?")
            .bind(self.id.as_str());
        if let Some(row) = tx.row(asked).await? {
            let since = self.now.as_millis() - row.int(1)?;
            if row.int(0)? == 1 {
                let renew =
                    Statement::new("UPDATE blobs SET created_at = ? WHERE id = ? AND mid IS NULL")
                        .bind(self.now.as_millis())
                        .bind(self.id.as_str());
                tx.run(renew).await?;
                return Ok(Beginning::Known);
            }
            if since < i64::try_from(STALE.as_millis()).unwrap_or(i64::MAX) {
                return Ok(Beginning::Busy);
            }
            for text in [
                "DELETE FROM blob_chunks WHERE id = ?",
                "DELETE FROM blobs WHERE id = ?",
            ] {
                tx.run(Statement::new(text).bind(self.id.as_str())).await?;
            }
        }
        let begin = BeginBlob {
            id: self.id.clone(),
            media_type: self.media_type.clone(),
            now: self.now,
        };
        begin.apply(tx, topics).await?;
        if let Some(bytes) = &self.whole {
            let put = PutChunk {
                id: self.id.clone(),
                chunk: 0,
                bytes: bytes.clone(),
            };
            if !bytes.is_empty() {
                put.apply(tx, topics).await?;
            }
            let complete = CompleteBlob {
                id: self.id.clone(),
                size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                sha256: digest::digest(&digest::SHA256, bytes).as_ref().to_vec(),
            };
            complete.apply(tx, topics).await?;
        }
        Ok(Beginning::Fresh)
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
            tx.run(claim(self.message, id)).await?;
        }
        Ok(())
    }
}

/// Ties a content to the message that refers to it.
pub(super) fn claim(message: i64, id: &str) -> Statement {
    Statement::new("UPDATE blobs SET mid = ? WHERE id = ?")
        .bind(message)
        .bind(id)
}
