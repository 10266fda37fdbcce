//! Whole files, right and wrong.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

mod bridge;
mod issuers;
mod nested;
mod peers;
mod schemas;

/// A folder with the files a configuration names.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tls")).unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::create_dir(folder.path().join("schemas")).unwrap();
        for file in [
            "cert.pem",
            "key.pem",
            "tls/cert.pem",
            "tls/key.pem",
            "tls/ca.pem",
        ] {
            fs::write(folder.path().join(file), "x").unwrap();
        }
        fs::write(folder.path().join("partner.key"), "Bearer hidden\n").unwrap();
        fs::write(folder.path().join("admin.key"), "adm_0123456789abcdef\n").unwrap();
        let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        fs::write(folder.path().join("secrets.key"), key).unwrap();
        let key = include_str!("../protocol/signature/tests/p256.pem");
        fs::write(folder.path().join("signing.key"), key).unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        fs::write(folder.path().join("dkim.key"), key.serialize_pem()).unwrap();
        fs::write(folder.path().join("smarthost.password"), "geheim\n").unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What every configuration needs; eight lines.
    fn needed(&self) -> String {
        let database = self.path("amtpd.db");
        format!(
            "domains: [example.com, example.org]\ngateway_url: https://amtp.example.com\n\
             tls:\n  cert_file: cert.pem\n  key_file: key.pem\n\
             store: {{url: \"sqlite://{}\"}}\nadmin:\n  key_file: admin.key\n",
            database.display()
        )
    }

    fn load(&self, text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let file = self.path("amtpd.yaml");
        fs::write(&file, text).unwrap();
        let environment = Environment::of_pairs(variables.iter().copied());
        let folder = format!("{}/", self.0.path().display());
        Config::load(&file, &environment).map_err(|faults| {
            let lines = faults.faults().iter().map(ToString::to_string);
            lines.map(|line| line.replace(&folder, "")).collect()
        })
    }

    /// The faults of what every configuration needs and `more`, whose first line is line 9.
    fn faults(&self, more: &str) -> Vec<String> {
        self.load(&(self.needed() + more), &[]).unwrap_err()
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let folder = Folder::new();
    let config = folder.load(&folder.needed(), &[]).unwrap();
    assert_eq!(config.domains.len(), 2);
    assert_eq!(config.gateway_url.as_str(), "https://amtp.example.com");
    assert_eq!(
        config.listen.https,
        "0.0.0.0:443".parse::<SocketAddr>().unwrap()
    );
    assert_eq!(config.listen.admin, None);
    assert!(!config.listen.proxy_protocol && config.listen.trusted_proxies.is_empty());
    assert_eq!(config.tls.cert_file, folder.path("cert.pem"));
    assert_eq!(
        config.store.database.file().unwrap(),
        folder.path("amtpd.db")
    );
    assert!(config.secrets.is_none() && config.catch_all.is_none());
    assert_eq!(config.admin.key.reveal(), "adm_0123456789abcdef");
    assert_eq!(config.admin.from.len(), 2);
    assert_eq!(config.limits.message_size, 10 << 20);
    assert_eq!(config.limits.address_rate.to_string(), "1000/s");
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(120));
    assert_eq!(config.retention.settled, Duration::from_secs(7 * 86_400));
    assert_eq!(
        (config.log.format, config.log.level.as_str()),
        (LogFormat::Json, "info")
    );
}

