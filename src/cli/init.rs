//! `amtpd init`: a folder to start from, and what to publish.
//!
//! Nothing that exists is overwritten: if one of its files is there, no file is written at all.
//! Keys are readable by their owner only, and by the group that `--group` names.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use ring::rand::{SecureRandom as _, SystemRandom};

use self::group::Group;
use super::key::generate::p256;
use super::key::records::of_new;
use super::show;
use crate::auth::{IssuedKey, KeyKind};
use crate::clock::Clock;
use crate::config::{RECORD_TTL, advertisement, template};
use crate::protocol::advertisement::DEFAULT_MAX_SIZE;
use crate::protocol::{Domain, GatewayUrl, Selector, Signer};

pub(super) mod certificate;
mod group;
#[cfg(test)]
mod tests;

const ADMIN_PORT: u16 = 8444;
const SIGNING_KEY: &str = "signing.key";
const SELECTOR: &str = "k1";
/// The mode of keys, unless a group may read them.
const SECRET: u32 = 0o600;

/// Write a configuration with fresh keys, and print the DNS records to publish
#[derive(Debug, Args)]
pub(super) struct InitCommand {
    /// The domain of the agents, such as example.com
    #[arg(long)]
    domain: Domain,
    /// Where others reach this gateway, such as https://amtp.example.com
    #[arg(long, value_name = "URL")]
    gateway_url: GatewayUrl,
    /// The folder to write into
    #[arg(long, value_name = "DIR", default_value = "amtpd-config")]
    dir: PathBuf,
    /// The folder of the database; it must be there [default: data in the folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The group that may read the keys, by name or number: that of the service
    #[arg(long, value_name = "GROUP")]
    group: Option<Group>,
    /// Make a certificate for trying out; clients must be told to believe it
    #[arg(long)]
    self_signed: bool,
    /// Where to take HTTPS connections [default: 0.0.0.0 and the port of the URL]
    #[arg(long, value_name = "IP:PORT")]
    listen_https: Option<SocketAddr>,
    /// Where to serve the admin API
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from(([127, 0, 0, 1], ADMIN_PORT)))]
    listen_admin: SocketAddr,
    /// Where to serve health and metrics
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9090")]
    listen_ops: SocketAddr,
}

/// A file to write.
struct Draft {
    name: &'static str,
    mode: u32,
    text: String,
}

impl InitCommand {
    pub(super) fn run(self) -> Result<()> {
        let folder = std::path::absolute(&self.dir)?;
        let drafts = self.drafts(&folder, &Clock::system())?;
        self.write(&folder, &drafts)?;
        show(&self.next_steps(&drafts))
    }

    fn write(&self, folder: &Path, drafts: &[Draft]) -> Result<()> {
        check_free(folder, drafts)?;
        make(folder, 0o755)?;
        make(&folder.join("tls"), 0o700)?;
        if self.data_dir.is_none() {
            make(&folder.join("data"), 0o700)?;
        }
        make(&folder.join("policies"), 0o755)?;
        make(&folder.join("schemas"), 0o755)?;
        for draft in drafts {
            write(&folder.join(draft.name), draft)?;
        }
        let Some(group) = &self.group else {
            return Ok(());
        };
        group.let_into(&folder.join("tls"))?;
        drafts
            .iter()
            .filter(|draft| draft.mode == SECRET)
            .try_for_each(|draft| group.let_read(&folder.join(draft.name)))
    }

    fn drafts(&self, folder: &Path, clock: &Clock) -> Result<Vec<Draft>> {
        let mut drafts = vec![
            Draft {
                name: "amtpd.yaml",
                mode: 0o644,
                text: self.configuration(folder)?,
            },
            Draft {
                name: "admin.key",
                mode: SECRET,
                text: IssuedKey::generate(KeyKind::Admin).secret + "\n",
            },
            Draft {
                name: "secrets.key",
                mode: SECRET,
                text: fresh_sealing_key() + "\n",
            },
            Draft {
                name: SIGNING_KEY,
                mode: SECRET,
                text: p256()?,
            },
            Draft {
                name: "policies/open.yaml",
                mode: 0o644,
                text: include_str!("../../policies/open.yaml").to_owned(),
            },
            Draft {
                name: "profile.yaml",
                mode: 0o644,
                text: self.profile(),
            },
        ];
        if self.self_signed {
            let pair = certificate::self_signed(&self.gateway_url, clock.now())?;
            drafts.push(Draft {
                name: "tls/cert.pem",
                mode: 0o644,
                text: pair.certificate,
            });
            drafts.push(Draft {
                name: "tls/key.pem",
                mode: SECRET,
                text: pair.key,
            });
        }
        Ok(drafts)
    }

