//! Short-lived tokens that stand for an API key (RFC 7519, ES256).
//!
//! - A token is as good as its key and no better: it names it, and a key that is revoked or over ends
//!   its tokens at once.
//! - The keys that sign are those of a [`KeyRing`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use moka::sync::Cache;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::jwt::{self, Algorithm, Claims, Demands};
use super::key_ring::KeyRing;
use crate::clock::Clock;
use crate::envelope::Scopes;
use crate::protocol::{Address, Timestamp};
use crate::store::{KeyUse, Sealer, Store, StoreError};

/// How long a token is good.
pub const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);
/// Tokens whose signature is known to be good.
const REMEMBERED: u64 = 10_000;

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The API key it rests on.
    pub(super) key: String,
    pub(super) scopes: Scopes,
    pub(super) ends: Timestamp,
}

/// Makes and checks tokens. Cloning is cheap.
#[derive(Clone)]
pub struct Tokens(Arc<Shared>);

struct Shared {
    clock: Clock,
    /// Who we say we are; tokens are for us too.
    issuer: String,
    keys: KeyRing,
    known: Cache<[u8; 32], Arc<Ticket>>,
}

impl Tokens {
    /// Tokens of `issuer`, the gateway's URL. There is no key before [`Tokens::refresh`].
    #[must_use]
    pub fn new(store: Store, sealer: Sealer, clock: Clock, issuer: String) -> Self {
        Self(Arc::new(Shared {
            keys: KeyRing::new(KeyUse::Tokens, (store, sealer), clock.clone()),
            clock,
            issuer,
            known: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(TOKEN_LIFE)
                .build(),
        }))
    }

    /// Reads the keys, and makes one where the next is needed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.0.keys.refresh().await
    }

    /// Keeps the keys fresh until stopped.
    pub async fn run(self, stop: CancellationToken) {
        self.0.keys.clone().run(stop).await;
    }

    /// A token for an agent; nothing while no key is there.
    #[must_use]
    pub fn issue(&self, agent: &Address, key: &str, scopes: Scopes) -> Option<String> {
        let now = self.0.clock.now();
        let seconds = |moment: Timestamp| moment.as_millis() / 1_000;
        let scope: Vec<&str> = scopes.words().collect();
        let claims = Claims {
            iss: self.0.issuer.clone(),
            sub: Some(agent.to_string()),
            aud: self.0.issuer.clone().into(),
            exp: seconds(now.plus(TOKEN_LIFE)),
            nbf: None,
            iat: Some(seconds(now)),
            others: BTreeMap::from([
                ("jti".to_owned(), self.0.clock.mint_v7().to_string().into()),
                ("scope".to_owned(), scope.join(" ").into()),
                ("key".to_owned(), key.into()),
            ]),
        };
        let signer = self.0.keys.signer()?;
        jwt::sign(&claims, &signer.id, &signer.private).ok()
    }

    /// What one of our tokens says; nothing for one of others, or that is not good.
    pub(super) fn read(&self, token: &str) -> Option<Arc<Ticket>> {
        let now = self.0.clock.now();
        let mark = super::key::hash(token);
        if let Some(known) = self.0.known.get(&mark) {
            return Some(known).filter(|ticket| ticket.ends > now);
        }
        let glance = jwt::glance(token).ok()?;
        let key = self.0.keys.find(&glance.key?)?;
        let demands = Demands {
            issuer: &self.0.issuer,
            audiences: std::slice::from_ref(&self.0.issuer),
            algorithms: &[Algorithm::ES256],
            skew: Duration::ZERO,
            now,
        };
        let point = DecodingKey::from_ec_der(&key.public);
        let claims = jwt::verify(token, &point, &demands).ok()?;
        let text = |name: &str| claims.others.get(name).and_then(Value::as_str);
        let ticket = Arc::new(Ticket {
            key: text("key")?.to_owned(),
            scopes: Scopes::parse(text("scope")?.split_whitespace()).ok()?,
            ends: Timestamp::from_millis(claims.exp.saturating_mul(1_000)),
        });
        self.0.known.insert(mark, ticket.clone());
        Some(ticket)
    }

    /// The public keys, as RFC 7517 has it.
    #[must_use]
    pub fn published(&self) -> Value {
        self.0.keys.published()
    }
}
