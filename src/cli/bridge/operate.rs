//! `amtpd bridge …`: what an operator looks at and does about mail.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use hyper::Method;
use ring::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::cli::client::{Gateway, Target, print_json, print_table, segment};
use crate::cli::load;
use crate::config::{Bridging, Config};

const PATH: &str = "/v1/admin/suppressions";
/// What a part of a TXT record holds at most.
const PART: usize = 255;

/// The bridge to mail: who gets no more mail, and what belongs into the DNS
#[derive(Debug, Args)]
pub(in crate::cli) struct BridgeCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the addresses that no mail is sent to any more, and why
    Suppressions {
        #[command(flatten)]
        target: Target,
    },
    /// Let mail go to an address again
    Release {
        /// The address
        address: String,
        #[command(flatten)]
        target: Target,
    },
    /// Print the records that the DNS should have for the mail of our domains
    Dns {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
    },
}

impl BridgeCommand {
    pub(in crate::cli) async fn run(self) -> Result<()> {
        match self.what {
            What::Suppressions { target } => list(&target.connect()?).await,
            What::Release { address, target } => release(&target.connect()?, &address).await,
            What::Dns { config, json } => dns(&load(&config)?, json),
        }
    }
}

async fn list(gateway: &Gateway) -> Result<()> {
    let mut all: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let place = match &cursor {
            Some(cursor) => format!("{PATH}?limit=1000&cursor={}", segment(cursor)),
            None => format!("{PATH}?limit=1000"),
        };
        let page = gateway.call(Method::GET, &place, None).await?;
        all.extend(
            page["suppressions"]
                .as_array()
                .into_iter()
                .flatten()
                .cloned(),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if gateway.json {
        return print_json(&json!({ "suppressions": all }));
    }
    if all.is_empty() {
        println!("Mail may go to every address.");
        return Ok(());
    }
    print_table(
        &all,
        &[
            ("address", "address"),
            ("because", "because"),
            ("since", "since"),
            ("message", "message_id"),
            ("said", "text"),
        ],
    );
    Ok(())
}

async fn release(gateway: &Gateway, address: &str) -> Result<()> {
    let place = format!("{PATH}/{}", segment(address));
    gateway.call(Method::DELETE, &place, None).await?;
    if gateway.json {
        return print_json(&json!({ "released": address }));
    }
    println!("Mail may go to {address} again.");
    Ok(())
}

fn dns(config: &Config, as_json: bool) -> Result<()> {
    let bridging = config.bridge.as_ref();
    let bridging = bridging.ok_or_else(|| anyhow!("the configuration has no section `bridge`"))?;
    let records = records(config, bridging)?;
    if as_json {
        let shown: Vec<Value> = records
            .iter()
            .map(|(name, kind, data)| json!({ "name": name, "type": kind, "data": data }))
            .collect();
        return print_json(&json!({ "records": shown }));
    }
    for (name, kind, data) in &records {
        let data = match kind {
            &"TXT" => quoted(data),
            _ => data.clone(),
        };
        println!("{name}. 3600 IN {kind} {data}");
    }
    Ok(())
}

type Record = (String, &'static str, String);

fn records(config: &Config, bridging: &Bridging) -> Result<Vec<Record>> {
    let host = &bridging.bridge.host;
    let mut records = Vec::new();
    for domain in &config.domains {
        if !bridging.bridge.domains.contains(domain) {
            records.push((domain.to_string(), "MX", format!("10 {host}.")));
        }
        let spf = format!("v=spf1 mx a:{host} ~all");
        records.push((domain.to_string(), "TXT", spf));
        for (selector, data) in dkim_records(bridging)? {
            let name = format!("{selector}._domainkey.{domain}");
            records.push((name, "TXT", data));
        }
        let dmarc = "v=DMARC1; p=quarantine".to_owned();
        records.push((format!("_dmarc.{domain}"), "TXT", dmarc));
    }
    Ok(records)
}

/// The public halves of the keys that sign mail, under their selectors.
pub(in crate::cli) fn dkim_records(bridging: &Bridging) -> Result<Vec<(String, String)>> {
    let Some(dkim) = &bridging.dkim else {
        return Ok(Vec::new());
    };
    let second = dkim.second_selector.as_ref().zip(dkim.second_key.as_ref());
    let all = std::iter::once((&dkim.selector, &dkim.key)).chain(second);
    all.map(|(selector, key)| {
        let data = public(key.reveal()).context("bridge.dkim")?;
        Ok((selector.to_string(), data))
    })
    .collect()
}

/// The record of a private key's public half (RFC 6376, section 3.6.1; RFC 8463).
fn public(pem: &str) -> Result<String> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
    let wrong = |_| anyhow!("the key cannot be read");
    if let PrivateKeyDer::Pkcs8(der) = &key
        && let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
    {
        let public = STANDARD.encode(pair.public_key().as_ref());
        return Ok(format!("v=DKIM1; k=ed25519; p={public}"));
    }
    let pair = match &key {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(wrong)?,
        PrivateKeyDer::Pkcs8(der) => {
            RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(wrong)?
        }
        _ => return Err(anyhow!("the key is of a kind that signs no mail")),
    };
    let public = STANDARD.encode(subject_public_key(pair.public_key().as_ref()));
    Ok(format!("v=DKIM1; k=rsa; p={public}"))
}

/// An RSA key with its algorithm before it, as verifiers expect it (RFC 5280, section 4.1).
fn subject_public_key(key: &[u8]) -> Vec<u8> {
    const ALGORITHM: [u8; 15] = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let bits = element(0x03, &[&[0], key].concat());
    element(0x30, &[&ALGORITHM, &bits[..]].concat())
}

/// An element of DER with at least 256 bytes, and less than 64 KiB, as that of an RSA key has.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    [&[tag, 0x82, high, low], content].concat()
}

/// A text as a zone file has it: parts of at most 255 bytes.
fn quoted(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let parts = bytes.chunks(PART).map(|part| {
        let part: String = part.iter().collect();
        format!("\"{part}\"")
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_halves_stand_in_records() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let record = public(&pair.serialize_pem()).unwrap();
        let expected = STANDARD.encode(pair.public_key_raw());
        assert_eq!(record, format!("v=DKIM1; k=ed25519; p={expected}"));
        assert!(public("nothing").is_err());
        assert_eq!(quoted("ab"), "\"ab\"");
        let long = quoted(&"x".repeat(300));
        assert_eq!(long.len(), 300 + 5);
        assert!(long.contains("\" \""));
    }
}
