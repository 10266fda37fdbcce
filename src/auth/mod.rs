//! Who is calling: credentials in, a [`Principal`] out.
//!
//! - An agent's API key is `ak_<id>_<secret>`: the id finds the row, the secret has 256 random
//!   bits, the row holds only the SHA-256 of the whole key, and the comparison takes the same
//!   time wherever the difference is. The key of one who runs the gateway is `sk_<id>_<secret>`.
//! - Keys that came from Agentry have no public part; see [`imported_key`].
//! - The admin key is read from a file at start.
//! - A token stands for an API key for a short time ([`Tokens`]), or is another issuer's ([`Issuers`]).
//! - Where nothing is shown, a client certificate may be an agent's ([`AgentCertificates`]).
//! - What is wrong with a credential is never told: unknown, ended, revoked and mistyped look alike.

mod activity;
mod agent_certificates;
pub mod audit;
mod guesses;
mod imported;
mod issuers;
mod jwt;
mod key;
mod key_ring;
mod mail;
mod masking;
mod names;
mod permission;
mod rates;
mod resealer;
mod source;
mod tokens;
mod verify;

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

pub use activity::Activity;
pub use agent_certificates::AgentCertificates;
pub use guesses::Guesses;
pub use imported::{imported_hash, imported_key};
#[doc(hidden)]
pub use issuers::fuzzing;
pub use issuers::{Issuers, Keeper};
pub use key::{IssuedKey, KeyKind, NamePattern, PatternFault};
pub use key_ring::{KeyRing, RingKey};
pub use mail::{MailCheck, MailOutcome, MailRequest, MailSent, MailVerdict, Wholeness};
pub use masking::masked;
pub use permission::{Access, Denial, Permission};
pub use rates::{OverRate, SenderRates};
pub use resealer::{Resealed, Resealer};
pub use tokens::{TOKEN_LIFE, Tokens};
pub use verify::{SenderCheck, Whence};

use crate::clock::Clock;
use crate::config::Secret;
use crate::envelope::{Principal, Role, Scopes};
use crate::protocol::{Address, AgentName, Domain};
use crate::store::{ApiKey, EnrolmentToken, Store, StoreError};
use issuers::Bearer;

