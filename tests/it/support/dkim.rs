//! Signatures of mail by another program: dkimpy, as it comes from PyPI.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::dns::DnsServer;

/// What is installed: the program, and what it needs for Ed25519 and for ARC.
const PACKAGES: [&str; 3] = ["dkimpy", "pynacl", "authres"];

/// A Python that knows dkimpy. It is installed once for a folder of built tests.
pub fn python() -> Command {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    let home = HOME.get_or_init(|| {
        let tag = "import sys; print(sys.implementation.cache_tag)";
        let tag = Command::new("python3").args(["-c", tag]).output().unwrap();
        let tag = String::from_utf8(tag.stdout).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let home = folder.join(format!("dkimpy-{}", tag.trim()));
        if !home.is_dir() {
            install(folder, &home);
        }
        home
    });
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", home);
    python
}

/// Installs into a new folder, and gives it its name when all is there.
fn install(folder: &Path, home: &Path) {
    let fresh = tempfile::tempdir_in(folder).unwrap();
    let done = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--target"])
        .arg(fresh.path())
        .args(PACKAGES)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let named = std::fs::rename(fresh.path(), home);
    assert!(named.is_ok() || home.is_dir(), "{named:?}");
}

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
        let done = python()
            .args(["-m", "dkim.dknewkey", "--ktype", kind, "key"])
            .current_dir(folder.path())
            .output()
            .unwrap();
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
        let mut command = python();
        command
            .args(["-m", "dkim.dkimsign"])
            .args(["--bcanon", "relaxed", "--signalg", self.algorithm])
            .args([&self.selector, &self.domain])
            .arg(self.file());
        through(command, mail)
    }

    /// The mail with a seal on what its `Authentication-Results` of `server` say.
    pub fn seal(&self, mail: &[u8], server: &str) -> Vec<u8> {
        let mut command = python();
        command
            .args(["-m", "dkim.arcsign"])
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
        .unwrap();
    running.stdin.take().unwrap().write_all(input).unwrap();
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success());
    done.stdout
}
