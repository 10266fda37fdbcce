//! The audit log through its commands, and the commands for who may do what.

use std::path::Path;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::support::{Daemon, amtpd};

mod secrecy;

/// A command against the gateway with a key: its exit code and what it printed.
fn command_as(daemon: &Daemon, key: Option<&str>, arguments: &[&str]) -> (Option<i32>, String) {
    let home = daemon.folder.path().join("gateway");
    let mut command = amtpd();
    command
        .args(arguments)
        .args(["--resolve", "127.0.0.1", "--gateway"])
        .arg(format!("https://localhost:{}", daemon.caller().admin))
        .arg("--ca-file")
        .arg(home.join("tls/cert.pem"));
    match key {
        Some(key) => command.env("AMTP_KEY", key),
        None => command.arg("--key-file").arg(home.join("admin.key")),
    };
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), printed)
}

/// A command with the admin key that prints JSON.
fn command(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, Value) {
    let arguments = [arguments, &["--json"]].concat();
    let (code, printed) = command_as(daemon, None, &arguments);
    (code, serde_json::from_str(&printed).unwrap_or(Value::Null))
}

/// Changes the database of a gateway that does not run.
async fn by_hand(daemon: &Daemon, statement: &'static str) {
    let file = daemon.folder.path().join("gateway/data/amtpd.db");
    assert!(file.exists(), "{}", file.display());
    let options = SqliteConnectOptions::new().filename(file);
    let mut database: SqliteConnection = options.connect().await.unwrap();
    database.execute(statement).await.unwrap();
    database.close().await.unwrap();
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_listed_checked_and_exported_piece_by_piece() {
    let daemon = Daemon::start(&[]).await;
    daemon.agent("alice").await;
    daemon.agent("bob").await;
    let run = |arguments: &[&str]| command(&daemon, arguments);
    let (code, list) = run(&["audit", "list"]);
    assert_eq!((code, &list["more"]), (Some(0), &json!(false)));
    let events: Vec<&Value> = list["entries"].as_array().unwrap().iter().collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["entry"]["event"], "POST agents");
    assert_eq!(run(&["audit", "list", "--limit", "1"]).1["more"], true);
    assert_eq!(run(&["audit", "list", "--since", "soon"]).0, Some(1));
    let (code, told) = run(&["audit", "verify"]);
    assert_eq!((code, &told["whole"]), (Some(0), &json!(true)));

    let place = |name: &str| daemon.folder.path().join(name);
    let (one, two) = (place("one.jsonl"), place("two.jsonl"));
    let text = |path: &Path| path.display().to_string();
    let (code, first) = run(&["audit", "export", &text(&one)]);
    let (chain, number) = first["end"].as_str().unwrap().split_once(':').unwrap();
    assert_eq!((code, &first["entries"], number), (Some(0), &json!(2), "2"));
    let end = |number: u8| format!("{chain}:{number}");
    assert_eq!(run(&["audit", "export", &text(&one)]).0, Some(1));
    daemon.agent("carol").await;
    let second = end(2);
    let onward = ["audit", "export", "--since", &second];
    for (file, more) in [(&two, None), (&one, Some("--append"))] {
        let file = text(file);
        let rest = std::iter::once(file.as_str()).chain(more);
        let (code, next) = run(&onward.into_iter().chain(rest).collect::<Vec<_>>());
        assert_eq!(
            (code, next),
            (Some(0), json!({ "entries": 1, "end": end(3) }))
        );
    }
    assert_eq!(lines(&one).len(), 5);
    assert_eq!(lines(&two)[0]["after"], 2);
    assert_eq!(lines(&two)[1]["entry"]["n"], 3);
    for file in [&one, &two] {
        let file = text(file);
        // Without --live nobody is asked.
        let alone = amtpd()
            .args(["audit", "verify", "--file", &file])
            .output()
            .unwrap();
        assert_eq!(alone.status.code(), Some(0), "{alone:?}");
        let (code, told) = run(&["audit", "verify", "--live", "--file", &file]);
        assert_eq!(code, Some(0), "{told}");
    }
    let (code, printed) = command_as(&daemon, None, &["audit", "export"]);
    assert_eq!((code, printed.lines().count()), (Some(0), 4));
    assert_eq!(
        run(&["audit", "export", "--since", &end(9)]).0,
        Some(1),
        "the log has become shorter"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_changed_by_hand_is_found() {
    let changes = [
        "UPDATE audit SET entry = CAST(replace(CAST(entry AS TEXT), 'admin-key', 'somebody') AS BLOB) WHERE n = 2",
        "DELETE FROM audit WHERE n = 2",
        "UPDATE audit SET at = at - 1 WHERE n = 2",
    ];
    let mut daemon = Daemon::on_a_file(&[]);
    daemon.run().await;
    for name in ["alice", "bob", "carol"] {
        daemon.agent(name).await;
    }
    let copy = daemon.folder.path().join("copy.jsonl");
    let copy = copy.display().to_string();
    assert_eq!(command(&daemon, &["audit", "export", &copy]).0, Some(0));
    for change in changes {
        daemon.terminate();
        by_hand(&daemon, "CREATE TABLE kept AS SELECT * FROM audit").await;
        by_hand(&daemon, change).await;
        daemon.run().await;
        let (code, told) = command(&daemon, &["audit", "verify"]);
        assert_eq!((code, &told["whole"]), (Some(1), &json!(false)), "{change}");
        assert_ne!(told["chains"][0]["faults"], json!([]), "{change}");
        daemon.terminate();
        by_hand(&daemon, "DELETE FROM audit").await;
        by_hand(&daemon, "INSERT INTO audit SELECT * FROM kept").await;
        by_hand(&daemon, "DROP TABLE kept").await;
        daemon.run().await;
    }
    assert_eq!(command(&daemon, &["audit", "verify"]).0, Some(0));

    // A whole new chain is whole: only the copy tells.
    daemon.terminate();
    by_hand(&daemon, "DELETE FROM audit").await;
    daemon.run().await;
    for name in ["dave", "erin", "frank"] {
        daemon.agent(name).await;
    }
    assert_eq!(command(&daemon, &["audit", "verify"]).0, Some(0));
    let live = ["audit", "verify", "--live", "--file", &copy];
    let (code, told) = command(&daemon, &live);
    assert_eq!(code, Some(1));
    let first = &told["chains"][0]["faults"][0];
    assert_eq!(first, "entry 1 is another one in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_gets_keys_by_command() {
    let daemon = Daemon::start(&[]).await;
    let run = |arguments: &[&str]| command(&daemon, arguments);
    let (code, added) = run(&[
        "staff",
        "add",
        "olga",
        "--role",
        "auditor",
        "--expires-in",
        "90d",
    ]);
    assert_eq!(code, Some(0));
    let (id, key) = (&added["staff"]["id"], added["staff"]["key"].as_str());
    let (_, listed) = run(&["staff", "list"]);
    assert_eq!(
        (&listed["staff"][0]["id"], &listed["staff"][0]["key"]),
        (id, &Value::Null)
    );
    assert_eq!(command_as(&daemon, key, &["audit", "list"]).0, Some(0));
    assert_eq!(command_as(&daemon, key, &["staff", "list"]).0, Some(1));
    assert_eq!(run(&["staff", "remove", id.as_str().unwrap()]).0, Some(0));
    assert_eq!(run(&["staff", "remove", id.as_str().unwrap()]).0, Some(1));
    assert_eq!(command_as(&daemon, key, &["audit", "list"]).0, Some(1));
    assert_eq!(run(&["staff", "add", "x", "--role", "boss"]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_get_keys_by_command() {
    let daemon = Daemon::start(&[("AMTPD__LIMITS__TIERS", "{fast: 100/s}")]).await;
    let agent = daemon.agent("alice").await;
    let run = |arguments: &[&str]| command(&daemon, arguments);
    let add = ["agent", "key", "add", "alice", "--label", "reader"];
    let (code, added) = run(&[
        &add[..],
        &["--scope", "receive", "--scope", "track"],
        &["--tier", "fast", "--expires-in", "1h"],
    ]
    .concat());
    assert_eq!(code, Some(0), "{added}");
    assert_eq!(added["key"]["scopes"], json!(["receive", "track"]));
    let (id, key) = (
        added["key"]["id"].as_str().unwrap(),
        &added["key"]["api_key"],
    );
    let inbox = format!("/v1/inbox/{}", agent.address);
    let read = async |key: &Value| {
        let key = key.as_str();
        daemon.call(Method::GET, &inbox, key, None).await.0
    };
    assert_eq!(read(key).await, StatusCode::OK);
    let (_, listed) = run(&["agent", "key", "list", "alice"]);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    let rotate = ["agent", "rotate-key", "alice", "--overlap", "0s", "--key"];
    let (code, rotated) = run(&[&rotate[..], &[id]].concat());
    assert_eq!(code, Some(0));
    let next = &rotated["agent"]["api_key"];
    assert_eq!(read(key).await, StatusCode::FORBIDDEN);
    assert_eq!(read(next).await, StatusCode::OK);
    assert_eq!(read(&json!(agent.key)).await, StatusCode::OK);
    let (_, listed) = run(&["agent", "key", "list", "alice"]);
    let good_for = |key: &&Value| key["label"] == "reader" && key["id"] != id;
    let keys = listed["keys"].as_array().unwrap();
    let next_id = keys.iter().find(good_for).unwrap()["id"].as_str().unwrap();
    let revoke = ["agent", "key", "revoke", "alice", next_id];
    assert_eq!(run(&revoke).0, Some(0));
    assert_eq!(run(&revoke).0, Some(1));
    assert_eq!(read(next).await, StatusCode::FORBIDDEN);
    assert_eq!(run(&[&rotate[..], &["nothing"]].concat()).0, Some(1));
    assert_eq!(
        run(&["agent", "key", "add", "alice", "--tier", "x"]).0,
        Some(1)
    );
    assert_eq!(
        run(&["agent", "key", "add", "alice", "--scope", "x"]).0,
        Some(2)
    );
}
