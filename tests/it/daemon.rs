//! The daemon as an operator meets it: start, refusal to start, reload, a full disk, the end.

use std::process::Command;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::small_disk::SmallDisk;
use crate::support::{Agent, Daemon, amtpd, pause, words};

async fn send(daemon: &Daemon, from: &Agent, payload: Value) -> (StatusCode, Value) {
    let body = json!({ "sender": from.address, "recipients": [from.address], "payload": payload });
    daemon
        .call(Method::POST, "/v1/messages", Some(&from.key), Some(body))
        .await
}

#[tokio::test]
async fn a_terminated_gateway_ends_well_and_goes_on_where_it_was() {
    let mut daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    assert_eq!(
        send(&daemon, &alice, json!(1)).await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(daemon.terminate(), Some(0));
    daemon.run().await;
    assert_eq!(daemon.inbox(&alice).await.len(), 1);
}

#[tokio::test]
async fn a_second_gateway_on_one_database_is_refused() {
    let daemon = Daemon::start(&[]).await;
    let second = daemon
        .serve()
        .env("AMTPD__LISTEN__HTTPS", "127.0.0.1:0")
        .env("AMTPD__LISTEN__ADMIN", "127.0.0.1:0")
        .env("AMTPD__LISTEN__OPS", "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        words(&second).contains("is in use by another amtpd"),
        "{}",
        words(&second)
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let one = Daemon::start(&[]).await;
    let other = Daemon::prepare(&[]);
    let address = format!("127.0.0.1:{}", one.port());
    let refused = other
        .serve()
        .env("AMTPD__LISTEN__HTTPS", &address)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(words(&refused).contains(&address), "{}", words(&refused));
}

#[test]
fn every_fault_of_a_configuration_is_told_at_once() {
    let daemon = Daemon::prepare(&[]);
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    let broken = format!("{text}\nlimitz:\n  message_size: 1MiB\n");
    std::fs::write(daemon.config(), broken).unwrap();
    for command in ["check", "serve"] {
        let refused = amtpd()
            .args([command, "--config"])
            .arg(daemon.config())
            .env("AMTPD__RETENTION__SETTLED", "soon")
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(78), "{command}");
        let said = words(&refused);
        assert!(
            said.contains("limitz") && said.contains("did you mean `limits`"),
            "{said}"
        );
        assert!(said.contains("AMTPD__RETENTION__SETTLED"), "{said}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_a_reload() {
    let daemon = Daemon::start(&[]).await;
    let before = certificate(&daemon);
    let other = Daemon::prepare(&[]);
    for file in ["tls/cert.pem", "tls/key.pem"] {
        let from = other.config().parent().unwrap().join(file);
        std::fs::copy(from, daemon.config().parent().unwrap().join(file)).unwrap();
    }
    daemon.hang_up();
    for _ in 0..200 {
        if certificate(&daemon) != before {
            return;
        }
        pause(std::time::Duration::from_millis(20)).await;
    }
    panic!("the old certificate is still shown");
}

/// The certificate a fresh connection is shown.
fn certificate(daemon: &Daemon) -> String {
    let script =
        "import ssl, sys; print(ssl.get_server_certificate(('127.0.0.1', int(sys.argv[1]))))";
    let shown = Command::new("python3")
        .args(["-c", script, &daemon.port().to_string()])
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", words(&shown));
    words(&shown)
}

#[tokio::test]
async fn a_full_disk_refuses_new_mail_and_recovers_by_itself() {
    let disk = SmallDisk::mount();
    let url = format!("sqlite://{}/amtpd.db", disk.path());
    let daemon = Daemon::start(&[
        ("AMTPD__STORE__URL", &url),
        ("AMTPD__LIMITS__MIN_FREE_DISK", "8MiB"),
    ])
    .await;
    let alice = daemon.agent("alice").await;
    assert_eq!(
        send(&daemon, &alice, json!(1)).await.0,
        StatusCode::ACCEPTED
    );
    let filler = format!("{}/filler", disk.path());
    std::fs::write(&filler, vec![0; 26 * 1024 * 1024]).unwrap();
    until(&daemon, &alice, StatusCode::SERVICE_UNAVAILABLE).await;
    let (status, answer) = send(&daemon, &alice, json!(2)).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("TEMPORARY_FAILURE"))
    );
    assert_eq!(
        daemon.call(Method::GET, "/ready", None, None).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let mail = daemon.inbox(&alice).await;
    let id = mail[0]["message_id"].as_str().unwrap();
    let path = format!("/v1/inbox/{}/{id}", alice.address);
    assert_eq!(
        daemon
            .call(Method::DELETE, &path, Some(&alice.key), None)
            .await
            .0,
        StatusCode::OK
    );
    std::fs::remove_file(filler).unwrap();
    until(&daemon, &alice, StatusCode::ACCEPTED).await;
}

/// Sends until the gateway has looked at its disk.
async fn until(daemon: &Daemon, alice: &Agent, wanted: StatusCode) {
    for _ in 0..200 {
        if send(daemon, alice, json!(0)).await.0 == wanted {
            return;
        }
        pause(std::time::Duration::from_millis(50)).await;
    }
    panic!("never answered {wanted}");
}

#[tokio::test]
async fn a_backup_made_while_running_can_be_restored() {
    let mut daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    assert_eq!(
        send(&daemon, &alice, json!("kept")).await.0,
        StatusCode::ACCEPTED
    );
    let copy = daemon.folder.path().join("copy.db");
    let run = |what: &str| {
        amtpd()
            .arg(what)
            .arg(&copy)
            .arg("--config")
            .arg(daemon.config())
            .output()
            .unwrap()
    };
    let made = run("backup");
    assert!(
        made.status.success() && words(&made).contains("1 messages"),
        "{}",
        words(&made)
    );
    assert_eq!(run("restore").status.code(), Some(1), "the gateway runs");
    assert_eq!(
        send(&daemon, &alice, json!("lost")).await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(daemon.terminate(), Some(0));
    let restored = amtpd()
        .arg("restore")
        .arg(&copy)
        .arg("--config")
        .arg(daemon.config())
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", words(&restored));
    daemon.run().await;
    let mail = daemon.inbox(&alice).await;
    assert_eq!(mail.len(), 1);
    assert_eq!(mail[0]["payload"], "kept");
}

#[tokio::test]
async fn the_log_is_json_and_holds_no_secret() {
    let daemon = Daemon::start(&[("AMTPD__LOG__LEVEL", "debug")]).await;
    let alice = daemon.agent("alice").await;
    assert_eq!(
        send(&daemon, &alice, json!("payload-secret")).await.0,
        StatusCode::ACCEPTED
    );
    let log = std::fs::read_to_string(daemon.log()).unwrap();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    assert!(
        log.contains("message.id"),
        "no line carries the message's id"
    );
    assert!(
        !log.contains(&alice.key) && !log.contains("payload-secret"),
        "a secret is in the log"
    );
}
