//! `amtpd import agentry`: what agents had at the Go gateway they have here, once.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::agentry_database::{AgentryDatabase, id};
use crate::support::postgres::Cluster;
use crate::support::{Agent, Daemon, amtpd, words};

const SALT: &str = "the salt of before";
/// Keys as Agentry makes them.
const ALICE: &str = "A-lice5678901234567890123456789012345678901";
const BOB: &str = "B_ob-55678901234567890123456789012345678901x";

fn both() -> [Daemon; 2] {
    let url = Cluster::shared().database();
    [
        Daemon::prepare(&[]),
        Daemon::prepare(&[("AMTPD__STORE__URL", &url)]),
    ]
}

/// A gateway that knows the salt.
fn salted(mut daemon: Daemon) -> Daemon {
    let file = daemon.folder.path().join("salt");
    std::fs::write(&file, format!("{SALT}\n")).unwrap();
    let variable = (
        "AMTPD__AGENTRY__KEY_SALT".to_owned(),
        format!("file:{}", file.display()),
    );
    daemon.variables.push(variable);
    daemon
}

fn import(daemon: &Daemon, from: &AgentryDatabase, more: &[&str]) -> Output {
    command(daemon, &from.url, more).output().unwrap()
}

fn command(daemon: &Daemon, url: &str, more: &[&str]) -> std::process::Command {
    let mut command = amtpd();
    command
        .args(["import", "agentry", "--json", "--config"])
        .arg(daemon.config())
        .args(more)
        .env("AGENTRY_DATABASE", url)
        .envs(daemon.variables.iter().map(|(name, value)| (name, value)));
    command
}

fn report(daemon: &Daemon, from: &AgentryDatabase, more: &[&str]) -> Value {
    let output = import(daemon, from, more);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn count(imported: u64, present: u64) -> Value {
    json!({ "imported": imported, "present": present })
}

fn agent(name: &str, key: &str) -> Agent {
    Agent {
        address: format!("{name}@it.test"),
        key: key.to_owned(),
    }
}

fn ids(mail: &[Value]) -> Vec<String> {
    let id = |message: &Value| message["message_id"].as_str().unwrap().to_owned();
    mail.iter().map(id).collect()
}

/// The reason for which something was refused.
fn reason<'a>(report: &'a Value, what: &str, name: &str) -> &'a str {
    let refused = report["refused"].as_array().unwrap();
    let found = refused
        .iter()
        .find(|it| it["what"] == what && it["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{what} {name} is not refused: {report}"));
    found["reason"].as_str().unwrap()
}