/// The name of the admin key of the configuration in the audit log.
const ADMIN: &str = "admin-key";

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
    tokens: Option<Tokens>,
    issuers: Option<Issuers>,
    certificates: Option<AgentCertificates>,
    salt: Option<Secret>,
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
            tokens: None,
            issuers: None,
            certificates: None,
            salt: None,
        }
    }

    /// Takes tokens too, and makes them.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Option<Tokens>) -> Self {
        self.tokens = tokens;
        self
    }

    /// Takes tokens of other issuers too.
    #[must_use]
    pub fn with_issuers(mut self, issuers: Issuers) -> Self {
        self.issuers = Some(issuers);
        self
    }

    /// Takes client certificates of agents too.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Option<AgentCertificates>) -> Self {
        self.certificates = certificates;
        self
    }

    /// The other issuers, where there are any.
    #[must_use]
    pub const fn issuers(&self) -> Option<&Issuers> {
        self.issuers.as_ref()
    }

    /// What makes tokens, where it is on.
    #[must_use]
    pub const fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Who shows this bearer credential.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn bearer(&self, credential: &str) -> Result<Presented, StoreError> {
        if let Some(id) = key::id_of(KeyKind::Agent, credential) {
            let known = self.key(id, credential).await?;
            return match known {
                Some(key) => self.agent(&key, Scopes::ALL),
                None => Ok(Presented::Invalid),
            };
        }
        if jwt::looks_like_one(credential) {
            return self.token(credential).await;
        }
        match self.staff(credential).await? {
            Presented::Invalid => self.imported(credential).await,
            known => Ok(known),
        }
    }

    /// Which of those who run the gateway shows this key.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn staff(&self, credential: &str) -> Result<Presented, StoreError> {
        let shown = key::hash(credential);
        if let Some(id) = key::id_of(KeyKind::Staff, credential) {
            let now = self.clock.now();
            let found = self.store.find_staff_key(id).await?;
            let good = found.filter(|found| {
                key::same(&found.hash, &shown) && found.expires_at.is_none_or(|end| end > now)
            });
            return Ok(good.map_or(Presented::Invalid, |found| {
                self.activity.note_key(&found.id, now);
                let (name, role) = (found.name, found.role);
                Presented::Principal(Principal::Staff { name, role })
            }));
        }
        // Every key is compared, whichever matches.
        let known = self
            .admin
            .iter()
            .fold(false, |known, key| known | key::same(key, &shown));
        Ok(if known {
            Presented::Principal(Principal::Staff {
                name: ADMIN.to_owned(),
                role: Role::Admin,
            })
        } else {
            Presented::Invalid
        })
    }

    /// The agent's key behind this credential, if it is good.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn api_key(&self, credential: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        match key::id_of(KeyKind::Agent, credential) {
            Some(id) => self.key(id, credential).await,
            None => self.imported_key(credential).await,
        }
    }

    async fn key(&self, id: &str, credential: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let found = self.store.find_key(id).await?;
        let same = |stored: &Arc<ApiKey>| key::same(&stored.hash, &key::hash(credential));
        Ok(found.filter(same).filter(|stored| self.is_good(stored)))
    }

    fn is_good(&self, stored: &ApiKey) -> bool {
        let now = self.clock.now();
        stored.agent_active && stored.grant.expires_at.is_none_or(|end| end > now)
    }

    fn agent(&self, stored: &ApiKey, within: Scopes) -> Result<Presented, StoreError> {
        let address = Address::parse(&stored.address).map_err(|fault| {
            StoreError::Corrupt(format!("address of key {}: {fault}", stored.id))
        })?;
        let now = self.clock.now();
        self.activity.note(stored.agent, now);
        self.activity.note_key(&stored.id, now);
        Ok(Presented::Principal(Principal::Agent {
            id: stored.agent,
            address,
            key_id: stored.id.clone(),
            scopes: stored.grant.scopes.within(within),
            tier: stored.grant.tier.clone(),
        }))
    }

    /// Whose client certificate this is, the client's own one first; nothing if it is no agent's. The
    /// possession of its key is proven.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn certificate(
        &self,
        chain: &[CertificateDer<'static>],
    ) -> Result<Presented, StoreError> {
        let certificates = self.certificates.as_ref();
        let Some(found) = certificates.and_then(|it| it.find(chain)) else {
            return Ok(Presented::Nothing);
        };
        let credential = (Scopes::ALL, format!("cert:{}", found.serial));
        let agent = self.named((&found.domain, &found.name), credential).await?;
        Ok(agent.map_or(Presented::Nothing, Presented::Principal))
    }

    /// The agent of a name, if it is there and active, with a credential that is no key.
    async fn named(
        &self,
        (domain, name): (&Domain, &AgentName),
        (scopes, key_id): (Scopes, String),
    ) -> Result<Option<Principal>, StoreError> {
        let found = self.store.find_agent(domain, name).await?;
        Ok(found.filter(|agent| agent.active).map(|agent| {
            self.activity.note(agent.id, self.clock.now());
            Principal::Agent {
                id: agent.id,
                address: agent.address.clone(),
                key_id,
                scopes,
                tier: None,
            }
        }))
    }

    /// A token of ours, or of another issuer.
    async fn token(&self, credential: &str) -> Result<Presented, StoreError> {
        let ours = self.tokens.as_ref().and_then(|it| it.read(credential));
        let Some(ticket) = ours else {
            return self.foreign_token(credential).await;
        };
        let key = self.store.find_key(&ticket.key).await?;
        match key.filter(|key| self.is_good(key)) {
            Some(key) => self.agent(&key, ticket.scopes),
            None => Ok(Presented::Invalid),
        }
    }

    async fn foreign_token(&self, credential: &str) -> Result<Presented, StoreError> {
        let bearer = match &self.issuers {
            Some(issuers) => issuers.read(credential).await,
            None => None,
        };
        let principal = match bearer {
            None => None,
            Some(Bearer::Staff { name, role }) => Some(Principal::Staff { name, role }),
            Some(Bearer::Agent {
                domain,
                name,
                scopes,
                key_id,
            }) => self.named((&domain, &name), (scopes, key_id)).await?,
        };
        Ok(principal.map_or(Presented::Invalid, Presented::Principal))
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