#[test]
fn the_file_wins_over_defaults_and_the_environment_over_the_file() {
    let folder = Folder::new();
    let text = folder.needed()
        + "limits: {message_size: 1MiB, recipients: 7}\ncatch_all: rest\npostmaster: Ops@Example.org\nlisten:\n";
    let variables = [
        ("AMTPD__LIMITS__MESSAGE_SIZE", "2MiB"),
        ("amtpd__listen__Admin", "127.0.0.1:8444"),
        ("AMTPD__LISTEN__TRUSTED_PROXIES", "[10.0.0.0/8, \"::1\"]"),
        ("AMTPD__LOG__LEVEL", "warn"),
        ("AMTPD__SECRETS__KEY_FILE", "env:SEAL"),
        ("SEAL", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ];
    let config = folder.load(&text, &variables).unwrap();
    assert_eq!(
        (config.limits.message_size, config.limits.recipients),
        (2 << 20, 7)
    );
    assert_eq!(config.listen.admin, Some("127.0.0.1:8444".parse().unwrap()));
    assert_eq!(config.listen.trusted_proxies.len(), 2);
    assert_eq!(config.log.level, "warn");
    assert!(config.secrets.unwrap().key.reveal().starts_with("MDEy"));
    assert_eq!(config.catch_all.unwrap().as_str(), "rest@example.com");
    assert_eq!(config.postmaster.unwrap().as_str(), "Ops@example.org");
}

#[test]
fn a_credential_of_systemd_is_found() {
    let folder = Folder::new();
    let text = folder
        .needed()
        .replace("admin.key", "$CREDENTIALS_DIRECTORY/admin.key");
    let directory = folder.0.path().to_str().unwrap().to_owned();
    let config = folder
        .load(&text, &[("CREDENTIALS_DIRECTORY", &directory)])
        .unwrap();
    assert_eq!(config.admin.key.reveal(), "adm_0123456789abcdef");
    let faults = folder.load(&text, &[]).unwrap_err();
    assert!(faults[0].contains("LoadCredential"), "{faults:?}");
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let folder = Folder::new();
    let text = "\
gateway_url: http://amtp.example.com
domians: [example.com]
listen:
  https: 443
  admin: 127.0.0.1:8444
  ops: 0.0.0.0:8444
tls:
  cert_file: nothing.pem
limits:
  message_size: 10 MB
  message_size: 1KiB
  recipients: 0
  idle_timeout: 2
admin: {key_file: 'admin.key', from: [10.0.0.0/8, 10.0.0.1/8, home]}
";
    let faults = folder.load(
        text,
        &[("AMTPD__LOG__LEVL", "warn"), ("AMTPD__LOG__FORMAT", "xml")],
    );
    let faults = faults.unwrap_err();
    let beginnings = [
        "amtpd.yaml: domains: is missing; set it to a list",
        "amtpd.yaml: store.url: is missing; set it to `sqlite://` and an absolute path",
        "amtpd.yaml:1:14: gateway_url: \"http://amtp.example.com\" is not an https URL",
        "amtpd.yaml:2:1: domians: is no key; did you mean `domains`?",
        "amtpd.yaml:4:10: listen.https: \"443\" is not an IP address and a port, such as `127.0.0.1:8443`",
        "amtpd.yaml:7:1: tls.key_file: is missing",
        "amtpd.yaml:8:14: tls.cert_file: \"nothing.pem\" cannot be read: nothing.pem: there is no such file",
        "amtpd.yaml:10:17: limits.message_size: \"10 MB\" is not a size",
        "amtpd.yaml:11:3: limits.message_size: stands twice",
        "amtpd.yaml:12:15: limits.recipients: \"0\" is too little: at least 1",
        "amtpd.yaml:13:17: limits.idle_timeout: \"2\" is not a duration",
        "amtpd.yaml:14:51: admin.from: \"10.0.0.1/8\" has bits beyond its prefix; write `10.0.0.0/8`",
        "amtpd.yaml:14:63: admin.from: \"home\" is not an IP address",
        "environment variable AMTPD__LOG__FORMAT: log.format: \"xml\" is not `json` or `text`",
        "environment variable AMTPD__LOG__LEVL: sets no key; did you mean AMTPD__LOG__LEVEL?",
    ];
    assert_eq!(faults.len(), beginnings.len(), "{faults:#?}");
    for (fault, beginning) in faults.iter().zip(beginnings) {
        assert!(fault.starts_with(beginning), "{fault}\n{beginning}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn one_wrong_line_is_one_fault() {
    let folder = Folder::new();
    let table = [
        (
            "limits: 5\n",
            "amtpd.yaml:9:1: limits: must hold keys, such as `message_size: 64KiB`",
        ),
        (
            "limits:\n  mesage_size: 1MiB\n",
            "amtpd.yaml:10:3: limits.mesage_size: is no key; did you mean `message_size`?",
        ),
        (
            "message_size: 1MiB\n",
            "amtpd.yaml:9:1: message_size: is no key; did you mean `limits.message_size`?",
        ),
        (
            "retension: {settled: 1d}\n",
            "amtpd.yaml:9:1: retension: is no key; did you mean `retention`?",
        ),
        (
            "retention: {foo: 1d}\n",
            "amtpd.yaml:9:13: retention.foo: is no key; known here: settled, acknowledged",
        ),
        (
            "features: {fast: true}\n",
            "amtpd.yaml:9:12: features.fast: is no key; `features` has none",
        ),
        (
            "limits: {message_size: }\n",
            "amtpd.yaml:9:24: limits.message_size: has no value; give it a size from",
        ),
        (
            "limits:\n  message_size: # later\n\n  recipients: 5\n",
            "amtpd.yaml:10:16: limits.message_size: has no value",
        ),
        (
            "limits: {message_size: [1]}\n",
            "amtpd.yaml:9:24: limits.message_size: is a list, but must be a size",
        ),
        (
            "limits: {message_size: {a: 1}}\n",
            "amtpd.yaml:9:24: limits.message_size: has keys of its own",
        ),
        (
            "limits: {message_size: 1TiB}\n",
            "amtpd.yaml:9:24: limits.message_size: \"1TiB\" is too much: at most 1GiB",
        ),
        (
            "limits: {address_rate: 100}\n",
            "amtpd.yaml:9:24: limits.address_rate: \"100\" is not a rate",
        ),
        (
            "listen:\n  trusted_proxies: 10.0.0.0/8\n",
            "amtpd.yaml:10:20: listen.trusted_proxies: must be a list, such as",
        ),
        (
            "listen:\n  proxy_protocol: yes\n",
            "amtpd.yaml:10:19: listen.proxy_protocol: \"yes\" is not `true` or `false`",
        ),
        (
            "listen:\n  admin: 127.0.0.1:443\n",
            "amtpd.yaml:10:10: listen.admin: \"127.0.0.1:443\" is taken by listen.https",
        ),
        (
            "listen:\n  smtp: 127.0.0.1:443\npostmaster: ops\n",
            "amtpd.yaml:10:9: listen.smtp: \"127.0.0.1:443\" is taken by listen.https",
        ),
        (
            "listen:\n  smtp: 127.0.0.1:25\n",
            "amtpd.yaml:10:9: listen.smtp: needs postmaster: name the agent",
        ),
        (
            "smtp: {recipients: 0}\n",
            "amtpd.yaml:9:20: smtp.recipients: \"0\" is too little: at least 1",
        ),
        (
            "listen:\n  proxy_protocol: true\n",
            "amtpd.yaml:10:19: listen.proxy_protocol: means nothing while listen.trusted_proxies is empty",
        ),
        (
            "limits:\n\tmessage_size: 1MiB\n",
            "amtpd.yaml:10:1: is not YAML: found character that cannot start any token; indent with blanks",
        ),
        (
            "catch_all: rest@other.example\n",
            "amtpd.yaml:9:12: catch_all: \"rest@other.example\" is not in one of our domains",
        ),
        (
            "catch_all: PostMaster\n",
            "amtpd.yaml:9:12: catch_all: \"PostMaster\" is a name the gateway keeps",
        ),
        (
            "abuse: a b\n",
            "amtpd.yaml:9:8: abuse: \"a b\" is not the name of a local agent",
        ),
        (
            "secrets: {key_file: admin.key}\n",
            "amtpd.yaml:9:21: secrets.key_file: \"admin.key\" does not hold 32 bytes",
        ),
        (
            "secrets: {key_file: env:SEAL}\n",
            "amtpd.yaml:9:21: secrets.key_file: \"env:SEAL\" names \"SEAL\", which is not set",
        ),
        ("secrets:\n", "amtpd.yaml:9:1: secrets.key_file: is missing"),
        (
            "secrets: {key_file: secrets.key, previous: [secrets.key, admin.key]}\n",
            "amtpd.yaml:9:58: secrets.previous: \"admin.key\" does not hold 32 bytes",
        ),
        (
            "log: {level: loud}\n",
            "amtpd.yaml:9:14: log.level: \"loud\" is not `error`",
        ),
        (
            "log: {level: \"info,a=b=c\"}\n",
            "amtpd.yaml:9:14: log.level: \"info,a=b=c\" is not `error`",
        ),
        (
            "domains: [example.com]\n",
            "amtpd.yaml:9:1: domains: stands twice",
        ),
        ("log: [\n", "amtpd.yaml:10:1: is not YAML"),
    ];
    for (line, beginning) in table {
        let faults = folder.faults(line);
        assert_eq!(faults.len(), 1, "{line}: {faults:#?}");
        assert!(
            faults[0].starts_with(beginning),
            "{}\n{beginning}",
            faults[0]
        );
    }
}

#[test]
fn values_that_are_needed_are_checked_too() {
    let folder = Folder::new();
    let needed = folder.needed();
    let database = format!("sqlite://{}", folder.path("amtpd.db").display());
    let table = [
        (
            "[example.com, example.org]",
            "[]",
            "amtpd.yaml:1:10: domains: is empty; name at least one",
        ),
        (
            "[example.com, example.org]",
            "[a.example, A.example]",
            "amtpd.yaml:1:10: domains: names a.example twice",
        ),
        (
            "[example.com, example.org]",
            "[\"-a\"]",
            "amtpd.yaml:1:11: domains: \"-a\" is not a domain",
        ),
        (
            &database,
            "sqlite://data.db",
            "amtpd.yaml:6:14: store.url: \"sqlite://data.db\" is not `sqlite://` and",
        ),
        (
            &database,
            "mysql://x/y",
            "amtpd.yaml:6:14: store.url: \"mysql://x/y\" is not",
        ),
        (
            &database,
            "sqlite:///nowhere/a.db",
            "amtpd.yaml:6:14: store.url: \"sqlite:///nowhere/a.db\" lies in /nowhere,",
        ),
        (
            "cert.pem",
            ".",
            "amtpd.yaml:4:14: tls.cert_file: \".\" is a directory",
        ),
        (
            "admin.key",
            "key.pem",
            "amtpd.yaml:8:13: admin.key_file: \"key.pem\" holds a secret that is too short",
        ),
    ];
    for (old, new, beginning) in table {
        let faults = folder.load(&needed.replace(old, new), &[]).unwrap_err();
        assert_eq!(faults.len(), 1, "{new}: {faults:#?}");
        assert!(
            faults[0].starts_with(beginning),
            "{}\n{beginning}",
            faults[0]
        );
    }
}

#[test]
fn a_file_that_is_not_there_empty_or_no_map_is_a_fault() {
    let folder = Folder::new();
    let faults = Config::load(&folder.path("none.yaml"), &Environment::default()).unwrap_err();
    assert!(
        faults.to_string().contains("none.yaml: cannot be read"),
        "{faults}"
    );
    assert_eq!(folder.load("", &[]).unwrap_err().len(), 6);
    let faults = folder.load("- a\n", &[]).unwrap_err();
    assert_eq!(
        faults,
        ["amtpd.yaml:1:1: must hold keys, such as `domains: [\"example.com\"]`"]
    );
}

#[test]
fn variables_that_set_nothing_are_faults() {
    let folder = Folder::new();
    let table = [
        (
            vec![("AMTPD__LIMITS__RECIPIENT", "1")],
            "did you mean AMTPD__LIMITS__RECIPIENTS?",
        ),
        (vec![("AMTPD__LIMITS", "1")], "sets no key"),
        (vec![("AMTPD__A__B__C", "1")], "sets no key"),
        (
            vec![("AMTPD__DELIVERY__RETRY__MAXI", "1h")],
            "did you mean AMTPD__DELIVERY__RETRY__MAX?",
        ),
        (vec![("AMTPD__DELIVERY__RETRY", "1h")], "sets no key"),
        (
            vec![("AMTPD__NET__ALLOW__WEBHOOKS", "10.0.0.0/8")],
            "net.allow.webhooks: must be a list",
        ),
        (vec![("AMTPD__DOMAINS", "[a")], "is not YAML"),
        (vec![("AMTPD__DOMAINS", "a.example")], "must be a list"),
        (
            vec![("AMTPD__POSTMASTER", "")],
            "\"\" is not the name of a local agent",
        ),
        (
            vec![("AMTPD__ABUSE", "a"), ("amtpd__abuse", "b")],
            "is set twice",
        ),
    ];
    for (variables, part) in table {
        let faults = folder.load(&folder.needed(), &variables).unwrap_err();
        assert_eq!(faults.len(), 1, "{variables:?}: {faults:#?}");
        assert!(
            faults[0].starts_with("environment variable"),
            "{}",
            faults[0]
        );
        assert!(faults[0].contains(part), "{}\n{part}", faults[0]);
    }
}

#[test]
fn the_places_of_what_loaded_are_kept() {
    let folder = Folder::new();
    let file = folder.path("amtpd.yaml");
    fs::write(&file, folder.needed()).unwrap();
    let environment = Environment::of_pairs([("AMTPD__LOG__LEVEL", "warn")]);
    let (_, places) = Config::load_with_places(&file, &environment).unwrap();
    let place = |line, column| Place::File {
        file: file.clone(),
        line,
        column,
    };
    assert_eq!(places.find("tls.key_file"), place(Some(5), Some(13)));
    assert_eq!(places.find("limits.message_size"), place(None, None));
    let variable = "AMTPD__LOG__LEVEL".to_owned();
    assert_eq!(places.find("log.level"), Place::Variable { variable });
}

#[test]
fn the_written_file_loads_and_so_do_its_comments() {
    let folder = Folder::new();
    let database = format!("\"sqlite://{}\"", folder.path("amtpd.db").display());
    let given = [
        ("domains", "[example.com]".to_owned()),
        ("gateway_url", "https://amtp.example.com".to_owned()),
        ("tls.cert_file", "cert.pem".to_owned()),
        ("tls.key_file", "key.pem".to_owned()),
        ("store.url", database),
        ("admin.key_file", "admin.key".to_owned()),
        ("listen.ops", "127.0.0.1:9090".to_owned()),
    ];
    let text = template(&given);
    let config = folder.load(&text, &[]).unwrap();
    assert_eq!(config.listen.ops, Some("127.0.0.1:9090".parse().unwrap()));
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    // A commented key stands without a blank after its sign: taking the sign away sets it.
    let set: Vec<String> = text.lines().map(uncommented).collect();
    let config = folder.load(&set.join("\n"), &[]).unwrap();
    assert_eq!(config.abuse.unwrap().as_str(), "ops@example.com");
    assert!(config.secrets.is_some());
    assert_eq!(config.signing.unwrap().selector.as_str(), "k1");
    assert_eq!(config.delivery.retry.attempts, 168);
    let peer = config.peers.into_values().next().unwrap();
    assert_eq!(peer.authorization.unwrap().reveal(), "Bearer hidden");
}

fn uncommented(line: &str) -> String {
    match line.split_once('#') {
        Some((indent, rest)) if !rest.starts_with(' ') => format!("{indent}{rest}"),
        _ => line.to_owned(),
    }
}
