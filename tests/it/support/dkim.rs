//! Signatures of mail by another program: dkimpy.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::dns::DnsServer;

/// A key that signs mail of a domain, known to the DNS.
pub struct DkimKey {
    folder: TempDir,
    selector: String,
    domain: String,
    algorithm: &'static str,
}

impl DkimKey {
    /// A new key; `kind` is `rsa` or `ed25519`.
    pub fn publish(dns: &DnsServer, selector: &str, domain: &str, kind: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let done = Command::new("dknewkey")
            .args(["--ktype", kind, "key"])
            .current_dir(folder.path())
            .output()
            .expect("dkimpy is installed (Debian's python3-dkim)");
        assert!(done.status.success(), "{done:?}");
        let record = std::fs::read_to_string(folder.path().join("key.dns")).unwrap();
        let strings: Vec<&str> = record
            .trim()
            .as_bytes()
            .chunks(200)
            .map(|part| std::str::from_utf8(part).unwrap())
            .collect();
        dns.set_txt(&format!("{selector}._domainkey.{domain}"), &strings);
        Self {
            folder,
            selector: selector.to_owned(),
            domain: domain.to_owned(),
            algorithm: match kind {
                "rsa" => "rsa-sha256",
                _ => "ed25519-sha256",
            },
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("key.key")
    }

    /// The mail with a signature.
    pub fn sign(&self, mail: &[u8]) -> Vec<u8> {
        let mut command = Command::new("dkimsign");
        command
            .args(["--bcanon", "relaxed", "--signalg", self.algorithm])
            .args([&self.selector, &self.domain])
            .arg(self.file());
        through(command, mail)
    }

    /// The mail with a seal on what its `Authentication-Results` of `server` say.
    pub fn seal(&self, mail: &[u8], server: &str) -> Vec<u8> {
        let mut command = Command::new("arcsign");
        command
            .args([&self.selector, &self.domain])
            .arg(self.file())
            .arg(server);
        through(command, mail)
    }
}

fn through(mut command: Command, input: &[u8]) -> Vec<u8> {
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dkimpy is installed (Debian's python3-dkim)");
    running.stdin.take().unwrap().write_all(input).unwrap();
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success());
    done.stdout
}
