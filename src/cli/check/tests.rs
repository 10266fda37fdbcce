use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::clock::TestClock;
use crate::protocol::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// A folder as `amtpd init` writes it, for `https://amtp.example.com`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.init("https://amtp.example.com", folder.0.path());
        folder
    }

    fn init(&self, url: &str, dir: &Path) {
        let line = [
            "amtpd",
            "init",
            "--self-signed",
            "--domain",
            "example.com",
            "--gateway-url",
            url,
            "--dir",
        ];
        let line = line.iter().map(OsString::from).chain([dir.into()]);
        let _ = crate::cli::run(line);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn check(&self, clock: &Clock) -> Report {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let file = self.path("amtpd.yaml");
        runtime.block_on(Report::of(&file, &Environment::default(), clock))
    }

    fn edit(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.path("amtpd.yaml")).unwrap();
        assert!(text.contains(old));
        fs::write(self.path("amtpd.yaml"), text.replacen(old, new, 1)).unwrap();
    }

    /// The only fault: its key and text, and the line it points at.
    fn fault(&self) -> (String, String, String) {
        let report = self.check(&Clock::system());
        let [fault] = report.faults.as_slice() else {
            panic!("{report:?}");
        };
        let Place::File {
            line: Some(line), ..
        } = fault.place
        else {
            panic!("{fault:?}");
        };
        let text = fs::read_to_string(self.path("amtpd.yaml")).unwrap();
        let line = text.lines().nth(line - 1).unwrap().trim().to_owned();
        (fault.key.clone(), fault.text.clone(), line)
    }
}

fn days_from_now(days: u32) -> Clock {
    let now = Clock::system().now().as_millis();
    let clock = TestClock::at(Timestamp::from_millis(now));
    clock.advance(DAY * days);
    Clock::over(clock)
}

#[test]
fn a_broken_schema_is_a_fault_of_its_folder() {
    let folder = Folder::new();
    let line = "dir: schemas";
    fs::write(folder.path("schemas/good.json"), r#"{"$id": "a"}"#).unwrap();
    assert!(folder.check(&Clock::system()).valid);
    fs::write(
        folder.path("schemas/bad.json"),
        r#"{"$id": "b", "$ref": "c"}"#,
    )
    .unwrap();
    let (key, text, at) = folder.fault();
    assert_eq!((key.as_str(), at.as_str()), ("schemas.dir", line));
    assert!(
        text.contains("bad.json") && text.contains("\"c\""),
        "{text}"
    );
}

#[test]
fn a_broken_policy_is_a_fault_of_its_folder_with_its_place() {
    let folder = Folder::new();
    let file = folder.path("policies/zz.yaml");
    fs::write(&file, "version: \"1.0\"\nrules:\n  - action: alow\n").unwrap();
    let (key, text, at) = folder.fault();
    assert_eq!(
        (key.as_str(), at.as_str()),
        ("policies.dir", "dir: policies")
    );
    assert!(
        text.contains("zz.yaml:3") && text.contains("alow"),
        "{text}"
    );
}

#[test]
fn what_init_wrote_has_nothing_wrong() {
    let report = Folder::new().check(&Clock::system());
    assert!(report.valid && report.warnings.is_empty(), "{report:?}");
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({ "valid": true, "faults": [], "warnings": [] })
    );
}

#[test]
fn a_certificate_must_cover_the_gateway() {
    let folder = Folder::new();
    folder.edit("https://amtp.example.com", "https://other.example.com");
    let (key, text, line) = folder.fault();
    assert_eq!(
        (key.as_str(), line.as_str()),
        ("tls.cert_file", "cert_file: tls/cert.pem")
    );
    assert!(text.contains("does not cover other.example.com"), "{text}");
}

#[test]
fn a_key_must_belong_to_its_certificate() {
    let folder = Folder::new();
    folder.init("https://amtp.example.com", &folder.path("other"));
    folder.edit("key_file: tls/key.pem", "key_file: other/tls/key.pem");
    let (key, text, line) = folder.fault();
    assert_eq!(
        (key.as_str(), line.as_str()),
        ("tls.key_file", "key_file: other/tls/key.pem")
    );
    assert!(
        text.contains("does not belong to the certificate"),
        "{text}"
    );
}

#[test]
fn files_without_certificate_and_key_are_both_faults() {
    let folder = Folder::new();
    for name in ["tls/cert.pem", "tls/key.pem"] {
        fs::write(folder.path(name), "nothing\n").unwrap();
    }
    let report = folder.check(&Clock::system());
    let keys: Vec<&str> = report
        .faults
        .iter()
        .map(|fault| fault.key.as_str())
        .collect();
    assert_eq!(keys, ["tls.cert_file", "tls.key_file"]);
}

#[test]
fn a_certificate_is_for_certain_days() {
    let folder = Folder::new();
    let early = Clock::over(TestClock::at(Timestamp::from_millis(0)));
    assert!(
        folder.check(&early).faults[0]
            .text
            .contains("not valid before")
    );
    assert!(folder.check(&days_from_now(340)).warnings.is_empty());
    let soon = folder.check(&days_from_now(355));
    assert!(
        soon.valid && soon.warnings[0].text.contains("expires on"),
        "{soon:?}"
    );
    assert!(
        folder.check(&days_from_now(366)).faults[0]
            .text
            .contains("expired on")
    );
}

