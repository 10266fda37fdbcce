use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::clock::TestClock;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn cert(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// Writes a fresh certificate for `host` that ends in `year`, with its key.
    fn issue(&self, host: &str, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.cert(), certificate.pem()).unwrap();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
    }

    fn load(&self) -> Result<TlsIdentity, TlsFault> {
        TlsIdentity::load(&self.cert(), &self.key())
    }
}

#[test]
fn a_fault_names_the_file_that_is_wrong() {
    let folder = Folder::new();
    folder.issue("a.test", 2040);
    let (cert, key) = (folder.cert(), folder.key());
    let good = (std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap());
    let other = KeyPair::generate().unwrap().serialize_pem().into_bytes();
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let table: [(Vec<u8>, Vec<u8>, &str); 5] = [
        (
            b"nothing".to_vec(),
            good.1.clone(),
            "cert.pem holds no usable certificate: no CERT",
        ),
        (
            broken,
            good.1.clone(),
            "cert.pem holds no usable certificate",
        ),
        (
            good.0.clone(),
            b"nothing".to_vec(),
            "key.pem holds no usable private key",
        ),
        (
            good.0.clone(),
            good.0.clone(),
            "key.pem holds no usable private key",
        ),
        (
            good.0.clone(),
            other,
            "does not belong to the certificate in",
        ),
    ];
    for (certificate, private, expected) in table {
        std::fs::write(&cert, certificate).unwrap();
        std::fs::write(&key, private).unwrap();
        let fault = folder.load().unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault} lacks {expected}");
    }
    std::fs::remove_file(&key).unwrap();
    let fault = folder.load().unwrap_err().to_string();
    assert!(
        fault.starts_with("cannot read") && fault.contains("key.pem"),
        "{fault}"
    );
}

#[test]
fn expiry_and_names_are_those_of_the_certificate() {
    let folder = Folder::new();
    folder.issue("amtp.a.test", 2041);
    let identity = folder.load().unwrap();
    assert_eq!(identity.expires().to_string(), "2041-01-01T00:00:00.000Z");
    assert!(identity.covers("amtp.a.test"));
    assert!(!identity.covers("a.test"));
    assert!(!identity.covers("not a name"));
}

#[test]
fn a_broken_reload_keeps_the_old_certificate_and_says_why() {
    let folder = Folder::new();
    folder.issue("a.test", 2040);
    let identity = folder.load().unwrap();
    assert_eq!(identity.reload().unwrap(), Reload::Unchanged);
    let old = std::fs::read(folder.key()).unwrap();
    folder.issue("b.test", 2042);
    std::fs::write(folder.key(), old).unwrap();
    assert!(matches!(identity.reload(), Err(TlsFault::Mismatch { .. })));
    assert!(identity.covers("a.test"));
    folder.issue("b.test", 2042);
    assert!(matches!(
        identity.reload().unwrap(),
        Reload::Replaced { .. }
    ));
    assert!(identity.covers("b.test") && !identity.covers("a.test"));
    assert_eq!(identity.expires().to_string(), "2042-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_changed_file_is_taken_up_at_the_next_look() {
    let folder = Folder::new();
    folder.issue("a.test", 2040);
    let identity = folder.load().unwrap();
    let test = TestClock::at(Timestamp::from_millis(0));
    let (asked, reloads) = watch::channel(0);
    let stop = CancellationToken::new();
    let keeper = identity.clone().keep_fresh(
        Duration::from_secs(60),
        reloads,
        Clock::over(test.clone()),
        stop.clone(),
    );
    let script = async {
        tokio::task::yield_now().await;
        folder.issue("b.test", 2041);
        test.advance(Duration::from_secs(60));
        until(|| identity.covers("b.test")).await;
        folder.issue("c.test", 2042);
        asked.send_modify(|times| *times += 1);
        until(|| identity.covers("c.test")).await;
        stop.cancel();
    };
    tokio::join!(keeper, script);
}

async fn until(reached: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if reached() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("not reached");
}
