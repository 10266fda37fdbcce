//! Payloads and their schemas.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{code, fates, ruled, send};
use crate::support::metrics::metrics;
use crate::support::{Agent, Daemon};

const ALLOW: &str = "version: \"1.0\"\ndefault_policy: allow\nrules:\n  \
    - {recipient_pattern: closed@it.test, action: deny}\n";
const ORDER: &str = "agntcy:commerce.order.v1";

/// `{"order": {"items": [{"sku", "price"}]}}`
fn order() -> Value {
    let item = json!({ "type": "object", "required": ["sku", "price"],
        "properties": { "sku": {"type": "string"}, "price": {"type": "number", "minimum": 0} } });
    let items = json!({ "type": "array", "items": item });
    let order = json!({ "type": "object", "required": ["items"], "properties": {"items": items} });
    json!({ "type": "object", "required": ["order"], "properties": {"order": order} })
}

async fn add(daemon: &Daemon, id: &str, document: Value, state: &str) {
    let form = json!({ "id": id, "document": document, "state": state, "force": true });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/schemas", Some(form))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

async fn gateway(variables: &[(&str, &str)]) -> (Daemon, [Agent; 2]) {
    let daemon = ruled(ALLOW, variables).await;
    let agents = [daemon.agent("alice").await, daemon.agent("bob").await];
    daemon.agent("closed").await;
    (daemon, agents)
}

/// The faults an answer names, as `path: text`.
fn faults(answer: &Value) -> Vec<String> {
    let told = answer["error"]["details"]["validation_errors"].as_array();
    told.into_iter()
        .flatten()
        .map(|it| it["field"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_does_not_fit_is_refused_with_every_place() {
    let (daemon, [alice, bob]) = gateway(&[]).await;
    add(&daemon, ORDER, order(), "required").await;
    let mail = |payload: Value| json!({ "schema": ORDER, "payload": payload });
    let good = json!({ "order": { "items": [{ "sku": "a", "price": 1 }] } });
    let table = [
        (
            json!({ "order": { "items": [{ "sku": "a", "price": "1" }] } }),
            vec!["order.items[0].price"],
        ),
        (
            json!({ "order": { "items": [{ "sku": "a", "price": 1 }, { "sku": 2, "price": -1 }] } }),
            vec!["order.items[1].price", "order.items[1].sku"],
        ),
        (
            json!({ "order": { "items": [{ "sku": "a" }] } }),
            vec!["order.items[0].price"],
        ),
        (json!({}), vec!["order"]),
        (json!({ "order": 1 }), vec!["order"]),
        (json!("a secret text"), vec![""]),
    ];
    for (payload, expected) in table {
        let (status, answer, _) = send(&daemon, &alice, &[&bob.address], mail(payload)).await;
        let found = (status.as_u16(), code(&answer));
        assert_eq!(found, (400, "SCHEMA_VALIDATION_FAILED"), "{answer}");
        let mut told = faults(&answer);
        told.sort();
        assert_eq!(told, expected, "{answer}");
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    assert!(daemon.inbox(&bob).await.is_empty(), "nothing is stored");
    let (_, answer, _) = send(&daemon, &alice, &[&bob.address], mail(good)).await;
    assert_eq!(fates(&answer), ["delivered"]);
    // The policy is asked first; the code is that of the first recipient.
    let bad = mail(json!({}));
    for (to, expected) in [
        (["closed@it.test", "bob@it.test"], "POLICY_DENIED"),
        (
            ["bob@it.test", "closed@it.test"],
            "SCHEMA_VALIDATION_FAILED",
        ),
    ] {
        let (_, answer, _) = send(&daemon, &alice, &to, bad.clone()).await;
        assert_eq!(code(&answer), expected, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_on_trial_is_only_recorded() {
    let (daemon, [alice, bob]) = gateway(&[]).await;
    add(&daemon, ORDER, order(), "accepted").await;
    let bad = json!({ "schema": ORDER, "payload": {} });
    let (_, answer, _) = send(&daemon, &alice, &[&bob.address], bad.clone()).await;
    assert_eq!(fates(&answer), ["delivered"], "{answer}");
    let text = metrics(daemon.ops()).await;
    let line = "amtp_schema_judgements_total{outcome=\"recorded\"} 1";
    assert!(text.lines().any(|it| it == line), "{text}");
    let log = std::fs::read_to_string(daemon.log()).unwrap();
    assert!(
        log.contains("does not fit a schema that is on trial"),
        "{log}"
    );
    let path = format!("/v1/admin/schemas/{ORDER}");
    for (state, expected) in [("required", 400), ("draft", 202), ("retired", 202)] {
        let form = Some(json!({ "state": state }));
        let (status, answer) = daemon.admin(Method::PATCH, &path, form).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (status, answer, _) = send(&daemon, &alice, &[&bob.address], bad.clone()).await;
        assert_eq!(status, expected, "{state}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_schemas_are_taken_or_refused_as_the_operator_says() {
    let unknown = json!({ "schema": "agntcy:no.body.v1", "payload": {} });
    for (word, expected) in [("accept", 202), ("refuse", 400)] {
        let (daemon, [alice, bob]) = gateway(&[("AMTPD__SCHEMAS__UNKNOWN", word)]).await;
        add(&daemon, ORDER, order(), "draft").await;
        for more in [unknown.clone(), json!({ "schema": ORDER, "payload": {} })] {
            let (status, answer, _) = send(&daemon, &alice, &[&bob.address], more).await;
            assert_eq!(status, expected, "{word}: {answer}");
            if expected == 400 {
                assert_eq!(code(&answer), "SCHEMA_VALIDATION_FAILED");
                assert_eq!(faults(&answer), ["schema"]);
            }
        }
        // A message without a schema is none of an unknown one.
        let (status, answer, _) = send(&daemon, &alice, &[&bob.address], json!({})).await;
        assert_eq!(status, 202, "{word}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_takes_other_schemas_says_which() {
    let (daemon, [alice, bob]) = gateway(&[]).await;
    for (id, state) in [
        ("agntcy:commerce.order.v2", "required"),
        ("agntcy:commerce.order.v3", "accepted"),
        ("agntcy:commerce.order.v4", "retired"),
        ("agntcy:commerce.invoice.v1", "required"),
        ("agntcy:travel.trip.v1", "required"),
    ] {
        add(&daemon, id, json!({ "type": "object" }), state).await;
    }
    let form = json!({ "address": "shop", "supported_schemas":
        ["agntcy:commerce.*", "agntcy:stock.count.v1"] });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/agents", Some(form))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let wanted = json!({ "schema": "agntcy:travel.trip.v1", "payload": {} });
    let (status, answer, _) = send(&daemon, &alice, &["shop@it.test"], wanted.clone()).await;
    let found = (status.as_u16(), code(&answer));
    assert_eq!(found, (400, "SCHEMA_VALIDATION_FAILED"), "{answer}");
    let all = json!([
        "agntcy:commerce.invoice.v1",
        "agntcy:commerce.order.v2",
        "agntcy:commerce.order.v3",
        "agntcy:stock.count.v1"
    ]);
    assert_eq!(answer["error"]["details"]["supported_alternatives"], all);
    // Beside others that take it the agent is refused by itself.
    let to = ["shop@it.test", bob.address.as_str()];
    let (_, answer, _) = send(&daemon, &alice, &to, wanted).await;
    assert_eq!(
        fates(&answer),
        ["failed SCHEMA_VALIDATION_FAILED", "delivered"]
    );
    let taken = json!({ "schema": "agntcy:commerce.order.v2", "payload": {} });
    let (_, answer, _) = send(&daemon, &alice, &["shop@it.test"], taken).await;
    assert_eq!(fates(&answer), ["delivered"], "{answer}");
}
