//! Idempotency: which keys are known, for whom, and with what content (AMTP 1.0, section 8.1.1).
//!
//! A key is scoped by trust class, sender and recipient and remembered for nine days. In the
//! unverified class the content is part of the scope, so nobody can claim another's key ahead of
//! it. A key we minted ourselves is never remembered. How keys are kept differs: see [`runs`] and
//! [`slices`].

mod filter;
mod index;
mod runs;
mod slices;

use std::collections::HashMap;
use std::time::Duration;

use ring::digest;

use super::Store;
use super::accept::{AcceptJob, Acceptance, Plan};
use super::error::StoreError;
use super::messages::StoredMessage;
use super::sql::Connection;
use crate::envelope::{Envelope, KeySource, Origin, Trust};
use crate::protocol::{Address, IdempotencyKey, Message, MessageId, Timestamp};

use filter::Key;
pub(super) use index::RUN;
pub(super) use runs::Keys;

const DAY: Duration = Duration::from_secs(86_400);
/// How long a key is remembered: seven days of retries and a margin.
const KEPT: Duration = Duration::from_secs(9 * 86_400);
/// After this time a peer's equal content under another id is a new message.
const RELAY_WINDOW: Duration = DAY;
/// A copy stored unverified is raised by one that arrives verified within this time.
const RAISE_WINDOW: Duration = Duration::from_secs(3_600);

type Fingerprint = [u8; 16];

/// The claim of one recipient's delivery on a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    key: Key,
    fingerprint: Fingerprint,
    /// The key of the same message in the other class of foreign senders: a sender is believed
    /// one time and not the next when its DNS fails.
    twin: Option<Key>,
}

impl Claim {
    /// One claim for each recipient that is to get the message under a given key.
    pub(super) fn of(acceptance: &Acceptance) -> Vec<Option<Self>> {
        let envelope = &acceptance.envelope;
        let none = vec![None; acceptance.recipients.len()];
        if envelope.key_source == KeySource::Minted {
            return none;
        }
        let fingerprint = first_16(&envelope.message.fingerprint());
        acceptance
            .recipients
            .iter()
            .map(|recipient| match recipient.plan {
                Plan::Refused(_) => None,
                _ => Some(Self {
                    key: Scope::of(envelope).key(&recipient.address, &fingerprint),
                    fingerprint,
                    twin: Scope::of(envelope)
                        .twin()
                        .map(|scope| scope.key(&recipient.address, &fingerprint)),
                }),
            })
            .collect()
    }
}

impl Store {
    /// Whether a key may be known for any of the recipients; when in doubt, yes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn knows(&self, acceptance: &Acceptance) -> Result<bool, StoreError> {
        let claims = Claim::of(acceptance).into_iter().flatten();
        let keys: Vec<Key> = claims.map(|claim| claim.key).collect();
        if let Some(known) = &self.0.known {
            return Ok(known.may_know(&keys));
        }
        let mut reader = self.reader().await?;
        let now = acceptance.envelope.received_at;
        Ok(slices::know_any(&mut reader, &keys, now).await?)
    }
}

/// Within what a key is unique.
struct Scope<'a> {
    trust: Trust,
    sender: String,
    key: &'a IdempotencyKey,
}

impl<'a> Scope<'a> {
    fn of(envelope: &'a Envelope) -> Self {
        Self {
            trust: envelope.trust,
            sender: envelope.message.sender().key(),
            key: &envelope.idempotency_key,
        }
    }

    fn twin(self) -> Option<Self> {
        let trust = match self.trust {
            Trust::Local => return None,
            Trust::Trusted => Trust::Unverified,
            Trust::Unverified => Trust::Trusted,
        };
        Some(Self { trust, ..self })
    }

    fn key(&self, recipient: &Address, fingerprint: &Fingerprint) -> Key {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&[u8::try_from(self.trust.code()).unwrap_or(u8::MAX)]);
        for part in [
            self.sender.as_str(),
            self.key.as_str(),
            recipient.key().as_str(),
        ] {
            hash.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        if self.trust == Trust::Unverified {
            hash.update(fingerprint);
        }
        first_16(hash.finish().as_ref())
    }
}

/// The row a failed delivery frees, so that its sender may send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldKey {
    slice: i64,
    key: Key,
}

impl HeldKey {
    /// The row of a stored message for one recipient; nothing where we minted the key.
    #[must_use]
    pub fn of(stored: &StoredMessage, message: &Message, recipient: &Address) -> Option<Self> {
        let scope = Scope {
            trust: stored.trust,
            sender: stored.sender.clone(),
            key: message.idempotency_key()?,
        };
        Some(Self {
            slice: slices::slice(stored.accepted_at),
            key: scope.key(recipient, &first_16(&message.fingerprint())),
        })
    }

    /// Forgets it.
    pub(super) async fn free(&self, tx: &mut Connection) -> sqlx::Result<()> {
        if tx.is_postgres() {
            return slices::free(tx, &self.key, self.slice).await;
        }
        let day = (slices::begin(self.slice), slices::begin(self.slice + 1));
        runs::free(tx, &self.key, day).await
    }
}