    fn configuration(&self, folder: &Path) -> Result<String> {
        let database = match &self.data_dir {
            Some(data) => std::path::absolute(data)?,
            None => folder.join("data"),
        };
        let database = database.join("amtpd.db");
        let database = database
            .to_str()
            .context("the folder's name is not UTF-8; name another with --dir")?;
        if database.contains('?') {
            bail!("the folder's name has a '?'; name another with --dir");
        }
        let given = [
            ("domains", format!("[{}]", self.domain)),
            ("gateway_url", self.gateway_url.to_string()),
            ("listen.https", self.https().to_string()),
            ("listen.admin", self.listen_admin.to_string()),
            ("listen.ops", self.listen_ops.to_string()),
            ("tls.cert_file", "tls/cert.pem".to_owned()),
            ("tls.key_file", "tls/key.pem".to_owned()),
            (
                "store.url",
                serde_json::to_string(&format!("sqlite://{database}"))?,
            ),
            ("secrets.key_file", "secrets.key".to_owned()),
            ("admin.key_file", "admin.key".to_owned()),
            ("policies.dir", "policies".to_owned()),
            ("schemas.dir", "schemas".to_owned()),
        ];
        Ok(template(&given))
    }

    fn https(&self) -> SocketAddr {
        let usual = SocketAddr::from(([0, 0, 0, 0], self.gateway_url.port()));
        self.listen_https.unwrap_or(usual)
    }

    /// The admin API on this machine, under the name the certificate is for.
    fn profile(&self) -> String {
        let host = self.gateway_url.host();
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let mut profile = format!(
            "# The operator's profile: `amtpd agent list --profile profile.yaml`.\n\
             gateway: https://{host}:{}\nresolve: {}\nkey_file: admin.key\n",
            self.listen_admin.port(),
            loopback_of(self.listen_admin),
        );
        if self.self_signed {
            profile += "ca_file: tls/cert.pem\n";
        }
        profile
    }

    fn next_steps(&self, drafts: &[Draft]) -> String {
        let dir = quoted(&self.dir);
        let mut text = format!("Written to {}:\n", self.dir.display());
        for draft in drafts {
            let _ = writeln!(text, "  {}", draft.name);
        }
        text += &self.records();
        text += &self.signing(drafts);
        text += "\nNext:\n";
        if !self.self_signed {
            let host = self.gateway_url.host();
            let _ = writeln!(
                text,
                "  put the certificate for {host} into {dir}/tls/cert.pem and its key into {dir}/tls/key.pem"
            );
        }
        let _ = write!(
            text,
            "  amtpd check --config {dir}/amtpd.yaml\n  amtpd serve --config {dir}/amtpd.yaml\n  \
             amtpd agent add alice --profile {dir}/profile.yaml\n\n\
             Keep a copy of secrets.key apart from the database.\n"
        );
        text
    }

    /// The record of the signing key. Nothing is signed before the operator says so: a signature whose
    /// key is not published is worse than none.
    fn signing(&self, drafts: &[Draft]) -> String {
        let key = drafts.iter().find(|draft| draft.name == SIGNING_KEY);
        let selector = Selector::parse(SELECTOR).ok();
        let signer = key
            .zip(selector.clone())
            .and_then(|(key, selector)| Signer::read(selector, &key.text).ok());
        let (Some(signer), Some(selector)) = (signer, selector) else {
            return String::new();
        };
        let record = of_new(&selector, &signer.record(), &self.domain.to_string());
        format!(
            "\nTo sign messages, publish this too, and when it can be seen set `signing: {{ selector: {SELECTOR}, \
             key_file: {SIGNING_KEY} }}` in amtpd.yaml:\n  {}",
            record.text()
        )
    }

    fn records(&self) -> String {
        let record = advertisement(self.gateway_url.clone(), DEFAULT_MAX_SIZE);
        let ttl = RECORD_TTL.as_secs();
        let mut text = format!(
            "\nPublish in DNS:\n  _amtp.{}. {ttl} IN TXT \"{record}\"\n",
            self.domain
        );
        if self.gateway_url.host_ip().is_none() {
            let host = self.gateway_url.host();
            let _ = writeln!(
                text,
                "  {host}. {ttl} IN A <the public address of this gateway> (AAAA for IPv6)"
            );
        }
        text
    }
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,@%:=".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Where a client on this machine reaches a listener.
pub(super) fn loopback_of(listener: SocketAddr) -> std::net::IpAddr {
    match listener {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    }
}

/// What `secrets.key_file` holds.
pub(super) fn fresh_sealing_key() -> String {
    STANDARD.encode(random::<32>())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system's random source works");
    bytes
}

fn check_free(folder: &Path, drafts: &[Draft]) -> Result<()> {
    for draft in drafts {
        let path = folder.join(draft.name);
        if path.symlink_metadata().is_ok() {
            bail!(
                "{} exists; nothing was written. Name another folder with --dir",
                path.display()
            );
        }
    }
    Ok(())
}

fn write(path: &Path, draft: &Draft) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(draft.mode);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(draft.text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn make(folder: &Path, mode: u32) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    DirBuilder::new()
        .mode(mode)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))
}
