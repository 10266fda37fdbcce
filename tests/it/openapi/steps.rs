//! What staff and publishers ask of a gateway, so that every operation answers once.

use std::time::Duration;

use serde_json::{Value, json};

use super::Home;
use super::reader::{Reader, word};
use crate::support::events::Events;
use crate::support::{Agent, eventually_so};

/// What waits, and what was given up.
pub async fn queue(reader: &mut Reader, alice: &Agent) {
    let to =
        |address: &str| json!({ "sender": alice.address, "recipients": [address], "payload": 1 });
    let sent = reader
        .ask("POST /v1/messages", &alice.key, to("a@failing.test"), 202)
        .await;
    let id = word(&sent["message_id"]);
    let which = json!({ "domain": "failing.test" });
    for step in ["hold", "release", "retry"] {
        let what = format!("POST /v1/admin/deliveries/{step}");
        reader.staff(&what, which.clone(), 200).await;
        reader
            .staff("GET /v1/admin/deliveries", Value::Null, 200)
            .await;
    }
    for name in ["one", "two"] {
        reader
            .ask(
                "POST /v1/messages",
                &alice.key,
                to(&format!("{name}@nowhere.test")),
                202,
            )
            .await;
    }
    let letters = eventually_so("dead letters", Duration::from_secs(30), async || {
        let what = "GET /v1/admin/dead-letters";
        let found = reader.staff(what, Value::Null, 200).await;
        let found = found["dead_letters"].as_array().unwrap().clone();
        (found.len() == 2).then_some(found)
    })
    .await;
    let one = format!("/v1/admin/dead-letters/{}", letters[0]["id"]);
    reader.staff(&format!("GET {one}"), Value::Null, 200).await;
    let dead = word(&letters[0]["message_id"]);
    reader
        .staff(&format!("GET /v1/messages/{dead}/trace"), Value::Null, 200)
        .await;
    reader
        .staff(&format!("DELETE {one}"), Value::Null, 204)
        .await;
    let which = json!({ "ids": [letters[1]["id"]] });
    for step in ["replay", "drop"] {
        let what = format!("POST /v1/admin/dead-letters/{step}");
        reader.staff(&what, which.clone(), 200).await;
    }
    reader
        .ask(
            &format!("DELETE /v1/messages/{id}"),
            &alice.key,
            Value::Null,
            200,
        )
        .await;
    for list in ["workers", "lag", "lag?agent=alice", "suppressions"] {
        reader
            .staff(&format!("GET /v1/admin/{list}"), Value::Null, 200)
            .await;
    }
    reader
        .staff("GET /v1/admin/lag?agent=nobody", Value::Null, 404)
        .await;
}

/// Agents and groups.
pub async fn agents(reader: &mut Reader) {
    let form = json!({
        "address": "pushed", "delivery_mode": "push", "push_target": "https://hooks.test/in",
        "headers": {"Authorization": "x"}, "supported_schemas": ["*"], "capabilities": ["a"], "role": "r",
        "bounds": {"messages": 10, "when_full": "hold"}, "live": {"sessions": "copies"},
    });
    reader
        .staff("POST /v1/admin/agents", form.clone(), 201)
        .await;
    reader.staff("POST /v1/admin/agents", form, 409).await;
    let group = json!({
        "address": "crew", "kind": "group", "group": {"members": ["alice@it.test", "pushed@it.test", "gone@it.test"]},
    });
    reader.staff("POST /v1/admin/agents", group, 201).await;
    for name in ["pushed", "crew"] {
        reader
            .staff(&format!("GET /v1/admin/agents/{name}"), Value::Null, 200)
            .await;
    }
    reader
        .staff("GET /v1/admin/agents?limit=1", Value::Null, 200)
        .await;
    keys(reader).await;
}

