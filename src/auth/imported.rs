//! Keys that agents brought along from Agentry, the Go gateway.
//!
//! Such a key is 43 letters and digits without a public part, and Agentry keeps the SHA-256 of the
//! key and of one salt behind it. So it is found by its hash: its id here is `agentry-` and the
//! first eight bytes of that hash. With an empty salt the hash is what we keep of any key.
//! With another one it becomes so when the key is used for the first time, and gets a new id.

use std::sync::Arc;

use super::{Authenticator, Presented, key};
use crate::config::Secret;
use crate::envelope::Scopes;
use crate::store::{ApiKey, Grant, NewKey, StoreError};

const PREFIX: &str = "agentry-";

/// A key to store, of the hash that Agentry kept; it is good for everything.
#[must_use]
pub fn imported_key(hash: [u8; 32]) -> NewKey {
    let id = id_of(&hash);
    NewKey {
        grant: Grant {
            label: Some(format!("from Agentry ({id})")),
            ..Grant::default()
        },
        id,
        hash: hash.to_vec(),
    }
}

/// What Agentry keeps of a key.
#[must_use]
pub fn imported_hash(credential: &str, salt: &str) -> [u8; 32] {
    key::hash(&format!("{credential}{salt}"))
}

fn id_of(hash: &[u8; 32]) -> String {
    let digits: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{digits}")
}

impl Authenticator {
    /// Knows keys of Agentry that were salted with this.
    #[must_use]
    pub fn with_salt(mut self, salt: Option<Secret>) -> Self {
        self.salt = salt;
        self
    }

    /// The agent whose key of Agentry this is.
    pub(super) async fn imported(&self, credential: &str) -> Result<Presented, StoreError> {
        match self.imported_key(credential).await? {
            Some(key) => self.agent(&key, Scopes::ALL),
            None => Ok(Presented::Invalid),
        }
    }

    /// The key behind this credential, if it is good. The salted hash is looked for first: whoever
    /// finds it gone finds our own in its place.
    pub(super) async fn imported_key(
        &self,
        credential: &str,
    ) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let own = imported_hash(credential, "");
        if let Some(salt) = &self.salt {
            let salted = imported_hash(credential, salt.reveal());
            if let Some(found) = self.hashed(&salted).await? {
                return Ok(Some(self.rehashed(found, &own).await));
            }
        }
        self.hashed(&own).await
    }

    async fn hashed(&self, hash: &[u8; 32]) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let found = self.store.find_key(&id_of(hash)).await?;
        let same = |stored: &Arc<ApiKey>| key::same(&stored.hash, hash);
        Ok(found.filter(same).filter(|stored| self.is_good(stored)))
    }

    /// The key under its new hash; under the old one where that cannot be written now.
    async fn rehashed(&self, found: Arc<ApiKey>, own: &[u8; 32]) -> Arc<ApiKey> {
        let new = (id_of(own), own.to_vec());
        match self.store.rehash_key(&found.id, new.clone()).await {
            Ok(()) => Arc::new(ApiKey {
                id: new.0,
                hash: new.1,
                ..found.as_ref().clone()
            }),
            Err(error) => {
                tracing::warn!(key.id = found.id, %error, "the key keeps Agentry's hash for now");
                found
            }
        }
    }
}

#[cfg(test)]
mod tests;
