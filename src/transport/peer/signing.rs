//! Signing what our senders send (AMTP 1.0, section 9.3).
//!
//! - Only messages whose sender's domain is ours are signed, each body as it is sent.
//! - A body is signed once: while its delivery waits for another attempt, the signature is kept. It is
//!   kept in memory only, so after a restart, and so after a change of the key, it is made anew.
//! - A body that RFC 8785 would change, and one whose time no peer would take, goes unsigned.
//! - What takes long, RSA and large bodies, is done on threads of its own, a few at a time.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;

use super::super::Parcel;
use super::letter::Letter;
use crate::clock::Clock;
use crate::protocol::signature::{attach, canonical, timely};
use crate::protocol::{Algorithm, Domain, Signer};
use crate::telemetry::{Metrics, SignatureMetrics};

/// Bytes that kept signatures may take: those of some ten thousand deliveries.
const MOST_KEPT: u64 = 16 * 1024 * 1024;
/// What an entry takes beside its text.
const ENTRY: usize = 160;
/// Bodies from this size on take long.
const LARGE: usize = 256 * 1024;
/// Bodies that are signed at the same time on threads of their own.
const AT_ONCE: usize = 4;

/// Signs for some domains. Cloning is cheap; all clones keep together.
#[derive(Clone)]
pub struct Signing(Arc<Inner>);

struct Inner {
    signer: Arc<Signer>,
    domains: Box<[Domain]>,
    clock: Clock,
    metrics: SignatureMetrics,
    kept: Cache<[u8; 32], Arc<str>>,
    places: Semaphore,
}

impl Signing {
    /// Signs for these domains.
    #[must_use]
    pub fn new(signer: Signer, domains: &[Domain], clock: Clock, metrics: &Metrics) -> Self {
        let weigh =
            |_: &[u8; 32], text: &Arc<str>| u32::try_from(ENTRY + text.len()).unwrap_or(u32::MAX);
        Self(Arc::new(Inner {
            signer: Arc::new(signer),
            domains: domains.into(),
            clock,
            metrics: metrics.signatures().clone(),
            kept: Cache::builder()
                .max_capacity(MOST_KEPT)
                .weigher(weigh)
                .build(),
            places: Semaphore::new(AT_ONCE),
        }))
    }

    /// Signs a letter, where it is to be and can be signed.
    pub(super) async fn sign(&self, parcel: &Parcel, letter: &mut Letter) {
        let message = &parcel.message;
        let ours = self.0.domains.contains(message.sender().domain());
        if !ours || message.signature().is_some() {
            return;
        }
        let made = match self.find(parcel, letter) {
            Some(kept) => Ok((kept, "kept")),
            None => self.make(parcel, letter).await.map(|it| (it, "signed")),
        };
        match made {
            Ok((signature, how)) => {
                self.0.metrics.signing(how);
                letter.body = attach(&letter.body, &signature).into();
                letter.signature = Some(signature);
            }
            Err(why) => {
                self.0.metrics.signing(why);
                tracing::debug!(
                    message.id = letter.id.as_str(),
                    reason = why,
                    "sent unsigned"
                );
            }
        }
    }

    /// Keeps the signature of a letter that will be sent again.
    pub(super) fn keep(&self, letter: &Letter) {
        if let Some(signature) = &letter.signature {
            // Before the last member, which is the signature: `,"signature":…}`.
            let end = letter.body.len() - signature.len() - r#","signature":}"#.len();
            let key = hash(&letter.body[..end]);
            self.0.kept.insert(key, signature.clone());
        }
    }

    /// The signature that was kept of the same body.
    fn find(&self, parcel: &Parcel, letter: &Letter) -> Option<Arc<str>> {
        if parcel.copies.iter().all(|copy| copy.attempts == 0) {
            return None;
        }
        let end = letter.body.len().checked_sub(1)?;
        self.0.kept.get(&hash(&letter.body[..end]))
    }

    async fn make(&self, parcel: &Parcel, letter: &Letter) -> Result<Arc<str>, &'static str> {
        let inner = &self.0;
        let timestamp = parcel.message.timestamp();
        let timestamp = timestamp.unwrap_or(parcel.stored.accepted_at);
        timely(timestamp, inner.clock.now()).map_err(|_| "untimely")?;
        let quick = inner.signer.algorithm() == Algorithm::Es256 && letter.body.len() < LARGE;
        if quick {
            return signature(&inner.signer, &letter.body);
        }
        let _place = inner.places.acquire().await;
        let (signer, body) = (inner.signer.clone(), letter.body.clone());
        // Not a task: it computes for a while and ends.
        let made = tokio::task::spawn_blocking(move || signature(&signer, &body));
        made.await.unwrap_or(Err("failed"))
    }
}