/// The keys of an agent, and tokens.
async fn keys(reader: &mut Reader) {
    let one = "/v1/admin/agents/pushed";
    let change = json!({ "description": "d", "role": null });
    reader.staff(&format!("PATCH {one}"), change, 200).await;
    reader
        .staff(
            &format!("POST {one}/rotate-webhook-secret"),
            Value::Null,
            200,
        )
        .await;
    reader
        .staff(
            "POST /v1/admin/agents/crew/rotate-webhook-secret",
            Value::Null,
            409,
        )
        .await;
    reader
        .staff(&format!("POST {one}/rotate-key"), json!({}), 200)
        .await;
    let form = json!({ "scopes": ["send"], "label": "l", "expires_in": "1d" });
    let made = reader.staff(&format!("POST {one}/keys"), form, 201).await;
    reader
        .staff(&format!("GET {one}/keys"), Value::Null, 200)
        .await;
    let key = word(&made["key"]["api_key"]);
    reader
        .ask("POST /v1/auth/token", &key, json!({ "scope": "send" }), 200)
        .await;
    let nothing =
        json!({ "grant_type": null, "client_id": null, "client_secret": null, "scope": null });
    reader.ask("POST /v1/auth/token", &key, nothing, 200).await;
    let key = word(&made["key"]["id"]);
    reader
        .staff(&format!("DELETE {one}/keys/{key}"), Value::Null, 204)
        .await;
    let token = reader
        .staff("POST /v1/admin/enrolment-tokens", json!({ "uses": 2 }), 201)
        .await;
    let token = &token["enrolment_token"];
    let form = json!({ "address": "newcomer" });
    reader
        .ask(
            "POST /v1/agents/register",
            &word(&token["token"]),
            form,
            201,
        )
        .await;
    reader
        .staff("GET /v1/admin/enrolment-tokens", Value::Null, 200)
        .await;
    let id = word(&token["id"]);
    reader
        .staff(
            &format!("DELETE /v1/admin/enrolment-tokens/{id}"),
            Value::Null,
            204,
        )
        .await;
    reader
        .staff(
            "GET /v1/discovery/agents?active_only=true",
            Value::Null,
            200,
        )
        .await;
    reader
        .staff("GET /v1/discovery/agents/it.test?limit=1", Value::Null, 200)
        .await;
    reader
        .staff(&format!("DELETE {one}"), Value::Null, 204)
        .await;
}

/// Who is connected.
pub async fn sessions(reader: &mut Reader, home: &Home, bob: &Agent) {
    let stream = Events::open(&home.daemon, bob, "", &[]).await.unwrap();
    let found = reader
        .staff("GET /v1/admin/sessions?agent=bob", Value::Null, 200)
        .await;
    let id = word(&found["sessions"][0]["id"]);
    reader
        .staff(&format!("DELETE /v1/admin/sessions/{id}"), Value::Null, 204)
        .await;
    drop(stream);
}

/// Topics, who is subscribed to them, and what goes to everybody.
pub async fn topics(reader: &mut Reader, (alice, bob): (&Agent, &Agent)) {
    let form =
        json!({ "address": "news", "topic": {"retain": true, "keep": 5, "retention_seconds": 60} });
    let made = reader.staff("POST /v1/topics", form, 201).await;
    let own = word(&made["agent"]["api_key"]);
    let news = "/v1/topics/news";
    let form = json!({ "filter": {"schemas": ["*"]}, "from": "retained" });
    let made = reader
        .ask(&format!("POST {news}/subscriptions"), &bob.key, form, 201)
        .await;
    let first = word(&made["subscription"]["id"]);
    let form = json!({ "subscriber": "x@partner.test" });
    reader
        .ask(
            &format!("POST {news}/subscriptions"),
            &own,
            form.clone(),
            202,
        )
        .await;
    let admin = "/v1/admin/topics/news/subscriptions";
    reader.staff(&format!("POST {admin}"), form, 202).await;
    let form = json!({ "subscriber": alice.address });
    let made = reader.staff(&format!("POST {admin}"), form, 201).await;
    let second = word(&made["subscription"]["id"]);
    for key in [&own, &bob.key] {
        reader
            .ask(&format!("GET {news}/subscriptions"), key, Value::Null, 200)
            .await;
        reader
            .ask(&format!("GET {news}"), key, Value::Null, 200)
            .await;
    }
    reader
        .staff(&format!("GET {admin}?limit=1"), Value::Null, 200)
        .await;
    reader
        .ask("GET /v1/topics", &alice.key, Value::Null, 200)
        .await;
    reader
        .ask(&format!("GET {news}/value"), &bob.key, Value::Null, 404)
        .await;
    let wrong = format!("GET {news}/subscriptions?limit=many");
    reader.ask(&wrong, &bob.key, Value::Null, 400).await;
    let content = json!({ "payload": {"a": 1}, "subject": "s" });
    reader
        .ask(
            &format!("POST {news}/messages"),
            &alice.key,
            content.clone(),
            202,
        )
        .await;
    let old = format!("POST {news}/messages?expected_version=7");
    reader.ask(&old, &alice.key, content.clone(), 409).await;
    for path in ["messages", "value"] {
        reader
            .ask(&format!("GET {news}/{path}"), &bob.key, Value::Null, 200)
            .await;
    }
    reader
        .ask("POST /v1/broadcast?to=registered", &alice.key, content, 202)
        .await;
    reader
        .ask(
            &format!("DELETE {news}/subscriptions/{first}"),
            &bob.key,
            Value::Null,
            204,
        )
        .await;
    reader
        .staff(&format!("DELETE {admin}/{second}"), Value::Null, 204)
        .await;
}

