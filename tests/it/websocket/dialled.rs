//! Agents that the gateway connects to.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;

use super::message;
use crate::support::pki::Ca;
use crate::support::webhook::signed;
use crate::support::websocket::{Dialled, Raw, value};
use crate::support::{Agent, Daemon, eventually_so};

/// A gateway that believes the authority of an agent, and the agent.
async fn world() -> (Daemon, Ca, Dialled) {
    let mut daemon = Daemon::prepare(&[("AMTPD__NET__ALLOW__WEBHOOKS", "[127.0.0.0/8]")]);
    let ca = Ca::new(daemon.folder.path());
    let issued = ca.issue(&["127.0.0.1"], daemon.folder.path());
    let authority = ca.pem_path().to_string_lossy().into_owned();
    let trusted = "AMTPD__TLS__TRUSTED_CA_FILE".to_owned();
    daemon.variables.push((trusted, authority));
    daemon.run().await;
    let dialled = Dialled::start(&issued).await;
    (daemon, ca, dialled)
}

/// Registers the agent, and gives it with the secret of its webhook.
async fn register(daemon: &Daemon, dialled: &Dialled) -> (Agent, String) {
    let form = json!({
        "address": "bob", "delivery_mode": "push", "push_target": dialled.url(),
        "headers": { "authorization": "Bearer of-the-gateway" },
    });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/agents", Some(form))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let text = |member: &str| answer["agent"][member].as_str().unwrap().to_owned();
    let agent = Agent {
        address: text("address"),
        key: text("api_key"),
    };
    (agent, text("webhook_secret"))
}

#[tokio::test]
async fn an_agent_with_a_wss_address_is_connected_to_and_kept_connected() {
    let (daemon, _ca, dialled) = world().await;
    let alice = daemon.agent("alice").await;
    let (bob, secret) = register(&daemon, &dialled).await;
    let body = message(&alice, &bob.address, &json!(1));
    let sent = daemon.call(Method::POST, "/v1/messages", Some(&alice.key), Some(body));
    assert_eq!(sent.await.0, StatusCode::ACCEPTED);
    let (mut raw, head) = dialled.answered().await;
    assert!(head.starts_with("GET /amtp?agent=1 HTTP/1.1"), "{head}");
    assert_eq!(value(&head, "authorization"), "Bearer of-the-gateway");
    assert_eq!(value(&head, "sec-websocket-protocol"), "amtp.v1");
    let parts = [
        value(&head, "webhook-id"),
        value(&head, "webhook-timestamp"),
    ];
    let given = value(&head, "webhook-signature");
    signed(&secret, &[&parts[0], &parts[1]], b"", &given).unwrap();
    let welcome = raw.hear().await;
    assert_eq!(
        (&welcome["type"], &welcome["address"]),
        (&json!("welcome"), &json!(bob.address))
    );
    let first = raw.hear().await;
    assert_eq!(first["message"]["payload"], 1, "{first}");
    let mut answer = message(&bob, &alice.address, &json!("seen"));
    answer["in_reply_to"] = first["message"]["message_id"].clone();
    let receipt = raw.ask(json!({ "type": "send", "message": answer })).await;
    assert_eq!(receipt["type"], "receipt", "{receipt}");
    drop(raw);
    let (mut raw, _) = dialled.answered().await;
    let again = raw.hear_of("welcome").await;
    assert_eq!(again["resumed"], true, "{again}");
    assert_eq!(again["session"], welcome["session"]);
    let repeated = raw.hear().await;
    assert_eq!(
        (&repeated["message"]["payload"], &repeated["redelivered"]),
        (&json!(1), &json!(true))
    );
    ends_with_its_address(&daemon, &bob, raw).await;
}

/// Who is not connected to any more is told so.
async fn ends_with_its_address(daemon: &Daemon, bob: &Agent, mut raw: Raw) {
    let path = format!("/v1/admin/agents/{}", bob.address);
    let change = json!({ "delivery_mode": "pull", "push_target": null, "headers": null });
    let (status, answer) = daemon.admin(Method::PATCH, &path, Some(change)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (code, reason) = raw.closed().await;
    assert!(matches!(code, 1001 | 4410), "{code} {reason}");
    let mail = eventually_so("mail of bob", Duration::from_secs(10), async || {
        let mail = daemon.inbox(bob).await;
        (!mail.is_empty()).then_some(mail)
    });
    assert_eq!(mail.await[0]["payload"], 1);
}

#[tokio::test]
async fn an_agent_that_refuses_is_tried_again_later_each_time() {
    let (daemon, _ca, dialled) = world().await;
    register(&daemon, &dialled).await;
    for status in ["503 No", "200 OK", "301 Moved"] {
        let (mut raw, _) = dialled.called().await;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        raw.send(answer.as_bytes()).await;
    }
    let (mut raw, head) = dialled.called().await;
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n";
    assert!(!value(&head, "sec-websocket-key").is_empty());
    raw.send(wrong.as_bytes()).await;
    let (mut raw, _) = dialled.answered().await;
    assert_eq!(raw.hear().await["type"], "welcome");
}