#[test]
fn keys_that_others_can_read_are_warned_of() {
    let folder = Folder::new();
    for name in ["admin.key", "secrets.key", "tls/key.pem"] {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let report = folder.check(&Clock::system());
    let keys: Vec<&str> = report
        .warnings
        .iter()
        .map(|warning| warning.key.as_str())
        .collect();
    assert_eq!(keys, ["tls.key_file", "admin.key_file", "secrets.key_file"]);
    assert!(
        report.valid
            && report
                .text(Path::new("x"))
                .contains("is valid: 0 faults, 3 warnings.")
    );
    fs::set_permissions(folder.path("admin.key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(folder.check(&Clock::system()).warnings.len(), 2);
}

#[test]
fn a_disk_below_the_floor_is_warned_of() {
    let folder = Folder::new();
    folder.edit("#min_free_disk: 512MiB", "min_free_disk: 8000000TiB");
    let report = folder.check(&Clock::system());
    assert!(
        report.valid && report.warnings[0].text.contains("MiB left"),
        "{report:?}"
    );
}

#[test]
fn the_faults_of_loading_are_in_the_report() {
    let folder = Folder::new();
    folder.edit("  #recipients: 100", "  recipients: many");
    let (key, _, line) = folder.fault();
    assert_eq!(
        (key.as_str(), line.as_str()),
        ("limits.recipients", "recipients: many")
    );
    let text = folder.check(&Clock::system()).text(Path::new("a.yaml"));
    assert!(
        text.ends_with("a.yaml cannot be used: 1 fault, 0 warnings.\n"),
        "{text}"
    );
}

/// Sets every file that connections to others use, under `tls` and for one peer.
fn set_outgoing(folder: &Folder) {
    folder.edit(
        "#trusted_ca_file: tls/ca.pem",
        "trusted_ca_file: tls/ca.pem",
    );
    folder.edit(
        "#client_cert_file: tls/cert.pem",
        "client_cert_file: tls/cert.pem",
    );
    folder.edit(
        "#client_key_file: tls/key.pem",
        "client_key_file: tls/key.pem",
    );
    folder.edit("\n  #partner.example:", "\n  Partner.example:");
    folder.edit("#authorization:", "authorization:");
    folder.edit("#client_cert: tls/cert.pem", "client_cert: peer/cert.pem");
    folder.edit("#client_key: tls/key.pem", "client_key: peer/key.pem");
    folder.edit("#trusted_ca: tls/ca.pem", "trusted_ca: peer/ca.pem");
    fs::create_dir(folder.path("peer")).unwrap();
    for name in ["cert.pem", "key.pem"] {
        fs::copy(
            folder.path("tls").join(name),
            folder.path("peer").join(name),
        )
        .unwrap();
    }
    for name in ["tls/ca.pem", "peer/ca.pem"] {
        fs::copy(folder.path("tls/cert.pem"), folder.path(name)).unwrap();
    }
    fs::write(folder.path("partner.key"), "Bearer token").unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(folder.path("partner.key"), mode).unwrap();
}

#[test]
fn what_connections_to_others_use_is_looked_at() {
    let folder = Folder::new();
    set_outgoing(&folder);
    let report = folder.check(&Clock::system());
    assert!(report.valid && report.warnings.is_empty(), "{report:?}");
    let table = [
        (
            "tls/ca.pem",
            "tls.trusted_ca_file",
            "there is no CERTIFICATE block",
        ),
        (
            "peer/ca.pem",
            "peers.partner.example.trusted_ca",
            "there is no CERTIFICATE block",
        ),
        (
            "peer/cert.pem",
            "peers.partner.example.client_cert",
            "there is no CERTIFICATE block",
        ),
        (
            "peer/key.pem",
            "peers.partner.example.client_key",
            "holds no usable private key",
        ),
    ];
    for (file, key, part) in table {
        let right = fs::read(folder.path(file)).unwrap();
        fs::write(folder.path(file), "nothing\n").unwrap();
        let (found, text, line) = folder.fault();
        assert_eq!(found, key);
        assert!(text.contains(part), "{text}");
        assert!(line.ends_with(file), "{line}");
        fs::write(folder.path(file), right).unwrap();
    }
}

#[test]
fn an_authority_must_be_a_certificate() {
    let folder = Folder::new();
    set_outgoing(&folder);
    let block = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n";
    fs::write(folder.path("peer/ca.pem"), block).unwrap();
    let (key, text, _) = folder.fault();
    assert_eq!(key, "peers.partner.example.trusted_ca");
    assert!(text.contains("holds no usable certificate"), "{text}");
}

#[test]
fn a_client_key_must_belong_to_its_certificate() {
    let folder = Folder::new();
    set_outgoing(&folder);
    folder.init("https://amtp.example.com", &folder.path("other"));
    folder.edit("peer/key.pem", "other/tls/key.pem");
    let (key, text, line) = folder.fault();
    assert_eq!(
        (key.as_str(), line.as_str()),
        (
            "peers.partner.example.client_key",
            "client_key: other/tls/key.pem"
        )
    );
    assert!(
        text.contains("does not belong to the certificate in peers.partner.example.client_cert"),
        "{text}"
    );
}

#[test]
fn client_certificates_end_and_their_keys_are_kept_from_others() {
    let folder = Folder::new();
    set_outgoing(&folder);
    let keys_of = |found: &[Fault]| -> Vec<String> {
        let keys = found.iter().map(|fault| fault.key.clone());
        keys.collect()
    };
    let certificates = [
        "tls.cert_file",
        "tls.client_cert_file",
        "peers.partner.example.client_cert",
    ];
    assert_eq!(
        keys_of(&folder.check(&days_from_now(366)).faults),
        certificates
    );
    assert_eq!(
        keys_of(&folder.check(&days_from_now(355)).warnings),
        certificates
    );
    for name in ["partner.key", "peer/key.pem"] {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert_eq!(
        keys_of(&folder.check(&Clock::system()).warnings),
        [
            "peers.partner.example.client_key",
            "peers.partner.example.authorization"
        ]
    );
}
