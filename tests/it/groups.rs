//! Groups, and mailboxes that are full, through the doors.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Agent, Daemon, eventually_so};

const SOON: Duration = Duration::from_secs(20);

async fn submit(daemon: &Daemon, from: &Agent, to: &str, payload: u64) -> (StatusCode, Value) {
    let body = json!({ "sender": from.address, "recipients": [to], "payload": payload });
    let path = "/v1/messages";
    daemon
        .call(Method::POST, path, Some(&from.key), Some(body))
        .await
}

async fn change(daemon: &Daemon, agent: &Agent, form: Value) {
    let path = format!("/v1/admin/agents/{}", agent.address);
    let (status, answer) = daemon.admin(Method::PATCH, &path, Some(form)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

fn payloads(mail: &[Value]) -> Vec<u64> {
    let payload = |message: &Value| message["payload"].as_u64().unwrap();
    mail.iter().map(payload).collect()
}

async fn acknowledge(daemon: &Daemon, agent: &Agent, message: &Value) {
    let id = message["message_id"].as_str().unwrap();
    let path = format!("/v1/inbox/{}/{id}", agent.address);
    let (status, answer) = daemon
        .call(Method::DELETE, &path, Some(&agent.key), None)
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn members_read_the_mailbox_of_their_group_and_nobody_else_does() {
    let daemon = Daemon::start(&[]).await;
    let [alice, one, other, eve] = [
        daemon.agent("alice").await,
        daemon.agent("one").await,
        daemon.agent("other").await,
        daemon.agent("eve").await,
    ];
    let form = json!({ "address": "workers", "delivery_mode": "pull", "kind": "group",
        "group": { "members": [one.address, other.address] } });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/agents", Some(form))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let group = answer["agent"]["address"].as_str().unwrap();
    let (status, answer) = submit(&daemon, &alice, group, 1).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    for member in [&one, &other] {
        let as_group = Agent {
            address: group.to_owned(),
            key: member.key.clone(),
        };
        assert_eq!(payloads(&daemon.inbox(&as_group).await), [1]);
        assert!(daemon.inbox(member).await.is_empty());
    }
    let path = format!("/v1/inbox/{group}");
    let (status, _) = daemon.call(Method::GET, &path, Some(&eve.key), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let path = format!("/v1/admin/agents/{group}");
    let (_, shown) = daemon.admin(Method::GET, &path, None).await;
    assert_eq!(shown["agent"]["members"][0]["role"], "reads", "{shown}");
    let (_, found) = daemon
        .call(Method::GET, "/v1/discovery/agents", None, None)
        .await;
    let found = found["agents"].as_array().unwrap();
    let found = found.iter().find(|agent| agent["address"] == group);
    let found = found.unwrap();
    assert_eq!(found["kind"], "group");
    assert_eq!(found["members"], Value::Null, "that is for operators");
}

#[tokio::test]
async fn a_full_mailbox_refuses_or_holds_as_it_is_set_and_says_so() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    change(&daemon, &bob, json!({ "bounds": { "messages": 2 } })).await;
    for number in [1, 2] {
        let (status, answer) = submit(&daemon, &alice, &bob.address, number).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }
    let (status, answer) = submit(&daemon, &alice, &bob.address, 3).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["error"]["code"], "MAILBOX_FULL");
    let hold = json!({ "bounds": { "messages": 2, "when_full": "hold" } });
    change(&daemon, &bob, hold).await;
    for number in [3, 4, 5] {
        let (status, answer) = submit(&daemon, &alice, &bob.address, number).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        assert_eq!(answer["recipients"][0]["status"], "queued", "{answer}");
    }
    let (_, lag) = daemon
        .admin(Method::GET, "/v1/admin/lag?agent=bob", None)
        .await;
    let seen = (&lag["lag"][0]["waiting"], &lag["lag"][0]["queued"]);
    assert_eq!(seen, (&json!(2), &json!(3)), "{lag}");
    let mut got = Vec::new();
    while got.len() < 5 {
        let mail = eventually_so("mail", SOON, async || {
            let mail = daemon.inbox(&bob).await;
            assert!(mail.len() <= 2, "the bound is kept");
            (!mail.is_empty()).then_some(mail)
        });
        let first = mail.await.remove(0);
        acknowledge(&daemon, &bob, &first).await;
        got.extend(payloads(&[first]));
    }
    assert_eq!(got, [1, 2, 3, 4, 5]);
}
