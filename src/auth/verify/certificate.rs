//! What a client's certificate chain is good for, remembered for a while.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use ring::digest::{Context, SHA256};
use rustls_pki_types::CertificateDer;

use crate::clock::Clock;
use crate::protocol::Timestamp;
use crate::tls::{ClientChains, Purpose, covers};

/// Chains that are remembered, and for how long: authorities and times are looked at again after it.
const MOST: u64 = 10_000;
const KEPT: Duration = Duration::from_secs(60);

type Known = Cache<([u8; 32], Purpose), (Timestamp, bool)>;

/// Checks chains. Cloning is cheap; all clones remember together.
#[derive(Clone)]
pub(in crate::auth) struct CertificateCheck {
    chains: Arc<ClientChains>,
    known: Known,
    clock: Clock,
}

impl CertificateCheck {
    pub(in crate::auth) fn new(chains: ClientChains, clock: Clock) -> Self {
        Self {
            chains: Arc::new(chains),
            known: Cache::new(MOST),
            clock,
        }
    }

    /// Whether the chain is that of a client with this name, by an authority for clients.
    pub(in crate::auth) fn is_client(&self, chain: &[CertificateDer<'static>], name: &str) -> bool {
        covers(chain, name) && self.is_good(chain, Purpose::Client)
    }

    /// Whether the chain is that of the server with this name, by an authority we believe of servers.
    pub(in crate::auth) fn is_server(&self, chain: &[CertificateDer<'static>], name: &str) -> bool {
        covers(chain, name) && self.is_good(chain, Purpose::Server)
    }

    /// Whether the chain is that of a client, whatever its name, by an authority for clients.
    pub(in crate::auth) fn is_some_client(&self, chain: &[CertificateDer<'static>]) -> bool {
        self.is_good(chain, Purpose::Client)
    }

    fn is_good(&self, chain: &[CertificateDer<'static>], purpose: Purpose) -> bool {
        let mut hash = Context::new(&SHA256);
        for certificate in chain {
            hash.update(&certificate.len().to_be_bytes());
            hash.update(certificate);
        }
        let mut key = ([0; 32], purpose);
        key.0.copy_from_slice(hash.finish().as_ref());
        let now = self.clock.now();
        if let Some((until, good)) = self.known.get(&key)
            && now < until
        {
            return good;
        }
        let good = self.chains.believes(chain, purpose, now);
        self.known.insert(key, (now.plus(KEPT), good));
        good
    }
}
