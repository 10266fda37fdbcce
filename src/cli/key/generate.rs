//! `amtpd key generate`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::json;

use super::records;
use crate::cli::client::print_json;
use crate::cli::show;
use crate::protocol::{Selector, Signer};

/// Bits of an RSA key.
const RSA_BITS: usize = 2_048;
/// Characters of a line of PEM.
const LINE: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// On P-256: short records, quick
    #[value(name = "ES256")]
    Es256,
    /// RSA, 2048 bits: its record needs two strings, which some gateways cannot read
    #[value(name = "RS256")]
    Rs256,
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// What the key signs with
    #[arg(long, value_enum, default_value = "ES256", ignore_case = true)]
    algorithm: Kind,
    /// The name of the key in the DNS; a new key needs a new one
    #[arg(long, value_name = "NAME", default_value = "k1")]
    selector: Selector,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl Generate {
    pub(super) fn run(self) -> Result<()> {
        let pem = match self.algorithm {
            Kind::Es256 => p256()?,
            Kind::Rs256 => rsa()?,
        };
        let signer = Signer::read(self.selector.clone(), &pem)
            .map_err(|fault| anyhow!("the new key cannot be used: it {fault}"))?;
        write(&self.out, &pem)?;
        let published = records::of_new(&self.selector, &signer.record(), "<domain>");
        if self.json {
            let mut value = published.json();
            value["file"] = json!(self.out);
            value["selector"] = json!(self.selector);
            value["algorithm"] = json!(signer.algorithm().as_str());
            return print_json(&value);
        }
        show(&format!(
            "Written to {}.\n\nPublish in the DNS of each domain:\n  {}\n\
             Then name it in the configuration:\n  signing: {{ selector: {}, key_file: {} }}\n",
            self.out.display(),
            published.text(),
            self.selector,
            self.out.display(),
        ))
    }
}

/// A fresh key on P-256, as PKCS#8 in PEM.
pub(in crate::cli) fn p256() -> Result<String> {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_| anyhow!("the system gives no random numbers"))?;
    let text = STANDARD.encode(der.as_ref());
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        pem = pem + line + "\n";
        rest = more;
    }
    Ok(pem + "-----END PRIVATE KEY-----\n")
}

fn rsa() -> Result<String> {
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS)?;
    Ok(key.to_pkcs8_pem(LineEnding::LF)?.to_string())
}

/// Writes a new file that only its owner can read.
fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.with_context(|| format!("{} is not written", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} is not whole", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_new_and_its_owners_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("k1.key");
        let generate = || Generate {
            algorithm: Kind::Es256,
            selector: Selector::parse("k1").unwrap(),
            out: out.clone(),
            json: true,
        };
        generate().run().unwrap();
        let first = std::fs::read_to_string(&out).unwrap();
        let mode = std::fs::metadata(&out).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let signer = Signer::read(Selector::parse("k1").unwrap(), &first).unwrap();
        assert_eq!(signer.algorithm().as_str(), "ES256");
        assert!(first.lines().all(|line| line.len() <= LINE));
        let fault = generate().run().unwrap_err();
        assert!(format!("{fault:#}").contains("is not written"), "{fault:#}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), first);
        assert_ne!(p256().unwrap(), first);
    }
}
