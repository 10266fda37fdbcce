//! Short-lived tokens that stand for an API key (RFC 7519, ES256).
//!
//! - A token is as good as its key and no better: it names it, and a key that is revoked or over ends
//!   its tokens at once.
//! - The keys that sign are made here, kept sealed in the database and shared by all gateways of it.
//!   One signs for thirty days; the next is there a day before, so that others know it in time.
//! - Public halves are published as a JWKS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use moka::sync::Cache;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::jwt::{self, Algorithm, Claims, Demands};
use crate::clock::Clock;
use crate::envelope::Scopes;
use crate::protocol::{Address, Timestamp};
use crate::store::{Sealer, Store, StoreError, TokenKey};

/// How long a token is good.
pub const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);
/// What the private halves are sealed for.
pub(super) const PURPOSE: &str = "token-key";
/// How long a key signs.
const SIGNS: Duration = Duration::from_secs(30 * DAY);
/// The next key is there so long before it is needed, and a key is known so long after.
const OVERLAP: Duration = Duration::from_secs(DAY);
const DAY: u64 = 86_400;
/// A key signs when others had so long to read of it, unless it is the only one.
const KNOWN_AFTER: Duration = Duration::from_secs(3_600);
/// How often the keys of the database are read.
const EVERY: Duration = Duration::from_secs(60);
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
    store: Store,
    sealer: Sealer,
    clock: Clock,
    /// Who we say we are; tokens are for us too.
    issuer: String,
    keys: ArcSwap<Vec<Loaded>>,
    known: Cache<[u8; 32], Arc<Ticket>>,
}

struct Loaded {
    id: String,
    private: Vec<u8>,
    public: Vec<u8>,
    created_at: Timestamp,
    signs_until: Timestamp,
    ends_at: Timestamp,
}

impl Tokens {
    /// Tokens of `issuer`, the gateway's URL. There is no key before [`Tokens::refresh`].
    #[must_use]
    pub fn new(store: Store, sealer: Sealer, clock: Clock, issuer: String) -> Self {
        Self(Arc::new(Shared {
            store,
            sealer,
            clock,
            issuer,
            keys: ArcSwap::default(),
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
        let shared = &self.0;
        let now = shared.clock.now();
        let mut stored = shared.store.token_keys(now).await?;
        let enough = now.plus(OVERLAP);
        if !stored.iter().any(|key| key.signs_until >= enough) {
            shared.store.add_token_key(self.fresh(now), enough).await?;
            stored = shared.store.token_keys(now).await?;
        }
        let loaded = stored.into_iter().filter_map(|key| self.load(key));
        shared.keys.store(Arc::new(loaded.collect()));
        Ok(())
    }

    /// Keeps the keys fresh until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the keys that sign tokens could not be read");
            }
            tokio::select! {
                () = self.0.clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
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
        let keys = self.0.keys.load();
        let signer = signer(&keys, now)?;
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
        let keys = self.0.keys.load();
        let id = glance.key?;
        let key = keys.iter().find(|key| key.id == id && key.ends_at > now)?;
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
        let now = self.0.clock.now();
        let keys = self.0.keys.load();
        let current = keys.iter().filter(|key| key.ends_at > now);
        let keys: Vec<Value> = current
            .map(|key| {
                let coordinate = |range: std::ops::Range<usize>| {
                    URL_SAFE_NO_PAD.encode(key.public.get(range).unwrap_or_default())
                };
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key.id,
                    "x": coordinate(1..33), "y": coordinate(33..65),
                })
            })
            .collect();
        json!({ "keys": keys })
    }

    fn fresh(&self, now: Timestamp) -> TokenKey {
        let random = SystemRandom::new();
        let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .expect("the system's random source works");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random)
                .expect("it was made just now");
        TokenKey {
            id: self.0.clock.mint_v7().simple().to_string(),
            sealed: self.0.sealer.seal(PURPOSE, private.as_ref()),
            public: pair.public_key().as_ref().to_vec(),
            created_at: now,
            signs_until: now.plus(SIGNS),
            ends_at: now.plus(SIGNS + OVERLAP),
        }
    }

    fn load(&self, key: TokenKey) -> Option<Loaded> {
        let private = self.0.sealer.open(PURPOSE, &key.sealed);
        if private.is_err() {
            tracing::warn!(
                key.id,
                "a key that signs tokens was sealed with another key than the configured one"
            );
        }
        Some(Loaded {
            private: private.ok()?,
            id: key.id,
            public: key.public,
            created_at: key.created_at,
            signs_until: key.signs_until,
            ends_at: key.ends_at,
        })
    }
}

/// The newest key that others had time to read of; else the newest there is.
fn signer(keys: &[Loaded], now: Timestamp) -> Option<&Loaded> {
    let signs = || keys.iter().filter(|key| key.signs_until > now);
    let known = signs().filter(|key| key.created_at.plus(KNOWN_AFTER) <= now);
    known
        .max_by_key(|key| key.created_at)
        .or_else(|| signs().max_by_key(|key| key.created_at))
}
