//! Sealing stored outbound credentials, so that a copied database gives none away.
//!
//! ChaCha20-Poly1305 with a random nonce; what is sealed for one purpose does not open for
//! another. Form: version (1), first four bytes of the key's SHA-256, nonce (12), ciphertext.
//!
//! New values are sealed with the present key. Previous ones still open what was sealed with them,
//! which the form says; one may also be a key that is to come.
//!
//! The secrets that sign what webhooks are sent are derived from these keys too (HKDF-SHA256). Which
//! key a secret comes from is kept with the agent: another present key changes none of them.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hkdf};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the headers of a webhook are sealed for.
pub const WEBHOOK_HEADERS: &str = "webhook-headers";
/// What is shown where changes of tasks are posted is sealed for this.
pub const PUSH_CREDENTIALS: &str = "push-credentials";

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

/// Which key: the first four bytes of its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyMark([u8; 4]);

impl KeyMark {
    /// That of the key a value was sealed with.
    #[must_use]
    pub fn of(sealed: &[u8]) -> Option<Self> {
        let mark = sealed.get(1..5)?.try_into().ok()?;
        (sealed[0] == VERSION).then_some(Self(mark))
    }

    /// Its bytes, as they stand in sealed values.
    pub(super) const fn bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl From<KeyMark> for String {
    fn from(mark: KeyMark) -> Self {
        mark.to_string()
    }
}

impl TryFrom<String> for KeyMark {
    type Error = SealFault;

    fn try_from(text: String) -> Result<Self, SealFault> {
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u32::from_str_radix(&text, 16);
        let number = number.ok().filter(|_| digits).ok_or(SealFault::Key)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Seals and opens. Cloning is cheap.
#[derive(Clone)]
pub struct Sealer {
    present: Held,
    previous: Vec<Held>,
}

#[derive(Clone)]
struct Held {
    key: Arc<LessSafeKey>,
    /// What other secrets are derived from.
    derive: hkdf::Prk,
    mark: KeyMark,
}

impl Held {
    fn new(key: &str) -> Result<Self, SealFault> {
        let bytes = STANDARD.decode(key.trim()).map_err(|_| SealFault::Key)?;
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| SealFault::Key)?;
        let mut mark = [0; 4];
        mark.copy_from_slice(&digest::digest(&digest::SHA256, &bytes).as_ref()[..4]);
        Ok(Self {
            key: Arc::new(LessSafeKey::new(unbound)),
            derive: hkdf::Salt::new(hkdf::HKDF_SHA256, b"amtpd").extract(&bytes),
            mark: KeyMark(mark),
        })
    }
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
        Ok(Self {
            present: Held::new(key)?,
            previous: Vec::new(),
        })
    }

    /// The same, which also opens what was sealed with these keys.
    ///
    /// # Errors
    /// [`SealFault::Key`].
    pub fn with_previous<'a>(
        mut self,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, SealFault> {
        for key in keys {
            self.previous.push(Held::new(key)?);
        }
        Ok(self)
    }

    /// Which key seals.
    #[must_use]
    pub const fn mark(&self) -> KeyMark {
        self.present.mark
    }

    /// All keys, the present one first.
    pub fn marks(&self) -> impl Iterator<Item = KeyMark> + '_ {
        std::iter::once(self.mark()).chain(self.previous.iter().map(|held| held.mark))
    }

    /// One whose secrets come from this key; nothing where it is not there. What names no key is from
    /// before there was more than one.
    #[must_use]
    pub fn by(&self, mark: Option<KeyMark>) -> Option<Self> {
        let mark = mark.unwrap_or(self.mark());
        let mut held = std::iter::once(&self.present).chain(&self.previous);
        let held = held.find(|held| held.mark == mark)?;
        Some(Self {
            present: held.clone(),
            previous: Vec::new(),
        })
    }

    /// The secret that signs what an agent's webhook is sent: derived, never stored. Another
    /// generation is another secret.
    #[must_use]
    pub fn webhook_secret(&self, agent: i64, generation: u32) -> [u8; 32] {
        let info = format!("webhook-secret {agent} {generation}");
        let mut secret = [0; 32];
        self.present
            .derive
            .expand(&[info.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut secret))
            .expect("32 bytes are what HKDF over SHA-256 gives");
        secret
    }

