//! A domain's public key: the TXT record at `<selector>._amtpkey.<domain>`. AMTP 1.0, section 3.2.3.
//!
//! `v=amtpkey1;alg=ES256|RS256;p=<public key, DER in base64>`. Names of parameters are read without
//! case, unknown ones are ignored; one that stands twice makes the record invalid.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Algorithm, der};

const VERSION: &str = "amtpkey1";
/// Bits of an RSA key.
const LEAST_BITS: usize = 2_048;
const MOST_BITS: usize = 8_192;
/// Parameters that are read; a record has three.
const MOST_PARAMETERS: usize = 32;

/// A valid record. `Display` writes it; reading that gives an equal value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    algorithm: Algorithm,
    /// A point on P-256, or an RSA key as PKCS#1 writes it.
    bytes: Box<[u8]>,
}

/// Why a text is no key record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRecordFault {
    /// `v` is missing or not `amtpkey1`: most likely a record about something else.
    #[error("the record does not say v=amtpkey1")]
    Version,
    /// A parameter stands twice; holds its name.
    #[error("{0} stands twice")]
    Twice(String),
    /// More parameters than anybody needs.
    #[error("the record has too many parameters")]
    TooMany,
    /// `alg` is none we know.
    #[error("alg is neither ES256 nor RS256")]
    Algorithm,
    /// `p` is no base64 with its padding.
    #[error("p is not base64")]
    Base64,
    /// `p` is not a key on P-256.
    #[error("p is not a key on P-256, as ES256 needs")]
    NotP256,
    /// `p` is no RSA key.
    #[error("p is not an RSA key, as RS256 needs")]
    NotRsa,
    /// An RSA key of another size; holds its bits.
    #[error("an RSA key of {0} bits is not of 2048 to 8192")]
    Size(usize),
}

impl KeyRecord {
    /// Reads a record whose strings were joined.
    ///
    /// # Errors
    /// The record is not valid.
    pub fn parse(record: &str) -> Result<Self, KeyRecordFault> {
        let [version, algorithm, key] = parameters(record)?;
        if version != Some(VERSION) {
            return Err(KeyRecordFault::Version);
        }
        let algorithm = algorithm.unwrap_or_default();
        let algorithm = algorithm.parse().map_err(|_| KeyRecordFault::Algorithm)?;
        let der = BASE64_STANDARD
            .decode(key.unwrap_or_default())
            .map_err(|_| KeyRecordFault::Base64)?;
        Self::of_der(algorithm, &der)
    }

    fn of_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyRecordFault> {
        let bytes = match algorithm {
            Algorithm::Es256 => der::p256_point(der).ok_or(KeyRecordFault::NotP256)?,
            Algorithm::Rs256 => {
                let (key, bits) = der::rsa_key(der).ok_or(KeyRecordFault::NotRsa)?;
                if !(LEAST_BITS..=MOST_BITS).contains(&bits) {
                    return Err(KeyRecordFault::Size(bits));
                }
                key
            }
        };
        Ok(Self::of_bytes(algorithm, bytes))
    }

    pub(super) fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self {
            algorithm,
            bytes: bytes.into(),
        }
    }

    /// Whether a text is meant to be a key record, valid or not.
    #[must_use]
    pub fn is_meant(record: &str) -> bool {
        let start = record.trim_start_matches([' ', '"']).get(..9);
        start.is_some_and(|start| start.eq_ignore_ascii_case("v=amtpkey"))
    }

    /// What it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Bits of the key.
    #[must_use]
    pub fn bits(&self) -> usize {
        match self.algorithm {
            Algorithm::Es256 => 256,
            Algorithm::Rs256 => der::rsa_key(&self.spki()).map_or(0, |(_, bits)| bits),
        }
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key as a record has it before base64.
    fn spki(&self) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Es256 => der::p256_key(&self.bytes),
            Algorithm::Rs256 => der::rsa_spki(&self.bytes),
        }
    }
}

/// The values of `v`, `alg` and `p`.
fn parameters(record: &str) -> Result<[Option<&str>; 3], KeyRecordFault> {
    let mut values = [None; 3];
    let mut names: Vec<String> = Vec::new();
    for (name, value) in record.split(';').filter_map(|part| part.split_once('=')) {
        let name = name.trim().to_ascii_lowercase();
        if names.contains(&name) {
            return Err(KeyRecordFault::Twice(
                name.escape_debug().take(40).collect(),
            ));
        }
        if names.len() == MOST_PARAMETERS {
            return Err(KeyRecordFault::TooMany);
        }
        let place = ["v", "alg", "p"].iter().position(|known| *known == name);
        if let Some(place) = place {
            values[place] = Some(value.trim());
        }
        names.push(name);
    }
    Ok(values)
}

impl fmt::Display for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64_STANDARD.encode(self.spki());
        write!(f, "v={VERSION};alg={};p={key}", self.algorithm)
    }
}

impl FromStr for KeyRecord {
    type Err = KeyRecordFault;

    fn from_str(record: &str) -> Result<Self, KeyRecordFault> {
        Self::parse(record)
    }
}
