//! Keys of P-256 that sign, and take turns.
//!
//! - They are made here, kept sealed in the database and shared by all gateways of it. One signs for
//!   thirty days; the next is there a day before, so that others know it in time.
//! - Public halves are published as a JWKS.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::protocol::Timestamp;
use crate::store::{KeyUse, Sealer, SigningKey, Store, StoreError};

/// How long a key signs.
const SIGNS: Duration = Duration::from_secs(30 * DAY);
/// The next key is there so long before it is needed, and a key is known so long after.
const OVERLAP: Duration = Duration::from_secs(DAY);
const DAY: u64 = 86_400;
/// A key signs when others had so long to read of it, unless it is the only one.
const KNOWN_AFTER: Duration = Duration::from_secs(3_600);
/// How often the keys of the database are read.
const EVERY: Duration = Duration::from_secs(60);

/// The keys of one use. Cloning is cheap.
#[derive(Clone)]
pub struct KeyRing(Arc<Shared>);

struct Shared {
    of: KeyUse,
    store: Store,
    sealer: Sealer,
    clock: Clock,
    keys: ArcSwap<Vec<Arc<RingKey>>>,
}

/// A key of a ring.
pub struct RingKey {
    /// Its name.
    pub id: String,
    /// The private half, in PKCS#8.
    pub private: Vec<u8>,
    /// The public half: an uncompressed point.
    pub public: Vec<u8>,
    created_at: Timestamp,
    signs_until: Timestamp,
    ends_at: Timestamp,
}

impl KeyRing {
    /// The keys of a use. There is none before [`KeyRing::refresh`].
    #[must_use]
    pub fn new(of: KeyUse, (store, sealer): (Store, Sealer), clock: Clock) -> Self {
        Self(Arc::new(Shared {
            of,
            store,
            sealer,
            clock,
            keys: ArcSwap::default(),
        }))
    }

    /// Reads the keys, and makes one where the next is needed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let Shared { of, store, .. } = &*self.0;
        let now = self.0.clock.now();
        let mut stored = store.signing_keys(*of, now).await?;
        let enough = now.plus(OVERLAP);
        if !stored.iter().any(|key| key.signs_until >= enough) {
            store.add_signing_key(*of, self.fresh(now), enough).await?;
            stored = store.signing_keys(*of, now).await?;
        }
        let loaded = stored.into_iter().filter_map(|key| self.load(key));
        self.0.keys.store(Arc::new(loaded.map(Arc::new).collect()));
        Ok(())
    }

    /// Keeps the keys fresh until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.refresh().await {
                let purpose = self.0.of.purpose();
                tracing::warn!(%error, purpose, "the keys that sign could not be read");
            }
            tokio::select! {
                () = self.0.clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// The newest key that others had time to read of; else the newest there is; nothing while none
    /// is there.
    #[must_use]
    pub fn signer(&self) -> Option<Arc<RingKey>> {
        let now = self.0.clock.now();
        let keys = self.0.keys.load();
        let signs = || keys.iter().filter(|key| key.signs_until > now);
        let known = signs().filter(|key| key.created_at.plus(KNOWN_AFTER) <= now);
        known
            .max_by_key(|key| key.created_at)
            .or_else(|| signs().max_by_key(|key| key.created_at))
            .cloned()
    }

    /// The key of this name, unless it is over.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<RingKey>> {
        let now = self.0.clock.now();
        let keys = self.0.keys.load();
        let found = keys.iter().find(|key| key.id == id && key.ends_at > now);
        found.cloned()
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

    fn fresh(&self, now: Timestamp) -> SigningKey {
        let random = SystemRandom::new();
        let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .expect("the system's random source works");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random)
                .expect("it was made just now");
        SigningKey {
            id: self.0.clock.mint_v7().simple().to_string(),
            sealed: self.0.sealer.seal(self.0.of.purpose(), private.as_ref()),
            public: pair.public_key().as_ref().to_vec(),
            created_at: now,
            signs_until: now.plus(SIGNS),
            ends_at: now.plus(SIGNS + OVERLAP),
        }
    }

    fn load(&self, key: SigningKey) -> Option<RingKey> {
        let private = self.0.sealer.open(self.0.of.purpose(), &key.sealed);
        if private.is_err() {
            tracing::warn!(
                key.id,
                "a key that signs was sealed with another key than the configured one"
            );
        }
        Some(RingKey {
            private: private.ok()?,
            id: key.id,
            public: key.public,
            created_at: key.created_at,
            signs_until: key.signs_until,
            ends_at: key.ends_at,
        })
    }
}