/// Policies and schemas.
pub async fn rules(reader: &mut Reader) {
    let form = json!({ "id": "agntcy:a.b.v1", "document": {"type": "object"} });
    for status in [201, 200] {
        reader
            .staff("POST /v1/admin/schemas", form.clone(), status)
            .await;
    }
    let narrower =
        json!({ "id": "agntcy:a.b.v1", "document": {"type": "object", "required": ["a"]} });
    reader.staff("POST /v1/admin/schemas", narrower, 409).await;
    reader
        .staff("GET /v1/admin/schemas?limit=1", Value::Null, 200)
        .await;
    let one = "/v1/admin/schemas/agntcy:a.b.v1";
    reader.staff(&format!("GET {one}"), Value::Null, 200).await;
    reader
        .staff(
            &format!("POST {one}/validate"),
            json!({ "payload": 1 }),
            200,
        )
        .await;
    reader
        .staff(&format!("PATCH {one}"), json!({ "state": "draft" }), 200)
        .await;
    reader
        .staff(&format!("DELETE {one}"), Value::Null, 204)
        .await;
    reader
        .staff("GET /v1/admin/policies", Value::Null, 200)
        .await;
    reader
        .staff("POST /v1/admin/policies/reload", Value::Null, 200)
        .await;
}

/// Staff, and the log of what they did.
pub async fn staff(reader: &mut Reader) {
    let made = reader
        .staff(
            "POST /v1/admin/staff",
            json!({ "name": "o", "role": "auditor" }),
            201,
        )
        .await;
    reader.staff("GET /v1/admin/staff", Value::Null, 200).await;
    let id = word(&made["staff"]["id"]);
    reader
        .staff(&format!("DELETE /v1/admin/staff/{id}"), Value::Null, 204)
        .await;
    let log = reader
        .staff("GET /v1/admin/audit?limit=5", Value::Null, 200)
        .await;
    let chain = word(&log["entries"][0]["entry"]["chain"]);
    let chain = format!("GET /v1/admin/audit?chain={chain}&after=0&limit=2");
    reader.staff(&chain, Value::Null, 200).await;
    for path in ["chains", "verify"] {
        reader
            .staff(&format!("GET /v1/admin/audit/{path}"), Value::Null, 200)
            .await;
    }
}

/// Discovery and health.
pub async fn about(reader: &mut Reader, alice: &Agent) {
    for path in [
        "/health",
        "/ready",
        "/openapi.json",
        "/docs",
        "/v1/auth/jwks.json",
        "/v1/capabilities/it.test",
    ] {
        reader
            .ask(&format!("GET {path}"), &alice.key, Value::Null, 200)
            .await;
    }
    reader
        .ask(
            "GET /v1/capabilities/nowhere.test",
            &alice.key,
            Value::Null,
            404,
        )
        .await;
    reader
        .ask(
            "GET /v1/capabilities/failing.test",
            &alice.key,
            Value::Null,
            503,
        )
        .await;
}