fn signature(signer: &Signer, body: &Bytes) -> Result<Arc<str>, &'static str> {
    let canonical = canonical(body).map_err(|_| "not_signable")?;
    let made = signer.sign(&canonical).map_err(|_| "failed")?;
    Ok(made.to_json().into())
}

fn hash(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::super::letter::{References, write};
    use super::super::samples::{ID, NOW, parcel, stored, wire};
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::signature::{SignatureObject, verify};
    use crate::protocol::wire::Edit;
    use crate::protocol::{Limits, Message, Profile, Selector};
    use std::time::Duration;

    const P256: &str = include_str!("../../protocol/signature/tests/p256.pem");
    const RSA: &str = include_str!("../../protocol/signature/tests/rsa2048.pem");

    fn signing(pem: &str) -> (Signing, Arc<TestClock>, Metrics) {
        let signer = Signer::read(Selector::parse("k1").unwrap(), pem).unwrap();
        let (clock, metrics) = (TestClock::at(NOW), Metrics::new());
        let domains = [Domain::parse("a.test").unwrap()];
        let signing = Signing::new(signer, &domains, Clock::over(clock.clone()), &metrics);
        (signing, clock, metrics)
    }

    fn letter(parcel: &Parcel) -> Letter {
        let references = References {
            in_reply_to: Edit::Keep,
            workflow_id: Edit::Keep,
        };
        write(parcel, &wire(ID, 1), references)
    }

    async fn signed(signing: &Signing, parcel: &Parcel) -> Letter {
        let mut letter = letter(parcel);
        signing.sign(parcel, &mut letter).await;
        letter
    }

    fn counted(metrics: &Metrics, result: &str) -> bool {
        let line = format!(r#"amtp_signings_total{{result="{result}"}} 1"#);
        metrics.encode().lines().any(|shown| shown == line)
    }

    #[tokio::test]
    async fn exactly_what_is_sent_is_signed() {
        for pem in [P256, RSA] {
            let (signing, ..) = signing(pem);
            let parcel = parcel(&["bob@b.test"], r#","signature":null,"x":1.50"#);
            let unsigned = letter(&parcel);
            let letter = signed(&signing, &parcel).await;
            let limits = Limits::default();
            let sent = Message::parse(letter.body.clone(), Profile::Relay, &limits).unwrap();
            let signature = SignatureObject::read(sent.signature().unwrap()).unwrap();
            let bytes = canonical(&letter.body).unwrap();
            assert_eq!(bytes, canonical(&unsigned.body).unwrap());
            let key = signing.0.signer.record();
            assert_eq!(verify(&key, &signature, &bytes), Ok(()));
            assert_eq!(sent.member("x"), Some("1.50"));
        }
    }

    #[tokio::test]
    async fn a_body_is_signed_once_while_it_waits() {
        let (signing, _, metrics) = signing(P256);
        let mut parcel = parcel(&["bob@b.test"], "");
        let first = signed(&signing, &parcel).await;
        signing.keep(&first);
        parcel.copies[0].attempts = 1;
        // Two ECDSA signatures of one text are never equal.
        assert_eq!(signed(&signing, &parcel).await, first);
        assert!(counted(&metrics, "kept"));
        let other = stored(
            &String::from_utf8_lossy(parcel.message.raw()).replace('1', "2"),
            1,
        );
        assert_ne!(signed(&signing, &other).await.signature, first.signature);
        // Another key: what waits is signed anew.
        let (anew, ..) = self::signing(RSA);
        let again = signed(&anew, &parcel).await;
        assert!(again.signature.unwrap().contains("RS256"));
    }

    #[tokio::test]
    async fn what_is_not_ours_or_cannot_be_signed_goes_as_it_is() {
        let foreign = r#"{"sender":"eve@c.test","recipients":["bob@b.test"],"payload":1}"#;
        let (signing, clock, metrics) = signing(P256);
        let parcel = stored(foreign, 1);
        assert_eq!(signed(&signing, &parcel).await, letter(&parcel));
        let number = super::super::samples::parcel(&["bob@b.test"], r#","x":9007199254740993"#);
        assert_eq!(signed(&signing, &number).await, letter(&number));
        assert!(counted(&metrics, "not_signable"));
        let old = super::super::samples::parcel(&["bob@b.test"], "");
        clock.advance(Duration::from_secs(9 * 86_400));
        assert_eq!(signed(&signing, &old).await, letter(&old));
        assert!(counted(&metrics, "untimely"));
    }
}
