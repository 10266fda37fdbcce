//! Who may do what: every route with every kind of caller, keys and tokens with less than
//! everything, and what of it stands in the audit log.

use std::time::Duration;

use amtpd::auth::{Access, Presented};
use amtpd::endpoint::http::{Row, route_table};
use amtpd::envelope::{Principal, Role, Scopes};
use amtpd::protocol::Address;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Agent, Daemon, eventually_so};

const SOON: Duration = Duration::from_secs(10);

/// One kind of caller.
#[derive(Debug, Clone)]
struct Kind {
    name: &'static str,
    key: Option<String>,
    is: Presented,
}

fn agent_with(address: &str, scopes: &[&str]) -> Presented {
    Presented::Principal(Principal::Agent {
        id: 1,
        address: Address::parse(address).unwrap(),
        key_id: String::new(),
        scopes: Scopes::parse(scopes.iter().copied()).unwrap(),
        tier: None,
    })
}

async fn key_with(daemon: &Daemon, agent: &Agent, form: Value) -> (String, String) {
    let path = format!("/v1/admin/agents/{}/keys", agent.address);
    let (status, answer) = daemon.admin(Method::POST, &path, Some(form)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let text = |member: &str| answer["key"][member].as_str().unwrap().to_owned();
    (text("api_key"), text("id"))
}

async fn staff_with(daemon: &Daemon, role: Role) -> String {
    let form = json!({ "name": format!("the {}", role.as_str()), "role": role.as_str() });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/staff", Some(form))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["staff"]["key"].as_str().unwrap().to_owned()
}

async fn kinds(daemon: &Daemon, agent: &Agent) -> Vec<Kind> {
    let kind = |name, key: Option<&str>, is| Kind {
        name,
        key: key.map(str::to_owned),
        is,
    };
    let wrong = "ak_0123456789abcdef_0123456789012345678901234567890123456789012";
    let all = ["send", "receive", "track"];
    let mut kinds = vec![
        kind("nobody", None, Presented::Nothing),
        kind("a wrong key", Some(wrong), Presented::Invalid),
        kind(
            "an agent",
            Some(&agent.key),
            agent_with(&agent.address, &all),
        ),
    ];
    for scope in all {
        let (key, _) = key_with(daemon, agent, json!({ "scopes": [scope] })).await;
        kinds.push(kind(
            scope,
            Some(&key),
            agent_with(&agent.address, &[scope]),
        ));
    }
    for role in Role::ALL {
        let key = staff_with(daemon, role).await;
        let name = role.as_str().to_owned();
        let is = Presented::Principal(Principal::Staff { name, role });
        kinds.push(kind(role.as_str(), Some(&key), is));
    }
    kinds
}

/// Whether the answer says that the caller may not.
fn is_refusal(status: StatusCode, answer: &Value) -> bool {
    let code = answer["error"]["code"].as_str().unwrap_or_default();
    status == StatusCode::UNAUTHORIZED
        || (status == StatusCode::FORBIDDEN && code == "ACCESS_DENIED")
}

#[tokio::test]
async fn every_route_takes_whom_the_table_says_and_nobody_else() {
    let daemon = Daemon::start(&[]).await;
    let agent = daemon.agent("alice").await;
    let kinds = kinds(&daemon, &agent).await;
    let mut asking = JoinSet::new();
    for row in route_table() {
        if row.access == Access::Own {
            continue;
        }
        for kind in kinds.clone() {
            let (caller, path) = (daemon.caller(), path_of(&row, &agent));
            asking.spawn(async move {
                let method = Method::from_bytes(row.method.as_bytes()).unwrap();
                let body = (row.method != "GET" && row.method != "DELETE").then(|| json!({}));
                let answer = caller.ask(method, &path, kind.key.as_deref(), body).await;
                let answer = answer.unwrap();
                let value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
                (row, kind, answer.status(), value)
            });
        }
    }
    for (row, kind, status, answer) in asking.join_all().await {
        let refused = is_refusal(status, &answer);
        let expected = row.access.check(&kind.is).is_err();
        assert_eq!(
            refused, expected,
            "{} {} as {}: {status} {answer}",
            row.method, row.path, kind.name
        );
    }
}

/// A path on which nothing is there to break, but for the agent's own inbox.
fn path_of(row: &Row, agent: &Agent) -> String {
    let address = match row.path.starts_with("/v1/inbox") {
        true => agent.address.as_str(),
        false => "nobody@it.test",
    };
    let path = row.path.replace("{address}", address);
    let path = path.replace("{domain}", "it.test");
    // A stream would not end.
    let path = match path.ends_with("/stream") {
        true => path + "?ack=perhaps",
        false => path,
    };
    ["{id}", "{message_id}", "{key_id}"]
        .iter()
        .fold(path, |path, name| path.replace(name, "0"))
}

#[test]
fn the_page_on_security_shows_every_route() {
    let page = std::fs::read_to_string("docs/security.md").unwrap();
    let table = amtpd::endpoint::http::route_reference();
    assert!(
        page.contains(&table),
        "docs/security.md needs this table:\n{table}"
    );
}

#[tokio::test]
async fn a_token_stands_for_its_key_while_the_key_is_good() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let (key, id) = key_with(&daemon, &alice, json!({ "label": "robot" })).await;
    let asked = |key: &str, body: Value| {
        let (caller, key) = (daemon.caller(), key.to_owned());
        async move {
            let answer = caller
                .ask(Method::POST, "/v1/auth/token", Some(&key), Some(body))
                .await;
            let answer = answer.unwrap();
            let value: Value = serde_json::from_slice(answer.body()).unwrap();
            (answer.status(), value)
        }
    };
    let (status, answer) = asked(&key, json!({ "scope": "send track" })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["scope"], "send track");
    assert_eq!(answer["token_type"], "Bearer");
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let message = json!({ "sender": alice.address, "recipients": [alice.address], "payload": 1 });
    let sent = daemon
        .call(
            Method::POST,
            "/v1/messages",
            Some(&token),
            Some(message.clone()),
        )
        .await;
    assert_eq!(sent.0, StatusCode::ACCEPTED, "{}", sent.1);
    let inbox = format!("/v1/inbox/{}", alice.address);
    let read = daemon.call(Method::GET, &inbox, Some(&token), None).await;
    assert_eq!(read.0, StatusCode::FORBIDDEN, "{}", read.1);
    let (_, published) = daemon
        .call(Method::GET, "/v1/auth/jwks.json", None, None)
        .await;
    assert_eq!(published["keys"][0]["crv"], "P-256", "{published}");

    for wrong in ["", "x", &key[..key.len() - 1], &token] {
        let (status, answer) = asked(wrong, json!({})).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong} {answer}");
    }
    let (status, _) = asked(&key, json!({ "grant_type": "password" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    let path = format!("/v1/admin/agents/{}/keys/{id}", alice.address);
    assert_eq!(
        daemon.admin(Method::DELETE, &path, None).await.0,
        StatusCode::NO_CONTENT
    );
    let sent = daemon
        .call(Method::POST, "/v1/messages", Some(&token), Some(message))
        .await;
    assert_eq!(sent.0, StatusCode::UNAUTHORIZED, "{}", sent.1);
}

#[tokio::test]
async fn a_key_ends_has_a_tier_and_is_rotated_with_what_it_is_good_for() {
    let daemon = Daemon::start(&[("AMTPD__LIMITS__TIERS", "{ trial: 2/h }")]).await;
    let alice = daemon.agent("alice").await;
    let (trial, id) = key_with(
        &daemon,
        &alice,
        json!({ "tier": "trial", "scopes": ["send"] }),
    )
    .await;
    let message = json!({ "sender": alice.address, "recipients": [alice.address], "payload": 1 });
    let mut answers = Vec::new();
    for _ in 0..3 {
        let body = Some(message.clone());
        let answer = daemon
            .caller()
            .ask(Method::POST, "/v1/messages", Some(&trial), body)
            .await;
        answers.push(answer.unwrap());
    }
    let status: Vec<u16> = answers.iter().map(|it| it.status().as_u16()).collect();
    assert_eq!(status, [202, 202, 429]);
    let header = |name: &str| answers[2].headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("ratelimit-policy"), "\"tier\";q=2;w=3600");
    assert!(
        header("ratelimit").starts_with("\"tier\";r=0;t="),
        "{}",
        header("ratelimit")
    );
    assert!(header("retry-after").parse::<u64>().unwrap() > 1_700);

    let keys = format!("/v1/admin/agents/{}/keys", alice.address);
    for (form, field) in [
        (json!({ "tier": "none" }), "tier"),
        (json!({ "scopes": [] }), "scopes"),
        (json!({ "scopes": ["admin"] }), "scopes"),
        (json!({ "expires_in": "0s" }), "expires_in"),
        (json!({ "label": "x".repeat(101) }), "label"),
    ] {
        let (status, answer) = daemon.admin(Method::POST, &keys, Some(form)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(
            answer["error"]["details"]["validation_errors"][0]["field"],
            field
        );
    }
    let rotate = format!("/v1/admin/agents/{}/rotate-key", alice.address);
    let form = json!({ "key_id": id, "overlap": "0s" });
    let (status, answer) = daemon.admin(Method::POST, &rotate, Some(form)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let fresh = answer["agent"]["api_key"].as_str().unwrap();
    let inbox = format!("/v1/inbox/{}", alice.address);
    for (key, expected, why) in [
        (fresh, StatusCode::FORBIDDEN, "it has the old key's scopes"),
        (&trial, StatusCode::FORBIDDEN, "it is over"),
        (&alice.key, StatusCode::OK, "the others stay"),
    ] {
        let (status, _) = daemon.call(Method::GET, &inbox, Some(key), None).await;
        assert_eq!(status, expected, "{why}");
    }
    let used = eventually_so("the last use is shown", SOON, async || {
        let (_, list) = daemon.admin(Method::GET, &keys, None).await;
        list["keys"]
            .as_array()
            .map(Vec::len)
            .filter(|count| *count == 3)
    });
    used.await;
}

#[tokio::test]
async fn what_staff_does_stands_in_the_audit_log_and_the_log_is_whole() {
    let daemon = Daemon::start(&[]).await;
    let auditor = staff_with(&daemon, Role::Auditor).await;
    let operator = staff_with(&daemon, Role::Operator).await;
    let form = Some(json!({ "address": "bob" }));
    let made = daemon
        .call(
            Method::POST,
            "/v1/admin/agents",
            Some(&operator),
            form.clone(),
        )
        .await;
    assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    let denied = daemon
        .call(Method::POST, "/v1/admin/agents", Some(&auditor), form)
        .await;
    assert_eq!(denied.0, StatusCode::FORBIDDEN);
    let wrong = daemon
        .call(Method::GET, "/v1/admin/agents", Some("sk_x"), None)
        .await;
    assert_eq!(wrong.0, StatusCode::FORBIDDEN);
    let entries = eventually_so("all of it stands there", SOON, async || {
        let (status, log) = daemon
            .call(Method::GET, "/v1/admin/audit", Some(&auditor), None)
            .await;
        assert_eq!(status, StatusCode::OK, "{log}");
        let entries = log["entries"].as_array().unwrap().clone();
        (entries.len() >= 5).then_some(entries)
    })
    .await;
    let said: Vec<String> = entries
        .iter()
        .map(|it| {
            let text = |member: &str| it["entry"][member].as_str().unwrap().to_owned();
            format!("{} {} {}", text("actor"), text("event"), text("outcome"))
        })
        .collect();
    for expected in [
        "staff:admin-key POST staff done",
        "staff:the operator POST agents done",
        "staff:the auditor auth.denied denied",
        "anonymous auth.failed denied",
    ] {
        assert!(said.iter().any(|it| it == expected), "{expected}: {said:?}");
    }
    let all = serde_json::to_string(&entries).unwrap();
    assert!(!all.contains("sk_") && !all.contains("ak_"), "{all}");
    let (_, checked) = daemon
        .call(Method::GET, "/v1/admin/audit/verify", Some(&auditor), None)
        .await;
    assert_eq!(checked["whole"], true, "{checked}");
    let last = daemon
        .call(
            Method::GET,
            "/v1/admin/audit?limit=1",
            Some(&operator),
            None,
        )
        .await;
    assert_eq!(last.0, StatusCode::FORBIDDEN);
}