    /// Secrets for a purpose, of every key, the present one first.
    pub(super) fn derive(
        &self,
        purpose: &'static [u8],
        kind: hkdf::Algorithm,
    ) -> impl Iterator<Item = [u8; 32]> + '_ {
        let held = std::iter::once(&self.present).chain(&self.previous);
        held.map(move |held| {
            let mut secret = [0; 32];
            held.derive
                .expand(&[purpose], kind)
                .and_then(|okm| okm.fill(&mut secret))
                .expect("32 bytes are what HKDF over SHA-256 gives");
            secret
        })
    }

    /// The same secret in the form its receiver is told: `whsec_` and base64.
    #[must_use]
    pub fn shown_webhook_secret(&self, agent: i64, generation: u32) -> String {
        let secret = self.webhook_secret(agent, generation);
        format!("whsec_{}", STANDARD.encode(secret))
    }

    /// A secret for a purpose: derived, never stored.
    #[must_use]
    pub fn secret(&self, purpose: &str) -> [u8; 32] {
        let mut secret = [0; 32];
        let info = [purpose.as_bytes()];
        let derived = self.present.derive.expand(&info, hkdf::HKDF_SHA256);
        derived
            .and_then(|okm| okm.fill(&mut secret))
            .expect("32 bytes are what HKDF over SHA-256 gives");
        secret
    }

    /// The same of all keys, the present one's first: what an earlier key signed is still known.
    pub fn secrets(&self, purpose: &str) -> impl Iterator<Item = [u8; 32]> {
        let marks = self.marks().filter_map(|mark| self.by(Some(mark)));
        marks.map(move |sealer| sealer.secret(purpose))
    }

    /// Seals a value for a purpose.
    #[must_use]
    pub fn seal(&self, purpose: &str, value: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        SystemRandom::new()
            .fill(&mut nonce)
            .expect("the system's random source works");
        let mut sealed = value.to_vec();
        self.present
            .key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed,
            )
            .expect("a value in memory is below the cipher's limit");
        [&[VERSION], self.mark().bytes().as_slice(), &nonce, &sealed].concat()
    }

    /// Opens a value sealed for the same purpose.
    ///
    /// # Errors
    /// [`SealFault::Unopened`].
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealFault> {
        let mark = KeyMark::of(sealed).filter(|_| sealed.len() >= HEAD);
        let mark = mark.ok_or(SealFault::Unopened)?;
        let held = std::iter::once(&self.present).chain(&self.previous);
        // Two keys may have one mark.
        let mut opened = held
            .filter(|held| held.mark == mark)
            .filter_map(|held| open_with(&held.key, purpose, sealed));
        opened.next().ok_or(SealFault::Unopened)
    }

    /// A value sealed with a previous key, sealed with the present one; nothing where it is already.
    ///
    /// # Errors
    /// [`SealFault::Unopened`].
    pub fn reseal(&self, purpose: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealFault> {
        if KeyMark::of(sealed) == Some(self.mark()) {
            return Ok(None);
        }
        let value = self.open(purpose, sealed)?;
        Ok(Some(self.seal(purpose, &value)))
    }
}

fn open_with(key: &LessSafeKey, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let nonce = Nonce::try_assume_unique_for_key(&sealed[5..HEAD]).ok()?;
    let mut value = sealed[HEAD..].to_vec();
    let opened = key.open_in_place(nonce, Aad::from(purpose), &mut value);
    let opened = opened.ok()?.len();
    value.truncate(opened);
    Some(value)
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
    fn a_previous_key_opens_what_it_sealed_and_seals_nothing() {
        let key = |byte: u8| STANDARD.encode([byte; 32]);
        let old = Sealer::new(&key(7)).unwrap();
        let new = Sealer::new(&key(8)).unwrap();
        let both = Sealer::new(&key(8)).unwrap();
        let both = both.with_previous([key(7).as_str()]).unwrap();
        assert_eq!(both.marks().collect::<Vec<_>>(), [new.mark(), old.mark()]);
        let sealed = old.seal("webhook", b"secret");
        assert_eq!(KeyMark::of(&sealed), Some(old.mark()));
        assert_eq!(both.open("webhook", &sealed).unwrap(), b"secret");
        assert_eq!(both.open("peer", &sealed), Err(SealFault::Unopened));
        assert_eq!(new.open("webhook", &sealed), Err(SealFault::Unopened));
        assert_eq!(new.reseal("webhook", &sealed), Err(SealFault::Unopened));
        let again = both.reseal("webhook", &sealed).unwrap().unwrap();
        assert_eq!(new.open("webhook", &again).unwrap(), b"secret");
        assert_eq!(old.open("webhook", &again), Err(SealFault::Unopened));
        assert_eq!(both.reseal("webhook", &again), Ok(None));
        assert_eq!(both.reseal("webhook", b"x"), Err(SealFault::Unopened));
        assert_eq!(
            Sealer::new(&key(8)).unwrap().with_previous(["x"]).err(),
            Some(SealFault::Key)
        );
    }

    #[test]
    fn a_webhook_secret_stays_with_the_key_it_was_made_from() {
        let key = |byte: u8| STANDARD.encode([byte; 32]);
        let old = Sealer::new(&key(7)).unwrap();
        let both = Sealer::new(&key(8)).unwrap();
        let both = both.with_previous([key(7).as_str()]).unwrap();
        let by = |mark| Some(both.by(mark)?.webhook_secret(1, 0));
        assert_eq!(by(Some(old.mark())), Some(old.webhook_secret(1, 0)));
        assert_eq!(by(Some(both.mark())), Some(both.webhook_secret(1, 0)));
        assert_eq!(by(None), by(Some(both.mark())));
        assert!(old.by(Some(both.mark())).is_none());
    }

    #[test]
    fn a_secret_has_its_purpose_and_those_of_previous_keys_are_known() {
        let key = |byte: u8| STANDARD.encode([byte; 32]);
        let old = Sealer::new(&key(7)).unwrap();
        let both = Sealer::new(&key(8)).unwrap();
        let both = both.with_previous([key(7).as_str()]).unwrap();
        let all: Vec<_> = both.secrets("links").collect();
        assert_eq!(all, [both.secret("links"), old.secret("links")]);
        assert_ne!(old.secret("links"), old.secret("others"));
        assert_ne!(old.secret("webhook-secret 1 0"), old.secret("links"));
    }

    #[test]
    fn a_mark_reads_as_it_is_written() {
        let mark = KeyMark([0, 1, 0xab, 0xff]);
        assert_eq!(mark.to_string(), "0001abff");
        assert_eq!(KeyMark::try_from("0001abff".to_owned()), Ok(mark));
        assert!(KeyMark::try_from("0001abffff".to_owned()).is_err());
        assert_eq!(KeyMark::of(&[VERSION, 1, 2, 3]), None);
        assert_eq!(KeyMark::of(&[9, 1, 2, 3, 4]), None);
    }

    #[test]
    fn a_key_must_be_32_bytes() {
        assert_eq!(Sealer::new("c2hvcnQ=").unwrap_err(), SealFault::Key);
        assert_eq!(Sealer::new("not base64!").unwrap_err(), SealFault::Key);
    }
}
