//! Sealing stored outbound credentials, so that a copied database gives none away.
//!
//! ChaCha20-Poly1305 with a random nonce; what is sealed for one purpose does not open for
//! another. Form: version (1), first four bytes of the key's SHA-256, nonce (12), ciphertext.
//!
//! The secrets that sign what webhooks are sent are derived from the same key (HKDF-SHA256).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hkdf};
use thiserror::Error;

/// What the headers of a webhook are sealed for.
pub const WEBHOOK_HEADERS: &str = "webhook-headers";

const VERSION: u8 = 1;
const HEAD: usize = 1 + 4 + 12;

/// What can go wrong with sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealFault {
    /// The key file does not hold a key.
    #[error("a sealing key is 32 bytes in base64")]
    Key,
    /// Sealed with a key we do not have, for another purpose, or damaged.
    #[error("a sealed value cannot be opened with the configured key")]
    Unopened,
}

/// Seals and opens. Cloning is cheap.
#[derive(Clone)]
pub struct Sealer {
    key: Arc<LessSafeKey>,
    /// What other secrets are derived from.
    derive: hkdf::Prk,
    mark: [u8; 4],
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer over a key of 32 bytes in base64.
    ///
    /// # Errors
    /// [`SealFault::Key`].
    pub fn new(key: &str) -> Result<Self, SealFault> {
        let bytes = STANDARD.decode(key.trim()).map_err(|_| SealFault::Key)?;
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| SealFault::Key)?;
        let mut mark = [0; 4];
        mark.copy_from_slice(&digest::digest(&digest::SHA256, &bytes).as_ref()[..4]);
        Ok(Self {
            key: Arc::new(LessSafeKey::new(unbound)),
            derive: hkdf::Salt::new(hkdf::HKDF_SHA256, b"amtpd").extract(&bytes),
            mark,
        })
    }

    /// The secret that signs what an agent's webhook is sent: derived, never stored. Another
    /// generation is another secret.
    #[must_use]
    pub fn webhook_secret(&self, agent: i64, generation: u32) -> [u8; 32] {
        let info = format!("webhook-secret {agent} {generation}");
        let mut secret = [0; 32];
        self.derive
            .expand(&[info.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut secret))
            .expect("32 bytes are what HKDF over SHA-256 gives");
        secret
    }

    /// The same secret in the form its receiver is told: `whsec_` and base64.
    #[must_use]
    pub fn shown_webhook_secret(&self, agent: i64, generation: u32) -> String {
        let secret = self.webhook_secret(agent, generation);
        format!("whsec_{}", STANDARD.encode(secret))
    }

    /// Seals a value for a purpose.
    #[must_use]
    pub fn seal(&self, purpose: &str, value: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        SystemRandom::new()
            .fill(&mut nonce)
            .expect("the system's random source works");
        let mut sealed = value.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed,
            )
            .expect("a value in memory is below the cipher's limit");
        [&[VERSION], self.mark.as_slice(), &nonce, &sealed].concat()
    }

    /// Opens a value sealed for the same purpose.
    ///
    /// # Errors
    /// [`SealFault::Unopened`].
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealFault> {
        if sealed.len() < HEAD || sealed[0] != VERSION || sealed[1..5] != self.mark {
            return Err(SealFault::Unopened);
        }
        let nonce =
            Nonce::try_assume_unique_for_key(&sealed[5..HEAD]).map_err(|_| SealFault::Unopened)?;
        let mut value = sealed[HEAD..].to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(purpose), &mut value)
            .map_err(|_| SealFault::Unopened)?
            .len();
        value.truncate(opened);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_with_its_key_and_purpose() {
        let sealer = Sealer::new(&STANDARD.encode([7; 32])).unwrap();
        let other = Sealer::new(&STANDARD.encode([8; 32])).unwrap();
        let sealed = sealer.seal("webhook", b"secret");
        assert_eq!(sealer.open("webhook", &sealed).unwrap(), b"secret");
        assert_eq!(sealer.open("peer", &sealed), Err(SealFault::Unopened));
        assert_eq!(other.open("webhook", &sealed), Err(SealFault::Unopened));
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(sealer.open("webhook", &damaged), Err(SealFault::Unopened));
        assert_eq!(
            sealer.open("webhook", &sealed[..10]),
            Err(SealFault::Unopened)
        );
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_webhook_secret_is_one_of_its_key_agent_and_generation() {
        let sealer = Sealer::new(&STANDARD.encode([7; 32])).unwrap();
        let other = Sealer::new(&STANDARD.encode([8; 32])).unwrap();
        let again = Sealer::new(&STANDARD.encode([7; 32])).unwrap();
        let secret = sealer.webhook_secret(1, 0);
        assert_eq!(secret, again.webhook_secret(1, 0));
        for different in [
            other.webhook_secret(1, 0),
            sealer.webhook_secret(1, 1),
            sealer.webhook_secret(2, 0),
            [7; 32],
        ] {
            assert_ne!(secret, different);
        }
        let shown = sealer.shown_webhook_secret(1, 0);
        let encoded = shown.strip_prefix("whsec_").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), secret);
        // What receivers were told stays good: the way to derive it must not change.
        assert_eq!(shown, "whsec_9yE/BeYMHfBMaUsHaoZeBCRODDiUpW25SW/ZqQV+sp4=");
    }

    #[test]
    fn a_key_must_be_32_bytes() {
        assert_eq!(Sealer::new("c2hvcnQ=").unwrap_err(), SealFault::Key);
        assert_eq!(Sealer::new("not base64!").unwrap_err(), SealFault::Key);
    }
}
