//! Who is calling: credentials in, a [`Principal`] out.
//!
//! - An agent's API key is `ak_<id>_<secret>`: the id finds the row, the secret has 256 random
//!   bits, the row holds only the SHA-256 of the whole key, and the comparison takes the same
//!   time wherever the difference is.
//! - The operator's admin key is read from a file at start.
//! - What is wrong with a credential is never told: unknown, ended, revoked and mistyped look alike.

mod activity;
mod key;
mod names;
mod source;
mod verify;

use std::sync::Arc;

pub use activity::Activity;
pub use key::{IssuedKey, KeyKind, NamePattern, PatternFault};
pub use verify::{SenderCheck, Whence};

use crate::clock::Clock;
use crate::envelope::Principal;
use crate::protocol::Address;
use crate::store::{EnrolmentToken, Store, StoreError};

/// What a request showed of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// No credential.
    Nothing,
    /// A credential that is not, or no longer, good for anything.
    Invalid,
    /// A good one.
    Principal(Principal),
}

/// Checks credentials. Cloning is cheap.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    clock: Clock,
    activity: Activity,
    admin: Arc<[[u8; 32]]>,
}

impl Authenticator {
    /// An authenticator that takes these admin keys.
    pub fn new<'a>(
        store: Store,
        clock: Clock,
        activity: Activity,
        admin_keys: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let admin = admin_keys
            .into_iter()
            .map(|key| key::hash(key.trim()))
            .collect();
        Self {
            store,
            clock,
            activity,
            admin,
        }
    }

    /// Who shows this bearer credential.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn bearer(&self, credential: &str) -> Result<Presented, StoreError> {
        if let Some(id) = key::id_of(KeyKind::Agent, credential) {
            return self.agent(id, credential).await;
        }
        Ok(self.operator(credential))
    }

    /// Who shows this admin key.
    #[must_use]
    pub fn operator(&self, credential: &str) -> Presented {
        let shown = key::hash(credential);
        // Every key is compared, whichever matches.
        let known = self
            .admin
            .iter()
            .fold(false, |known, key| known | key::same(key, &shown));
        if known {
            Presented::Principal(Principal::Operator)
        } else {
            Presented::Invalid
        }
    }

    async fn agent(&self, id: &str, credential: &str) -> Result<Presented, StoreError> {
        let Some(stored) = self.store.find_key(id).await? else {
            return Ok(Presented::Invalid);
        };
        let now = self.clock.now();
        let ended = stored.expires_at.is_some_and(|end| end <= now);
        if !key::same(&stored.hash, &key::hash(credential)) || ended || !stored.agent_active {
            return Ok(Presented::Invalid);
        }
        let address = Address::parse(&stored.address)
            .map_err(|fault| StoreError::Corrupt(format!("address of key {id}: {fault}")))?;
        self.activity.note(stored.agent, now);
        Ok(Presented::Principal(Principal::Agent {
            id: stored.agent,
            address,
            key_id: stored.id.clone(),
        }))
    }

    /// The enrolment token behind this credential, if it is still good.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn enrolment(&self, credential: &str) -> Result<Option<EnrolmentToken>, StoreError> {
        let Some(id) = key::id_of(KeyKind::Enrolment, credential) else {
            return Ok(None);
        };
        let Some(token) = self.store.find_enrolment_token(id).await? else {
            return Ok(None);
        };
        let good = key::same(&token.hash, &key::hash(credential))
            && token.uses_left > 0
            && token.expires_at > self.clock.now();
        Ok(good.then_some(token))
    }
}
