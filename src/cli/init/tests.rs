use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use clap::Parser;

use super::*;
use crate::config::{Config, Environment};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    init: InitCommand,
}

fn command(dir: &Path, more: &[&str]) -> InitCommand {
    let dir = dir.to_str().unwrap();
    let line = [
        &[
            "init",
            "--domain",
            "Example.com",
            "--gateway-url",
            "https://amtp.example.com:8443",
            "--dir",
            dir,
        ],
        more,
    ];
    Line::try_parse_from(line.concat()).unwrap().init
}

#[test]
fn the_folder_that_is_written_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new/amtpd");
    command(&folder, &["--self-signed"]).run().unwrap();
    let config = Config::load(&folder.join("amtpd.yaml"), &Environment::default()).unwrap();
    assert_eq!(config.listen.https, "0.0.0.0:8443".parse().unwrap());
    assert_eq!(
        config.store.database.file().unwrap(),
        folder.join("data/amtpd.db")
    );
    assert_eq!(config.admin.key.reveal().len(), "adm_".len() + 16 + 1 + 43);
    assert!(config.secrets.is_some());
    assert!(config.signing.is_none(), "its record is not published yet");
    assert_eq!(config.policies.unwrap().dir, folder.join("policies"));
    let mode = |name| {
        fs::metadata(folder.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    for name in ["admin.key", "secrets.key", "signing.key", "tls/key.pem"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!((mode("data"), mode("tls")), (0o700, 0o700));
}

#[test]
fn a_service_finds_its_data_elsewhere_and_reads_the_keys_by_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("etc");
    let data = dir.path().join("var lib");
    let own = fs::metadata(dir.path()).unwrap().gid().to_string();
    let options = ["--self-signed", "--group", &own, "--data-dir"];
    let options = [&options[..], &[data.to_str().unwrap()]].concat();
    command(&folder, &options).run().unwrap();
    assert!(!folder.join("data").exists() && !data.exists());
    fs::create_dir(&data).unwrap();
    let config = Config::load(&folder.join("amtpd.yaml"), &Environment::default()).unwrap();
    assert_eq!(config.store.database.file().unwrap(), data.join("amtpd.db"));
    for (name, mode) in [
        ("admin.key", 0o640),
        ("secrets.key", 0o640),
        ("signing.key", 0o640),
        ("tls/key.pem", 0o640),
        ("tls", 0o750),
        ("amtpd.yaml", 0o644),
    ] {
        let facts = fs::metadata(folder.join(name)).unwrap();
        assert_eq!(facts.permissions().mode() & 0o777, mode, "{name}");
        assert_eq!(facts.gid().to_string(), own, "{name}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_is_written_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secrets.key"), "mine").unwrap();
    let error = command(dir.path(), &[]).run().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("secrets.key exists; nothing was written"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("secrets.key")).unwrap(),
        "mine"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_steps_name_the_record_and_the_missing_certificate() {
    let steps = command(Path::new("dir"), &[]).next_steps(&[]);
    let record = "_amtp.example.com. 3600 IN TXT \"v=amtp1;gateway=https://amtp.example.com:8443;max-size=10485760;features=agent-discovery,multi-recipient,domain-signatures,batch,wait\"";
    assert!(steps.contains(record), "{steps}");
    assert!(
        steps.contains("dir/tls/cert.pem") && steps.contains("amtp.example.com. 3600 IN A"),
        "{steps}"
    );
    let steps = command(Path::new("dir"), &["--self-signed"]).next_steps(&[]);
    assert!(!steps.contains("put the certificate"), "{steps}");
}

#[test]
fn the_profile_reaches_the_admin_api_on_this_machine() {
    let table = [
        (
            &[][..],
            "gateway: https://amtp.example.com:8444\nresolve: 127.0.0.1\n",
        ),
        (
            &["--listen-admin", "[::]:99"],
            "gateway: https://amtp.example.com:99\nresolve: ::1\n",
        ),
        (
            &["--listen-admin", "10.0.0.7:1"],
            "gateway: https://amtp.example.com:1\nresolve: 10.0.0.7\n",
        ),
    ];
    for (options, part) in table {
        let profile = command(Path::new("dir"), options).profile();
        assert!(profile.contains(part), "{profile}");
    }
}

#[test]
fn the_printed_commands_can_be_copied_from_any_folder_name() {
    let table = [
        ("gw/a.b-c", "gw/a.b-c"),
        ("d i r", "'d i r'"),
        ("it's;rm", r"'it'\''s;rm'"),
    ];
    for (path, shown) in table {
        assert_eq!(quoted(Path::new(path)), shown);
    }
}
