//! Mail as it arrives, as a stream of events: through real gateways, killed ones too.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::events::Events;
use crate::support::postgres::Cluster;
use crate::support::{Agent, Daemon, eventually_so, words};

/// Longer than the hold of a gateway that was killed.
const PAST_THE_LEASE: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_secs(10);

async fn send(daemon: &Daemon, from: &Agent, to: &Agent, payload: Value) -> String {
    let message = json!({ "sender": from.address, "recipients": [to.address], "payload": payload });
    let sent = daemon.call(Method::POST, "/v1/messages", Some(&from.key), Some(message));
    let (status, answer) = sent.await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    answer["message_id"].as_str().unwrap().to_owned()
}

async fn acknowledge(daemon: &Daemon, agent: &Agent, ids: &[&str]) -> Value {
    let path = format!("/v1/inbox/{}/ack", agent.address);
    let body = json!({ "message_ids": ids });
    let done = daemon.call(Method::POST, &path, Some(&agent.key), Some(body));
    done.await.1["acknowledged"].clone()
}

async fn sessions(daemon: &Daemon, query: &str) -> Vec<Value> {
    let path = format!("/v1/admin/sessions{query}");
    let (status, answer) = daemon.admin(Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["sessions"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_comes_again_also_after_a_kill() {
    let mut daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let mut stream = Events::open(&daemon, &bob, "", &[]).await.unwrap();
    assert_eq!(stream.greeting["resumed"], false);
    let mut sent = Vec::new();
    for n in 0..3 {
        let id = send(&daemon, &alice, &bob, json!({ "n": n, "text": "a\nb" })).await;
        let event = stream.next().await;
        assert_eq!(event.message_id(), id);
        assert_eq!(event.data["payload"], json!({ "n": n, "text": "a\nb" }));
        assert_eq!(event.data["cursor"], event.id.as_str());
        sent.push(id);
    }
    assert!(daemon.inbox(&bob).await.is_empty(), "a session has it");
    assert_eq!(
        acknowledge(&daemon, &bob, &[&sent[0]]).await,
        json!([sent[0]])
    );
    // The connection is lost, and resumed.
    let token = stream.greeting["resume"].as_str().unwrap().to_owned();
    drop(stream);
    let resume = format!("?resume={token}");
    let mut stream = Events::open(&daemon, &bob, &resume, &[]).await.unwrap();
    assert_eq!(stream.greeting["resumed"], true);
    assert_eq!(stream.messages(2).await, sent[1..]);
    // The gateway is.
    daemon.kill();
    daemon.run().await;
    let mut stream = Events::open(&daemon, &bob, "", &[]).await.unwrap();
    assert_eq!(stream.messages(2).await, sent[1..]);
    let (status, answer) = Events::open(&daemon, &bob, &format!("{resume}0"), &[])
        .await
        .err()
        .unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    // A gateway that goes in order says so.
    let ending = tokio::task::spawn_blocking(move || (daemon.terminate(), daemon));
    let end = stream.next().await;
    assert_eq!(
        (end.name.as_str(), &end.data["reason"]),
        ("close", &json!("the gateway is going down"))
    );
    assert_eq!(stream.try_next().await, None);
    assert_eq!(ending.await.unwrap().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_bounds_what_is_under_way_and_auto_acknowledges() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(send(&daemon, &alice, &bob, json!(n)).await);
    }
    let mut stream = Events::open(&daemon, &bob, "?credit=2", &[]).await.unwrap();
    assert_eq!(stream.messages(2).await, sent[..2]);
    let waiting = daemon.inbox(&bob).await;
    assert_eq!(waiting.len(), 3, "{waiting:?}");
    acknowledge(&daemon, &bob, &[&sent[0]]).await;
    let third = stream.next().await;
    assert_eq!(third.message_id(), sent[2]);
    drop(stream);
    // The last event named arrived.
    let last = [("Last-Event-ID", third.id.as_str())];
    eventually_so("the session is detached", SOON, async || {
        let waiting = daemon.inbox(&bob).await;
        (waiting.len() == 4).then_some(())
    })
    .await;
    let auto = Events::open(&daemon, &bob, "?ack=auto&credit=1", &last).await;
    let mut auto = auto.unwrap();
    let expected = [&sent[1], &sent[3], &sent[4]].map(String::clone);
    assert_eq!(auto.messages(3).await, expected);
    eventually_so("all is acknowledged", SOON, async || {
        let of_bob = format!("?agent={}", bob.address);
        let rows = sessions(&daemon, &of_bob).await;
        let open = rows.iter().find(|row| row["state"] == "attached")?;
        (open["unacknowledged"] == 0).then_some(())
    })
    .await;
    drop(auto);
    assert!(daemon.inbox(&bob).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_cannot_be_are_refused() {
    let daemon = Daemon::start(&[("AMTPD__LIVE__SESSIONS", "1")]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let forged = format!("?resume=018f{}.{}", "0".repeat(28), "0".repeat(64));
    for (query, header, field) in [
        ("?credit=0", "", "credit"),
        ("?credit=-1", "", "credit"),
        ("?credit=1001", "", "credit"),
        ("?ack=perhaps", "", "ack"),
        ("?resume=x", "", "resume"),
        (forged.as_str(), "", "resume"),
        ("", "nonsense", "Last-Event-ID"),
    ] {
        let headers = [("last-event-id", header)];
        let (status, answer) = Events::open(&daemon, &bob, query, &headers)
            .await
            .err()
            .unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query} {answer}");
        let faults = &answer["error"]["details"]["validation_errors"];
        assert_eq!(faults[0]["field"], field, "{query} {answer}");
    }
    let stranger = Agent {
        key: alice.key.clone(),
        ..bob.clone()
    };
    let (status, _) = Events::open(&daemon, &stranger, "", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    let mut first = Events::open(&daemon, &bob, "", &[]).await.unwrap();
    let (status, answer) = Events::open(&daemon, &bob, "", &[]).await.err().unwrap();
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    // The other one noticed nothing.
    let id = send(&daemon, &alice, &bob, json!(1)).await;
    assert_eq!(first.next().await.message_id(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_who_is_connected_and_closes_a_session() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let mut stream = Events::open(&daemon, &bob, "", &[]).await.unwrap();
    let of_alice = Events::open(&daemon, &alice, "", &[]).await.unwrap();
    assert_eq!(sessions(&daemon, "").await.len(), 2);
    let rows = sessions(&daemon, "?agent=bob").await;
    let [row] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert_eq!(row["id"], stream.greeting["session"]);
    assert_eq!(
        (&row["kind"], &row["state"]),
        (&json!("stream"), &json!("attached"))
    );
    assert_eq!(
        (&row["mailbox"], &row["remote"]),
        (&json!(bob.address), &json!("127.0.0.1"))
    );
    let nodes = format!("?node={}&limit=1", row["node"].as_str().unwrap());
    assert_eq!(sessions(&daemon, &nodes).await.len(), 1);
    let nowhere = "?node=00000000-0000-0000-0000-000000000001";
    assert!(sessions(&daemon, nowhere).await.is_empty());
    let path = format!("/v1/admin/sessions/{}", row["id"].as_str().unwrap());
    let (status, _) = daemon.admin(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(stream.next().await.data["reason"], "closed by the operator");
    assert_eq!(stream.try_next().await, None);
    for gone in [path.as_str(), "/v1/admin/sessions/x"] {
        let (status, _) = daemon.admin(Method::DELETE, gone, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let token = stream.greeting["resume"].as_str().unwrap();
    let again = Events::open(&daemon, &bob, &format!("?resume={token}"), &[]).await;
    assert_eq!(again.err().unwrap().0, StatusCode::BAD_REQUEST);

    let listed = daemon
        .command(&["session", "list", "--json"])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", words(&listed));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["sessions"][0]["agent"], alice.address);
    let id = listed["sessions"][0]["id"].as_str().unwrap().to_owned();
    let closed = daemon.command(&["session", "close", &id]).output().unwrap();
    assert!(closed.status.success(), "{}", words(&closed));
    let again = daemon.command(&["session", "close", &id]).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{}", words(&again));
    drop(of_alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_its_streams() {
    let daemon = Daemon::start(&[]).await;
    let bob = daemon.agent("bob").await;
    let mut stream = Events::open(&daemon, &bob, "", &[]).await.unwrap();
    let rows = sessions(&daemon, "").await;
    let key = rows[0]["key_id"].as_str().unwrap();
    let path = format!("/v1/admin/agents/{}/keys/{key}", bob.address);
    let (status, _) = daemon.admin(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(stream.next().await.data["reason"], "the key was revoked");
}

/// Two gateways over one PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_accepts_is_pushed_by_another_and_a_killed_ones_mail_moves_on() {
    let cluster = Cluster::own();
    let url = cluster.database();
    let variables = [
        ("AMTPD__STORE__URL", url.as_str()),
        ("AMTPD__LIVE__HEARTBEAT", "1s"),
    ];
    let one = Daemon::start(&variables).await;
    let mut two = Daemon::start(&variables).await;
    let (alice, bob) = (one.agent("alice").await, one.agent("bob").await);
    let mut there = Events::open(&two, &bob, "", &[]).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(send(&one, &alice, &bob, json!(n)).await);
    }
    assert_eq!(there.messages(10).await, sent);
    assert_eq!(acknowledge(&one, &bob, &[&sent[0]]).await, json!([sent[0]]));
    assert_eq!(
        sessions(&one, "").await.len(),
        1,
        "each sees those of the other"
    );
    // A second session of the same agent gets nothing of this sender as long as the first has some.
    let mut here = Events::open(&one, &bob, "", &[]).await.unwrap();
    two.kill();
    let came = tokio::time::timeout(PAST_THE_LEASE, here.try_next()).await;
    let mut ids = vec![came.unwrap().unwrap().message_id()];
    ids.extend(here.messages(8).await);
    assert_eq!(ids, sent[1..], "in order");
}
