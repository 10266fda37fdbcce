//! Kinds of the bridge to mail.

use std::net::IpAddr;

use ring::signature::{Ed25519KeyPair, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::files::secret;
use super::{Misfit, Scalar, SelectorName};
use crate::config::reading::Reading;
use crate::config::secret::Secret;
use crate::protocol::{Domain, Selector};

/// Whose address stands in `From` of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailFace {
    /// The bridge's, with the agent's name.
    Bridge,
    /// The agent's own.
    Agent,
}

/// How connections to mail exchanges are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// With TLS where it is offered, whatever the certificate.
    Opportunistic,
    /// The same, and as strictly as the policy of the domain says.
    MtaSts,
    /// With TLS and a valid certificate only.
    Required,
}

/// How the connection to a smarthost is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmarthostTls {
    /// By the command STARTTLS.
    Starttls,
    /// From the first byte on.
    Implicit,
    /// Not at all.
    None,
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Its name, or its address in digits.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A scalar that is one of a few words.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $Kind:ident of $Value:ty = $noun:literal, $($word:literal => $value:expr),+ ; $example:literal) => {
        $(#[doc = $doc])+
        pub(in crate::config) struct $Kind;

        impl Scalar for $Kind {
            type Value = $Value;

            fn noun() -> String {
                $noun.to_owned()
            }

            fn example() -> &'static str {
                $example
            }

            fn parse(text: &str, _: &Reading<'_>) -> Result<$Value, Misfit> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(Misfit::Form),
                }
            }
        }
    };
}

words! {
    /// Whose address stands in `From`.
    Face of MailFace = "`bridge` or `agent`",
    "bridge" => MailFace::Bridge, "agent" => MailFace::Agent; "bridge"
}
words! {
    /// How connections to mail exchanges are protected.
    Protection of MailTls = "`mta-sts`, `opportunistic` or `required`",
    "mta-sts" => MailTls::MtaSts, "opportunistic" => MailTls::Opportunistic,
    "required" => MailTls::Required; "mta-sts"
}
words! {
    /// How the connection to a smarthost is protected.
    SmarthostMode of SmarthostTls = "`starttls`, `implicit` or `none`",
    "starttls" => SmarthostTls::Starttls, "implicit" => SmarthostTls::Implicit,
    "none" => SmarthostTls::None; "starttls"
}

/// A port.
pub(in crate::config) struct Port;

impl Scalar for Port {
    type Value = u16;

    fn noun() -> String {
        "a port from 1 to 65535".to_owned()
    }

    fn example() -> &'static str {
        "25"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<u16, Misfit> {
        text.parse().ok().filter(|it| *it > 0).ok_or(Misfit::Form)
    }
}

/// A host by its name or its address.
pub(in crate::config) struct HostName;

impl Scalar for HostName {
    type Value = String;

    fn noun() -> String {
        "the name of a host, or its address".to_owned()
    }

    fn example() -> &'static str {
        "smtp.example.com"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<String, Misfit> {
        host(text).ok_or(Misfit::Form)
    }
}

/// A mail server: a host, and a port unless it is 25.
pub(in crate::config) struct NextHop;

impl Scalar for NextHop {
    type Value = MailServer;

    fn noun() -> String {
        "a host, with a port unless it is 25".to_owned()
    }

    fn example() -> &'static str {
        "mail.internal:25"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<MailServer, Misfit> {
        if let Some(host) = host(text) {
            return Ok(MailServer { host, port: 25 });
        }
        let (name, port) = text.rsplit_once(':').ok_or(Misfit::Form)?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok().filter(|it| *it > 0);
        match (host(name), port) {
            (Some(host), Some(port)) => Ok(MailServer { host, port }),
            _ => Err(Misfit::Form),
        }
    }
}

fn host(text: &str) -> Option<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    let domain = Domain::parse(text).ok()?;
    Some(domain.as_str().to_owned())
}

/// A text on one line.
pub(in crate::config) struct Text;

impl Scalar for Text {
    type Value = String;

    fn noun() -> String {
        "a text of 1 to 255 bytes without control characters".to_owned()
    }

    fn example() -> &'static str {
        "amtpd@example.com"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<String, Misfit> {
        let fits = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned()).ok_or(Misfit::Form)
    }
}

/// A password. It must be named with its kind of place: one that was written into the configuration
/// itself is not taken for a file's name, nor shown.
pub(in crate::config) struct Password;

impl Scalar for Password {
    type Value = Secret;

    fn noun() -> String {
        "`file:` and the path of a file with the password, or `env:NAME`".to_owned()
    }

    fn example() -> &'static str {
        "file:smarthost.password"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Secret, Misfit> {
        if !text.starts_with("file:") && !text.starts_with("env:") {
            let reason = format!("must be {}, not the password itself", Self::noun());
            return Err(Misfit::Unshown(reason));
        }
        let secret = secret(text, reading)?;
        let plain = secret.reveal();
        if plain.is_empty() || plain.len() > 255 || plain.chars().any(char::is_control) {
            let reason = "does not hold one line of 1 to 255 bytes";
            return Err(Misfit::Because(reason.to_owned()));
        }
        Ok(secret)
    }
}

/// The name of a second key that signs mail.
pub(in crate::config) struct SecondSelector;

impl Scalar for SecondSelector {
    type Value = Selector;

    fn noun() -> String {
        SelectorName::noun()
    }

    fn example() -> &'static str {
        "k2"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Selector, Misfit> {
        SelectorName::parse(text, reading)
    }
}

/// A private key that signs mail.
pub(in crate::config) struct DkimKey;

impl Scalar for DkimKey {
    type Value = Secret;

    fn noun() -> String {
        "the path of a file with a private key in PEM (RSA or Ed25519), or `env:NAME`".to_owned()
    }

    fn example() -> &'static str {
        "dkim.key"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Secret, Misfit> {
        let secret = secret(text, reading)?;
        match signs(secret.reveal()) {
            Ok(()) => Ok(secret),
            Err(reason) => Err(Misfit::Because(reason.to_owned())),
        }
    }
}

/// Whether mail can be signed with a key.
fn signs(pem: &str) -> Result<(), &'static str> {
    const MAKE: &str = "holds no key that signs mail; make one with `openssl genpkey -algorithm rsa -pkeyopt \
                        rsa_keygen_bits:2048` or `openssl genpkey -algorithm ed25519`";
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| MAKE)?;
    let rsa = match &key {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
        PrivateKeyDer::Pkcs8(der) => {
            if Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).is_ok() {
                return Ok(());
            }
            RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()
        }
        _ => None,
    };
    match rsa {
        Some(key) if key.public().modulus_len() < 256 => {
            Err("holds an RSA key of less than 2048 bits, which others do not believe")
        }
        Some(_) => Ok(()),
        None => Err(MAKE),
    }
}