/// What the audit log has of the first import.
async fn logged(daemon: &Daemon) -> Value {
    let log = "/v1/admin/audit?chain=import";
    let (_, log) = daemon.admin(Method::GET, log, None).await;
    let entry = &log["entries"][0]["entry"];
    assert_eq!(entry["event"], "import.agentry", "{log}");
    assert_eq!(entry["outcome"], "done");
    entry["details"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_keep_their_keys_and_their_unread_mail() {
    for daemon in both() {
        let mut daemon = salted(daemon);
        let from = AgentryDatabase::new();
        from.agent("alice@it.test", ALICE, SALT);
        from.agent("bob@it.test", BOB, SALT);
        for number in 1..=20 {
            let sender = format!("peer-{}@far.test", number % 2);
            let to: &[&str] = match number % 3 {
                0 => &["alice@it.test", "bob@it.test"],
                _ => &["alice@it.test"],
            };
            from.mail(number, &sender, to);
        }
        from.run(&format!(
            "UPDATE recipient_statuses SET acknowledged = true WHERE message_id = '{}'; \
             UPDATE messages SET in_reply_to = '{}', schema = 'agntcy:shop.order.v1', headers = '{{\"priority\": \"high\"}}' \
             WHERE message_id = '{}'; \
             INSERT INTO schemas (domain, entity, version, definition) VALUES ('shop', 'order', 'v1', '{{\"type\": \"object\"}}')",
            id(2),
            id(1),
            id(4)
        ));
        let first = report(&daemon, &from, &[]);
        assert_eq!(first["agents"], count(2, 0), "{first}");
        assert_eq!(first["keys"], count(2, 0), "{first}");
        assert_eq!(first["schemas"], count(1, 0), "{first}");
        assert_eq!(first["mail"], count(25, 0), "{first}");
        assert_eq!(first["refused"], json!([]));

        daemon.run().await;
        let counts = json!({ "agents": 2, "keys": 2, "schemas": 1, "mail": 25, "refused": 0 });
        assert_eq!(logged(&daemon).await, counts);
        let (alice, bob) = (agent("alice", ALICE), agent("bob", BOB));
        let mail = daemon.inbox(&alice).await;
        let wanted: Vec<_> = (1..=20).filter(|number| *number != 2).map(id).collect();
        assert_eq!(
            ids(&mail),
            wanted,
            "in the order they came, under their own ids"
        );
        assert_eq!(mail[0]["payload"], json!({ "number": 1 }));
        assert_eq!(mail[0]["timestamp"], "2026-01-02T03:04:05.678901Z");
        assert_eq!(
            mail[0]["sender_verification"]["result"], "verified",
            "{}",
            mail[0]
        );
        assert_eq!(mail[0]["sender_verification"]["method"], "agentry");
        assert_eq!(mail[2]["in_reply_to"], id(1));
        assert_eq!(mail[2]["headers"]["priority"], "high");
        assert_eq!(ids(&daemon.inbox(&bob).await).len(), 6);
        let (status, _) = daemon
            .call(Method::GET, "/v1/inbox/bob@it.test", Some(ALICE), None)
            .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "a key is one agent's");
        // A key that was used is kept under our own hash: the salt is not needed for it any more.
        let path = format!("/v1/inbox/{}/{}", alice.address, id(1));
        let (status, _) = daemon.call(Method::DELETE, &path, Some(ALICE), None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(daemon.terminate(), Some(0));
        let salt = daemon.variables.pop();
        daemon.run().await;
        assert_eq!(daemon.inbox(&alice).await.len(), 18);
        assert_eq!(daemon.terminate(), Some(0));
        daemon.variables.extend(salt);

        from.mail(21, "peer-0@far.test", &["alice@it.test"]);
        let second = report(&daemon, &from, &[]);
        assert_eq!(second["agents"], count(0, 2), "{second}");
        assert_eq!(second["keys"], count(0, 2), "{second}");
        assert_eq!(second["schemas"], count(0, 1), "{second}");
        assert_eq!(
            second["mail"],
            count(1, 25),
            "what was read here does not come back: {second}"
        );
        daemon.run().await;
        let mail = ids(&daemon.inbox(&alice).await);
        assert_eq!(mail.len(), 19);
        assert_eq!(mail.last(), Some(&id(21)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_beside_a_running_gateway() {
    let [mut file, mut shared] = both();
    let from = AgentryDatabase::new();
    from.agent("alice@it.test", ALICE, "");
    from.mail(1, "peer@far.test", &["alice@it.test"]);
    let shares = file
        .variables
        .iter()
        .any(|(name, _)| name == "AMTPD__STORE__URL");
    file.run().await;
    let refused = import(&file, &from, &[]);
    if shares {
        // The test command wants every gateway on PostgreSQL.
        assert!(refused.status.success(), "{}", words(&refused));
        return;
    }
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        words(&refused).contains("is in use by another amtpd"),
        "{}",
        words(&refused)
    );
    shared.run().await;
    report(&shared, &from, &[]);
    assert_eq!(ids(&shared.inbox(&agent("alice", ALICE)).await), [id(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_broken_off_goes_on() {
    const MESSAGES: u32 = 1_500;
    for mut daemon in both() {
        let from = AgentryDatabase::new();
        from.agent("alice@it.test", ALICE, "");
        from.mail(1, "peer@far.test", &["alice@it.test"]);
        from.run(&format!(
            "INSERT INTO messages (version, message_id, idempotency_key, timestamp, sender, recipients, payload) \
             SELECT '1.0', ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, \
             ('9c000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, now(), 'peer@far.test', '[\"alice@it.test\"]', '1' \
             FROM generate_series(2, {MESSAGES}) n; \
             INSERT INTO recipient_statuses (message_id, address, status, local_delivery, inbox_delivered) \
             SELECT message_id, 'alice@it.test', 'delivered', true, true FROM messages WHERE id > 1"
        ));
        let mut process = command(&daemon, &from.url, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        while !said.contains("1000 of 1500") {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let again = report(&daemon, &from, &[]);
        assert_eq!(again["agents"], count(0, 1), "{again}");
        let present = again["mail"]["present"].as_u64().unwrap();
        assert!((1_000..1_500).contains(&present), "{again}");
        assert_eq!(
            again["mail"]["imported"],
            u64::from(MESSAGES) - present,
            "{again}"
        );
        daemon.run().await;
        let mail = ids(&daemon.inbox(&agent("alice", ALICE)).await);
        assert_eq!(mail, (1..=MESSAGES).map(id).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_over_is_named() {
    let mut daemon = Daemon::prepare(&[]);
    let from = AgentryDatabase::new();
    from.agent("alice@it.test", ALICE, "");
    from.agent("Alice@it.test", BOB, "");
    from.agent("twin@it.test", ALICE, "");
    from.agent("eve@other.test", "e", "");
    from.agent("postmaster@it.test", "p", "");
    from.run(
        "INSERT INTO agents (address, delivery_mode, push_target, headers, api_key, supported_schemas) VALUES \
         ('hook@it.test', 'push', 'https://hook.test/in', '{\"Authorization\": \"Bearer x\", \"Host\": \"y\"}', 'short', '[\"agntcy:shop.*\", \"\"]'), \
         ('odd@it.test', 'smoke', NULL, NULL, NULL, NULL), \
         ('file@it.test', 'push', 'ftp://hook.test/in', NULL, NULL, NULL); \
         INSERT INTO schemas (domain, entity, version, definition) VALUES \
         ('shop', 'order', 'v1', '{\"type\": 7}'), ('shop', 'order', 'latest', '{}')",
    );
    from.mail(
        1,
        "peer@far.test",
        &["alice@it.test", "nobody@it.test", "x@other.test"],
    );
    from.mail(2, "no address", &["alice@it.test"]);
    from.mail(3, "peer@far.test", &["hook@it.test"]);
    from.run(&format!(
        "UPDATE recipient_statuses SET status = 'retrying', inbox_delivered = false WHERE message_id = '{}'",
        id(3)
    ));
    let report = report(&daemon, &from, &[]);
    assert_eq!(report["agents"], count(3, 0), "{report}");
    assert_eq!(report["keys"], count(1, 0), "{report}");
    assert_eq!(report["mail"], count(1, 0), "{report}");
    let one = format!("{} for nobody@it.test", id(1));
    let other = format!("{} for x@other.test", id(1));
    let three = format!("{} for hook@it.test", id(3));
    for (what, name, because) in [
        ("agent", "Alice@it.test", "names are compared without case"),
        (
            "agent",
            "eve@other.test",
            "is not of a domain of this gateway",
        ),
        ("agent", "postmaster@it.test", "is a reserved name"),
        ("agent", "odd@it.test", "its delivery mode is \"smoke\""),
        ("agent", "file@it.test", "push_target must be an absolute"),
        ("key", "twin@it.test", "another agent has the same key"),
        ("key", "hook@it.test", "no key that could be known here"),
        (
            "header",
            "hook@it.test",
            "headers.Host is set by the gateway",
        ),
        ("schema", "agntcy:shop.order.v1", "type"),
        ("message", &one, "no agent of this address is here"),
        ("message", &other, "of no domain of this gateway"),
        ("message", &id(2), "sender"),
        (
            "message",
            &three,
            "Agentry had not delivered it (it is retrying there)",
        ),
    ] {
        let said = reason(&report, what, name);
        assert!(said.contains(because), "{what} {name}: {said}");
    }
    daemon.run().await;
    let (_, shown) = daemon
        .admin(Method::GET, "/v1/admin/agents/hook@it.test", None)
        .await;
    assert_eq!(shown["agent"]["has_headers"], true, "{shown}");
    assert_eq!(
        shown["agent"]["supported_schemas"],
        json!(["agntcy:shop.*"])
    );
    assert_eq!(daemon.inbox(&agent("alice", ALICE)).await.len(), 1);
    let (status, _) = daemon
        .call(Method::GET, "/v1/inbox/twin@it.test", Some(ALICE), None)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_version_kept_keys_as_they_are() {
    let mut daemon = Daemon::prepare(&[]);
    let from = AgentryDatabase::old();
    from.run(&format!(
        "INSERT INTO agents (address, delivery_mode, api_key) VALUES ('alice@it.test', 'pull', '{ALICE}')"
    ));
    from.mail(1, "peer@far.test", &["alice@it.test"]);
    let report = report(&daemon, &from, &[]);
    assert_eq!(report["keys"], count(1, 0), "{report}");
    daemon.run().await;
    let mail = daemon.inbox(&agent("alice", ALICE)).await;
    assert_eq!(ids(&mail), [id(1)]);
    assert_eq!(mail[0]["sender_verification"]["result"], "unsigned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_and_a_wrong_salt_do_nothing() {
    for daemon in both() {
        let from = AgentryDatabase::new();
        from.agent("alice@it.test", ALICE, SALT);
        from.mail(1, "peer@far.test", &["alice@it.test", "nobody@it.test"]);
        let file = daemon.folder.path().join("alice.key");
        std::fs::write(&file, format!("{ALICE}\n")).unwrap();
        let try_key = ["--try-key", file.to_str().unwrap()];
        let unsalted = import(&daemon, &from, &try_key);
        assert_eq!(unsalted.status.code(), Some(1));
        assert!(
            words(&unsalted).contains("agentry.key_salt"),
            "{}",
            words(&unsalted)
        );

        let mut daemon = salted(daemon);
        let told = report(&daemon, &from, &["--dry-run", try_key[0], try_key[1]]);
        assert_eq!(told["dry_run"], true);
        assert_eq!(told["known_key"], "alice@it.test");
        assert_eq!(told["agents"], count(1, 0));
        assert_eq!(told["mail"], count(1, 0));
        assert_eq!(told["refused"].as_array().unwrap().len(), 1, "{told}");
        daemon.run().await;
        let (_, agents) = daemon.admin(Method::GET, "/v1/admin/agents", None).await;
        assert_eq!(agents["agents"], json!([]), "nothing was done");
    }
}

#[test]
fn a_database_that_is_not_agentrys_is_told() {
    let daemon = Daemon::prepare(&[]);
    let empty = Cluster::shared().database();
    for (url, said) in [
        (
            empty.as_str(),
            "is no database of Agentry: it has no table `agents`",
        ),
        (
            "postgres://me:hushhush@127.0.0.1:1/agentry",
            "postgres://me@127.0.0.1:1/agentry: ",
        ),
        (
            "host=db user=me password=hushhush",
            "--database is no postgres:// URL",
        ),
    ] {
        let refused = command(&daemon, url, &[]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{url}");
        assert!(words(&refused).contains(said), "{}", words(&refused));
        assert!(!words(&refused).contains("hushhush"), "{}", words(&refused));
    }
}
