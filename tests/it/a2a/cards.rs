//! Cards: where they are, in which form, signed, and the list of agents.

use hyper::{Method, StatusCode};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

use super::client::{Client, ON, agent};
use crate::support::Daemon;

const CARD: &str = "/.well-known/agent-card.json";

fn base64url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}

/// Whether the card is signed by a key of the set.
fn is_signed(card: &Value, set: &Value) -> bool {
    use base64::Engine as _;
    let mut card = card.clone();
    let signatures = card.as_object_mut().unwrap().remove("signatures").unwrap();
    let signature = &signatures[0];
    let text = |name: &str| signature[name].as_str().unwrap();
    let header: Value = serde_json::from_slice(&base64url(text("protected"))).unwrap();
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("ES256"), &json!("JOSE"))
    );
    let keys = set["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let mut point = vec![4];
    for name in ["x", "y"] {
        point.extend(base64url(key[name].as_str().unwrap()));
    }
    let payload = serde_json_canonicalizer::to_vec(&card).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload);
    let signed = format!("{}.{payload}", text("protected"));
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    public
        .verify(signed.as_bytes(), &base64url(text("signature")))
        .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_agent_has_a_card_that_is_signed_and_can_be_kept() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({ "access": "public" })).await;
    let nobody = Client::new(&daemon, "orders").speaking("");
    let answer = nobody.raw(Method::GET, CARD, "").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["cache-control"], "public, max-age=300");
    assert!(headers["last-modified"].to_str().unwrap().ends_with(" GMT"));
    let card: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(card["name"], "orders");
    let interface = &card["supportedInterfaces"][0];
    assert_eq!(interface["url"], "https://localhost:8443/a2a/orders");
    assert_eq!(card["provider"]["organization"], "Example Ltd.");
    assert!(card.get("securityRequirements").is_none(), "it is public");
    let mut well_known = nobody.clone();
    well_known.base = String::new();
    let (status, set) = well_known
        .json(Method::GET, "/.well-known/jwks.json", "")
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(is_signed(&card, &set));
    let mut forged = card.clone();
    forged["name"] = json!("forged");
    assert!(!is_signed(&forged, &set));
    let etag = headers["etag"].to_str().unwrap();
    for (known, status) in [(etag, 304), ("\"other\"", 200), ("*", 304)] {
        let asking = nobody.clone().with("if-none-match", known);
        let answer = asking.raw(Method::GET, CARD, "").await;
        assert_eq!(answer.status(), status, "{known}");
        assert_eq!(answer.headers()["etag"], etag);
        assert_eq!(answer.body().is_empty(), status == 304);
    }
    for (name, status) in [("nobody", 404), ("orders", 200)] {
        let found = Client::new(&daemon, name).raw(Method::GET, CARD, "").await;
        assert_eq!(found.status(), status);
    }
    // No default agent was named.
    let (status, _) = well_known.json(Method::GET, CARD, "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let path = "/v1/admin/agents/orders";
    let form = json!({ "active": false });
    daemon.admin(Method::PATCH, path, Some(form)).await;
    crate::support::eventually_so("no card", std::time::Duration::from_secs(10), async || {
        let answer = nobody.raw(Method::GET, CARD, "").await;
        (answer.status() == 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_clients_get_a_card_they_understand() {
    let variables = [("AMTPD__A2A__DEFAULT_AGENT", "orders")];
    let daemon = Daemon::start(&variables).await;
    agent(&daemon, "orders", json!({})).await;
    let client = Client::new(&daemon, "orders");
    for (path, version, old) in [
        (CARD, "", false),
        (CARD, "1.0", false),
        (CARD, "0.3", true),
        ("/.well-known/agent.json", "", true),
        ("/.well-known/agent.json", "1.0", true),
        ("/.well-known/agent-card.json?A2A-Version=0.3", "", true),
    ] {
        for base in ["/a2a/orders", "/a2a//orders/", "/a2a/it.test/orders", ""] {
            let mut client = client.clone().speaking(version);
            base.clone_into(&mut client.base);
            let (status, card) = client.json(Method::GET, path, "").await;
            assert_eq!(status, StatusCode::OK, "{base}{path}");
            assert_eq!(
                card["protocolVersion"] == "0.3.0",
                old,
                "{base}{path} {card}"
            );
            assert_eq!(card.get("supportedInterfaces").is_none(), old);
        }
    }
    let merged = Daemon::start(&[("AMTPD__A2A__LEGACY_CARD", "merge")]).await;
    agent(&merged, "orders", json!({})).await;
    let (_, card) = Client::new(&merged, "orders")
        .json(Method::GET, CARD, "")
        .await;
    assert_eq!(card["protocolVersion"], "0.3.0");
    assert!(card["supportedInterfaces"].is_array() && card.get("signatures").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extended_card_is_for_those_who_are_known() {
    let off = Daemon::start(&ON).await;
    agent(&off, "orders", json!({ "access": "public" })).await;
    let alice = off.agent("alice").await;
    let nothing = json!({});
    let client = Client::new(&off, "orders").of(&alice);
    assert_eq!(client.error("GetExtendedAgentCard", &nothing).await, -32004);
    let (status, _) = client.json(Method::GET, "/extendedAgentCard", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let on = Daemon::start(&[("AMTPD__A2A__EXTENDED_CARD", "true")]).await;
    agent(&on, "orders", json!({ "access": "public" })).await;
    let alice = on.agent("alice").await;
    let nobody = Client::new(&on, "orders");
    let (_, public) = nobody.json(Method::GET, CARD, "").await;
    assert_eq!(public["capabilities"]["extendedAgentCard"], true);
    assert!(!public.to_string().contains("deliveryMode"));
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "GetExtendedAgentCard" });
    let (status, _) = nobody.json(Method::POST, "", &call.to_string()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = nobody.json(Method::GET, "/extendedAgentCard", "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let client = Client::new(&on, "orders").of(&alice);
    let card = client.result("GetExtendedAgentCard", &nothing).await;
    let params = &card["capabilities"]["extensions"][0]["params"];
    assert_eq!(params["deliveryMode"], "pull");
    let (_, same) = client.json(Method::GET, "/extendedAgentCard", "").await;
    assert_eq!(same["capabilities"], card["capabilities"]);
    let old = client.speaking("");
    let card = old
        .result("agent/getAuthenticatedExtendedCard", &nothing)
        .await;
    assert_eq!(card["supportsAuthenticatedExtendedCard"], true);
    let path = "/v1/admin/agents/orders";
    on.admin(Method::PATCH, path, Some(json!({ "active": false })))
        .await;
    let client = Client::new(&on, "orders").of(&alice);
    crate::support::eventually_so("no card", std::time::Duration::from_secs(10), async || {
        let answer = client.call("GetExtendedAgentCard", &nothing).await;
        (answer["error"]["code"] == -32007).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_those_that_are_listed() {
    let daemon = Daemon::start(&ON).await;
    for name in ["a", "b", "c"] {
        agent(&daemon, name, json!({})).await;
    }
    let path = "/v1/admin/agents/b";
    daemon
        .admin(Method::PATCH, path, Some(json!({ "listed": false })))
        .await;
    let topic = json!({ "name": "news" });
    daemon.admin(Method::POST, "/v1/topics", Some(topic)).await;
    let (_, page) = daemon.call(Method::GET, "/a2a?limit=1", None, None).await;
    assert_eq!(page["agents"][0]["url"], "https://localhost:8443/a2a/a/");
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/a2a/?cursor={cursor}");
    let (_, rest) = daemon.call(Method::GET, &path, None, None).await;
    assert_eq!(
        (&rest["agents"][0]["name"], &rest["next_cursor"]),
        (&json!("c"), &Value::Null)
    );
    assert_eq!(rest["agents"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_section_a2a_is_off() {
    let daemon = Daemon::start(&[]).await;
    daemon.agent("orders").await;
    let off = Client::new(&daemon, "orders");
    for (method, path) in [
        (Method::GET, CARD),
        (Method::POST, ""),
        (Method::GET, "/tasks"),
    ] {
        let answer = off.raw(method, path, "").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
