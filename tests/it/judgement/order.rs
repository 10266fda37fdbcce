//! What is looked at first: a message that is wrong in all ways is refused for the cheapest.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::{code, ruled};
use crate::support::Daemon;
use crate::support::dns::DnsServer;

const POLICY: &str = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: closed, recipient_pattern: closed@it.test, action: deny}
  - {name: strict, recipient_pattern: strict@it.test, action: allow, signature_policy: reject}
"#;

/// Posts these bytes as a stranger; the status, the code, and when to come again.
async fn post(daemon: &Daemon, body: &str) -> (u16, String, Option<u64>) {
    let request = Request::post(format!("https://localhost:{}/v1/messages", daemon.port()))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let answer = daemon.caller().client.send(request).await.unwrap();
    let value: Value = serde_json::from_slice(answer.body()).unwrap();
    let wait = answer.headers().get("retry-after");
    let wait = wait.map(|it| it.to_str().unwrap().parse().unwrap());
    (answer.status().as_u16(), code(&value).to_owned(), wait)
}

/// What is wrong with a message, from the dearest fault to the cheapest: one more a step.
struct Wrong {
    size: bool,
    json: bool,
    recipient: &'static str,
    domain: &'static str,
    signed: bool,
}

impl Wrong {
    fn body(&self) -> String {
        let mut body = json!({ "sender": format!("x@{}", self.domain), "version": "1.0",
            "recipients": [format!("{}@it.test", self.recipient)], "payload": {},
            "message_id": uuid::Uuid::new_v4(), "idempotency_key": uuid::Uuid::new_v4(),
            "timestamp": "2026-01-01T00:00:00Z", "schema": "agntcy:no.body.v1" });
        if self.signed {
            body["signature"] = json!({ "algorithm": "ES256", "keyid": "K.1", "value": "x" });
        }
        if self.size {
            body["payload"] = json!("x".repeat(80 << 10));
        }
        match self.json {
            true => format!("{body} and more"),
            false => body.to_string(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_fault_is_told() {
    let dns = DnsServer::start();
    let servers = format!("[\"{}\"]", dns.address());
    let variables = [
        ("AMTPD__DNS__SERVERS", servers.as_str()),
        ("AMTPD__LIMITS__MESSAGE_SIZE", "64KiB"),
        ("AMTPD__LIMITS__DOMAIN_RATE", "2/h"),
        ("AMTPD__SCHEMAS__UNKNOWN", "refuse"),
    ];
    let daemon = ruled(POLICY, &variables).await;
    for name in ["closed", "strict", "bob"] {
        daemon.agent(name).await;
    }
    let schema = Wrong {
        size: false,
        json: false,
        recipient: "bob",
        domain: "a.test",
        signed: true,
    };
    let policy = Wrong {
        recipient: "closed",
        domain: "b.test",
        ..schema
    };
    let signature = Wrong {
        recipient: "strict",
        domain: "c.test",
        ..schema
    };
    for (step, expected) in [
        (&schema, "400 SCHEMA_VALIDATION_FAILED"),
        (&policy, "403 POLICY_DENIED"),
        (&signature, "403 SIGNATURE_INVALID"),
    ] {
        // What is refused later is counted as well; then nothing behind the rate is looked at.
        for expected in [expected, expected, "429 RATE_LIMIT_EXCEEDED"] {
            let (status, code, wait) = post(&daemon, &step.body()).await;
            assert_eq!(format!("{status} {code}"), expected);
            assert_eq!(wait.is_some(), status == 429, "{wait:?}");
        }
    }
    let unknown = Wrong {
        recipient: "nobody",
        ..signature
    };
    let garbled = Wrong {
        json: true,
        ..unknown
    };
    let large = Wrong {
        size: true,
        ..garbled
    };
    for (step, expected) in [
        (&unknown, "404 AGENT_UNKNOWN"),
        (&garbled, "400 INVALID_MESSAGE_FORMAT"),
        (&large, "413 MESSAGE_TOO_LARGE"),
    ] {
        let (status, code, _) = post(&daemon, &step.body()).await;
        assert_eq!(format!("{status} {code}"), expected);
    }
    // A key's name that is none is not asked for.
    assert_eq!(dns.queries("K.1._amtpkey.c.test"), 0);
    let (_, list) = daemon.admin(Method::GET, "/v1/messages", None).await;
    assert_eq!(list["messages"], json!([]), "nothing is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_not_listened_to() {
    let daemon = ruled(POLICY, &[("AMTPD__LIMITS__ADDRESS_RATE", "60/h")]).await;
    let garbled = "no JSON";
    for _ in 0..100 {
        let (status, code, _) = post(&daemon, garbled).await;
        if status == 429 {
            assert_eq!(code, "RATE_LIMIT_EXCEEDED");
            return;
        }
        assert_eq!(code, "INVALID_MESSAGE_FORMAT");
    }
    panic!("never too often");
}