fn first_16(hash: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// What is known of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    No,
    /// The same content was accepted before.
    Same {
        /// The stored message.
        mid: i64,
        /// The id it was accepted under.
        message_id: MessageId,
        /// Whether it was stored unverified and the sender is believed now.
        raised: bool,
    },
    /// Other content was accepted under this key.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    fingerprint: Fingerprint,
    mid: i64,
    message_id: MessageId,
    accepted_at: Timestamp,
}

impl Row {
    fn same(&self, raised: bool) -> Known {
        Known::Same {
            mid: self.mid,
            message_id: self.message_id.clone(),
            raised,
        }
    }
}

/// The keys a batch asks about, and those it adds.
pub(super) struct Claims {
    known: HashMap<Key, Row>,
    added: Vec<Key>,
}

impl Claims {
    pub(super) async fn read(tx: &mut Connection, jobs: &[&mut AcceptJob]) -> sqlx::Result<Self> {
        let mut keys: Vec<Key> = jobs
            .iter()
            .flat_map(|job| job.claims())
            .flat_map(|claim| [Some(claim.key), claim.twin])
            .flatten()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let mut claims = Self {
            known: HashMap::with_capacity(keys.len()),
            added: Vec::new(),
        };
        let Some(now) = jobs.iter().map(|job| job.now()).max() else {
            return Ok(claims);
        };
        let rows = if tx.is_postgres() {
            slices::read(tx, &keys, now).await?
        } else {
            runs::read(tx, &keys).await?
        };
        for (key, row) in rows {
            claims.remember(key, row, now);
        }
        Ok(claims)
    }

    /// Keeps the newest row of a key that is still in force.
    fn remember(&mut self, key: Key, row: Row, now: Timestamp) {
        let newer = |other: &Row| other.accepted_at > row.accepted_at;
        if row.accepted_at.plus(KEPT) >= now && !self.known.get(&key).is_some_and(newer) {
            self.known.insert(key, row);
        }
    }

    pub(super) fn find(&self, claim: &Claim, envelope: &Envelope) -> Known {
        let Some(row) = self.known.get(&claim.key) else {
            return self.find_twin(claim, envelope);
        };
        if row.fingerprint != claim.fingerprint {
            return Known::Other;
        }
        let late = row.accepted_at.plus(RELAY_WINDOW) < envelope.received_at;
        if envelope.origin == Origin::Peer && late && row.message_id != envelope.message_id {
            return Known::No;
        }
        row.same(false)
    }

    /// The same message under the other class: only with the same content, and to raise it only
    /// for a short time.
    fn find_twin(&self, claim: &Claim, envelope: &Envelope) -> Known {
        let Some(row) = claim.twin.and_then(|twin| self.known.get(&twin)) else {
            return Known::No;
        };
        let raised = envelope.trust == Trust::Trusted;
        let window = if raised { RAISE_WINDOW } else { RELAY_WINDOW };
        let late = row.accepted_at.plus(window) < envelope.received_at;
        if row.fingerprint != claim.fingerprint || late {
            return Known::No;
        }
        row.same(raised)
    }

    pub(super) fn add(
        &mut self,
        claim: &Claim,
        mid: i64,
        message_id: &MessageId,
        accepted_at: Timestamp,
    ) {
        let row = Row {
            fingerprint: claim.fingerprint,
            mid,
            message_id: message_id.clone(),
            accepted_at,
        };
        self.known.insert(claim.key, row);
        self.added.push(claim.key);
    }

    pub(super) async fn write(mut self, tx: &mut Connection) -> sqlx::Result<()> {
        self.added.sort_unstable();
        self.added.dedup();
        let known = &mut self.known;
        let rows = self.added.iter();
        let rows: Vec<(Key, Row)> = rows
            .filter_map(|key| Some((*key, known.remove(key)?)))
            .collect();
        if tx.is_postgres() {
            slices::write(tx, rows).await
        } else {
            runs::write(tx, rows).await
        }
    }
}

/// Forgets at most `limit` keys of a kind that are over; answers how many.
pub(super) async fn sweep(tx: &mut Connection, now: Timestamp, limit: i64) -> sqlx::Result<u64> {
    if tx.is_postgres() {
        return slices::sweep(tx, now, limit).await;
    }
    runs::sweep(tx, slices::begin(slices::oldest(now)), limit).await
}

fn sized(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(16, 0);
    bytes
}

/// Key and fingerprint of a message for one recipient, in hex as SQL writes it.
#[cfg(test)]
pub(super) fn as_kept(envelope: &Envelope, recipient: &str) -> (String, String) {
    let fingerprint = first_16(&envelope.message.fingerprint());
    let recipient: Address = recipient.parse().expect("an address");
    let hex = |bytes: [u8; 16]| format!("{:032x}", u128::from_be_bytes(bytes));
    let key = Scope::of(envelope).key(&recipient, &fingerprint);
    (hex(key), hex(fingerprint))
}

/// What a failed delivery of this message would free.
#[cfg(test)]
pub(super) fn held_of(envelope: &Envelope, recipient: &Address) -> HeldKey {
    let fingerprint = first_16(&envelope.message.fingerprint());
    HeldKey {
        slice: slices::slice(envelope.received_at),
        key: Scope::of(envelope).key(recipient, &fingerprint),
    }
}
