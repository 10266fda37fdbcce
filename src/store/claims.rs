//! Idempotency: which keys are known, for whom, and with what content (AMTP 1.0, section 8.1.1).
//!
//! A key is scoped by trust class, sender and recipient and remembered for nine days. In the
//! unverified class the content is part of the scope, so nobody can claim another's key ahead of
//! it. A key we minted ourselves is never remembered.

use std::collections::HashMap;
use std::time::Duration;

use ring::digest;

use super::accept::{AcceptJob, Acceptance, Plan};
use super::sql::{Connection, Statement, Value, padded, places};
use crate::envelope::{Envelope, KeySource, Origin, Trust};
use crate::protocol::{Address, MessageId, Timestamp};

const DAY: Duration = Duration::from_secs(86_400);
/// How long a key is remembered: seven days of retries and a margin.
const KEPT: Duration = Duration::from_secs(9 * 86_400);
/// After this time a peer's equal content under another id is a new message.
const RELAY_WINDOW: Duration = DAY;
/// The slices in which a kept key can stand: nine days, today's and one for a clock set back.
const SLICES: i64 = 11;

type Key = [u8; 16];
type Fingerprint = [u8; 16];

/// The claim of one recipient's delivery on a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    key: Key,
    fingerprint: Fingerprint,
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
                    key: key(envelope, &recipient.address, &fingerprint),
                    fingerprint,
                }),
            })
            .collect()
    }
}

fn key(envelope: &Envelope, recipient: &Address, fingerprint: &Fingerprint) -> Key {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&[u8::try_from(envelope.trust.code()).unwrap_or(u8::MAX)]);
    for part in [
        envelope.message.sender().key().as_str(),
        envelope.idempotency_key.as_str(),
        recipient.key().as_str(),
    ] {
        hash.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    if envelope.trust == Trust::Unverified {
        hash.update(fingerprint);
    }
    first_16(hash.finish().as_ref())
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
    },
    /// Other content was accepted under this key.
    Other,
}

#[derive(Debug, Clone)]
struct Row {
    fingerprint: Fingerprint,
    mid: i64,
    message_id: MessageId,
    accepted_at: Timestamp,
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
            .map(|claim| claim.key)
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
        let newest = slice(now) + 1;
        for chunk in padded(&keys) {
            let text = format!(
                "SELECT k, fp, mid, message_id, accepted_at FROM idempotency WHERE slice IN ({}) AND k IN ({})",
                places(usize::try_from(SLICES).expect("a small number")),
                places(chunk.len()),
            );
            let statement = Statement::new(text)
                .bind_all((0..SLICES).map(|back| newest - back))
                .bind_all(chunk.into_iter().map(|key| Value::from(key.as_slice())));
            for row in tx.rows(statement).await? {
                claims.remember(&row, now)?;
            }
        }
        Ok(claims)
    }

    /// Keeps the newest row of a key that is still in force.
    fn remember(&mut self, row: &super::sql::Row, now: Timestamp) -> sqlx::Result<()> {
        let accepted_at = Timestamp::from_millis(row.int(4)?);
        if accepted_at.plus(KEPT) < now {
            return Ok(());
        }
        let key = first_16(&sized(row.bytes(0)?));
        if self
            .known
            .get(&key)
            .is_some_and(|other| other.accepted_at > accepted_at)
        {
            return Ok(());
        }
        let message_id = MessageId::parse(&row.text(3)?)
            .map_err(|fault| sqlx::Error::Decode(fault.to_string().into()))?;
        let fingerprint = first_16(&sized(row.bytes(1)?));
        self.known.insert(
            key,
            Row {
                fingerprint,
                mid: row.int(2)?,
                message_id,
                accepted_at,
            },
        );
        Ok(())
    }

    pub(super) fn find(&self, claim: &Claim, envelope: &Envelope) -> Known {
        let Some(row) = self.known.get(&claim.key) else {
            return Known::No;
        };
        if row.fingerprint != claim.fingerprint {
            return Known::Other;
        }
        let late = row.accepted_at.plus(RELAY_WINDOW) < envelope.received_at;
        if envelope.origin == Origin::Peer && late && row.message_id != envelope.message_id {
            return Known::No;
        }
        Known::Same {
            mid: row.mid,
            message_id: row.message_id.clone(),
        }
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
        let rows = self
            .added
            .iter()
            .filter_map(|key| self.known.get(key).map(|row| (key, row)))
            .map(|(key, row)| {
                vec![
                    slice(row.accepted_at).into(),
                    key.as_slice().into(),
                    row.fingerprint.as_slice().into(),
                    row.mid.into(),
                    row.message_id.as_str().into(),
                    row.accepted_at.as_millis().into(),
                ]
            })
            .collect();
        tx.insert(
            "INSERT OR REPLACE INTO idempotency (slice, k, fp, mid, message_id, accepted_at)",
            6,
            rows,
        )
        .await
    }
}

/// The day a moment belongs to.
fn slice(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(86_400_000)
}

/// The first slice that may still hold a key in force at `now`.
pub(super) fn oldest_slice(now: Timestamp) -> i64 {
    slice(now.minus(KEPT))
}

fn sized(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(16, 0);
    bytes
}
