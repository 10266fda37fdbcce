//! Signatures that bend a rule, and those of the gateway itself (AMTP 1.0, section 9.3).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::bench::{DomainKey, KeyKind, check, txt};
use crate::context::{Agent, Context, expect_taken};
use crate::hook::{Hook, Reply};
use crate::level::Level::{Amtpd, Signatures};
use crate::runner::{Skipped, Test};
use crate::subject::Capability;

/// The selector of the keys here.
pub(super) const KEYID: &str = "k1";

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        test(
            Signatures,
            "9.3",
            (
                "signature.outgoing",
                "What goes to other domains is signed by the key that the DNS has",
            ),
            outgoing,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.outgoing.notice",
                "Notices of the gateway itself are signed too",
            ),
            outgoing_reply,
        ),
        test(
            Amtpd,
            "9.3",
            (
                "signature.key.unknown-parameter",
                "Unknown parameters of a key record are ignored",
            ),
            unknown_parameter,
        ),
        test(
            Amtpd,
            "9.3",
            (
                "signature.raised",
                "A copy that came unsigned and comes again signed is delivered once and verified",
            ),
            raised,
        ),
    ];
    for (id, rule, bend) in bent() {
        tests.push(test(Signatures, "9.3", (id, rule), move |context| {
            invalid(context, bend)
        }));
    }
    for (id, rule, bend) in bent_keys() {
        tests.push(test(Amtpd, "9.3", (id, rule), move |context| {
            invalid_key(context, bend)
        }));
    }
    tests
}

/// A domain whose key is known, and an agent that gets mail of it.
pub(super) struct Scene {
    pub(super) key: DomainKey,
    pub(super) domain: String,
    pub(super) to: Agent,
}

impl Scene {
    /// A fresh domain; under `zone` where that is given.
    pub(super) async fn set(context: &Context, kind: KeyKind, zone: Option<&str>) -> Result<Self> {
        let bench = context.bench()?;
        let domain = match zone {
            None => bench.stranger(),
            Some(zone) => format!("s-{}.{zone}", Uuid::new_v4().simple()),
        };
        context.new_name().await;
        let key = DomainKey::new(kind, KEYID)?;
        let record = key.record();
        let (one, two) = record.split_at(record.len() / 2);
        bench.dns.set(&key.name(&domain), vec![txt(&[one, two])]);
        Ok(Self {
            key,
            domain,
            to: context.agent().await?,
        })
    }

    /// The same domain, and another agent; its key is not for signing.
    pub(super) fn with(&self, to: Agent) -> Result<Self> {
        Ok(Self {
            key: DomainKey::new(KeyKind::Es256, KEYID)?,
            domain: self.domain.clone(),
            to,
        })
    }

    /// A message of the domain for the agent, complete and not signed.
    pub(super) fn message(&self) -> Value {
        json!({
            "version": "1.0", "message_id": id(), "idempotency_key": Uuid::new_v4(),
            "timestamp": now(0), "sender": format!("orders@{}", self.domain),
            "recipients": [self.to.address], "payload": { "n": 1, "price": 29.99, "e": 1e2 },
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "a message of now")]
pub(super) fn now(later: i64) -> String {
    let now = jiff::Timestamp::now().as_second() + later;
    jiff::Timestamp::from_second(now).map_or_else(|_| String::new(), |it| it.to_string())
}

#[allow(clippy::disallowed_methods, reason = "a message of now")]
fn id() -> Uuid {
    Uuid::now_v7()
}

/// What the gateway finds about the sender of a message that it must take.
pub(super) async fn taken(context: &Context, scene: &Scene, body: &Value) -> Result<Value> {
    expect_taken(&context.post(None, body.to_string()).await?)?;
    let mail = context.mail(&scene.to, 1).await?;
    ensure!(mail.len() == 1, "{} messages", mail.len());
    Ok(mail[0]["sender_verification"].clone())
}

/// Bends a rule of a message that is signed, or of its signature.
type Bend = fn(&DomainKey, Value) -> Result<Value>;

#[allow(clippy::too_many_lines, reason = "one table")]
fn bent() -> Vec<(&'static str, &'static str, Bend)> {
    vec![
        (
            "signature.algorithm",
            "An algorithm other than ES256 and RS256 is invalid",
            |key, message| {
                let mut signed = key.signed(&message)?;
                signed["signature"]["algorithm"] = json!("none");
                Ok(signed)
            },
        ),
        (
            "signature.algorithm-mismatch",
            "The algorithm is that of the key",
            |key, message| {
                let mut signed = key.signed(&message)?;
                signed["signature"]["algorithm"] = json!("RS256");
                Ok(signed)
            },
        ),
        (
            "signature.padding",
            "The value has no padding",
            |key, message| {
                let mut signed = key.signed(&message)?;
                let value = signed["signature"]["value"].as_str().unwrap_or_default();
                signed["signature"]["value"] = json!(format!("{value}=="));
                Ok(signed)
            },
        ),
        (
            "signature.alphabet",
            "The value is base64url, not base64",
            |key, mut message| {
                // One of the values has a character that the two write in another way.
                loop {
                    let signed = key.signed(&message)?;
                    let value = signed["signature"]["value"].as_str().unwrap_or_default();
                    if value.contains(['-', '_']) {
                        let plain = value.replace('-', "+").replace('_', "/");
                        let mut signed = signed.clone();
                        signed["signature"]["value"] = json!(plain);
                        return Ok(signed);
                    }
                    message["idempotency_key"] = json!(Uuid::new_v4());
                }
            },
        ),
        (
            "signature.der",
            "The value of ES256 is R and S of 32 bytes each, not DER",
            |key, message| {
                let mut signed = key.signed(&message)?;
                let value = signed["signature"]["value"].as_str().unwrap_or_default();
                let der = der(&URL_SAFE_NO_PAD.decode(value)?);
                signed["signature"]["value"] = json!(URL_SAFE_NO_PAD.encode(der));
                Ok(signed)
            },
        ),
        (
            "signature.old",
            "A timestamp of more than eight days ago is invalid",
            |key, mut message| {
                message["timestamp"] = json!(now(-9 * 86_400));
                key.signed(&message)
            },
        ),
        (
            "signature.future",
            "A timestamp of more than ten minutes ahead is invalid",
            |key, mut message| {
                message["timestamp"] = json!(now(3_600));
                key.signed(&message)
            },
        ),
        (
            "signature.number",
            "A number that no double holds is invalid in a signed message",
            |key, mut message| {
                message["payload"] = json!(9_007_199_254_740_993_i64);
                key.signed(&message)
            },
        ),
        (
            "signature.incomplete",
            "A signed message has its own idempotency_key",
            |key, mut message| {
                message
                    .as_object_mut()
                    .map(|it| it.remove("idempotency_key"));
                key.signed(&message)
            },
        ),
        (
            "signature.more-members",
            "A signature has exactly algorithm, keyid and value",
            |key, message| {
                let mut signed = key.signed(&message)?;
                signed["signature"]["canonicalization"] = json!("none");
                Ok(signed)
            },
        ),
        (
            "signature.keyid",
            "A keyid is one label, so that no other name is asked for",
            |key, message| {
                let mut signed = key.signed(&message)?;
                signed["signature"]["keyid"] = json!("k1._amtpkey.evil.example");
                Ok(signed)
            },
        ),
    ]
}

/// R and S as DER writes them.
fn der(fixed: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros.min(bytes.len() - 1)..];
        let sign: &[u8] = if bytes[0] > 127 { &[0] } else { &[] };
        let length = u8::try_from(bytes.len() + sign.len()).unwrap_or_default();
        [&[2, length][..], sign, bytes].concat()
    };
    let both = [number(&fixed[..32]), number(&fixed[32..])].concat();
    let length = u8::try_from(both.len()).unwrap_or_default();
    [&[0x30, length][..], &both].concat()
}

async fn invalid(context: Arc<Context>, bend: Bend) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let body = bend(&scene.key, scene.message())?;
    let answer = context.post(None, body.to_string()).await?;
    // Refused as malformed, or taken and marked.
    if answer.status.as_u16() == 400 {
        return Ok(());
    }
    expect_taken(&answer)?;
    let mail = context.mail(&scene.to, 1).await?;
    let seen = &mail[0]["sender_verification"]["result"];
    ensure!(seen == "invalid", "{}", mail[0]);
    Ok(())
}

/// Bends the record of a key.
type BendKey = fn(String) -> Vec<String>;

fn bent_keys() -> Vec<(&'static str, &'static str, BendKey)> {
    vec![
        (
            "signature.key.two",
            "Two records under one selector make a signature invalid",
            |record| {
                let other = DomainKey::new(KeyKind::Es256, KEYID).map(|it| it.record());
                vec![record, other.unwrap_or_default()]
            },
        ),
        (
            "signature.key.twice",
            "A parameter that stands twice makes a key record invalid",
            |record| vec![format!("{record};alg=ES256")],
        ),
        (
            "signature.key.version",
            "A key record of another version is none",
            |record| vec![record.replace("amtpkey1", "amtpkey2")],
        ),
        (
            "signature.key.broken",
            "A key that cannot be read makes a signature invalid",
            |_| {
                vec![format!(
                    "v=amtpkey1;alg=ES256;p={}",
                    STANDARD.encode("no key")
                )]
            },
        ),
    ]
}

async fn invalid_key(context: Arc<Context>, bend: BendKey) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let records = bend(scene.key.record());
    let records = records.iter().map(|text| txt(&[text])).collect();
    let bench = context.bench()?;
    bench.dns.set(&scene.key.name(&scene.domain), records);
    let signed = scene.key.signed(&scene.message())?;
    let seen = taken(&context, &scene, &signed).await?;
    let word = seen["result"].as_str().unwrap_or_default();
    ensure!(["invalid", "key_unavailable"].contains(&word), "{seen}");
    Ok(())
}

async fn unknown_parameter(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let record = format!("{};later=1", scene.key.record());
    let bench = context.bench()?;
    let name = scene.key.name(&scene.domain);
    bench.dns.set(&name, vec![txt(&[&record])]);
    let signed = scene.key.signed(&scene.message())?;
    let seen = taken(&context, &scene, &signed).await?;
    ensure!(seen["result"] == "verified", "{seen}");
    Ok(())
}

async fn raised(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let message = scene.message();
    let seen = taken(&context, &scene, &message).await?;
    ensure!(seen["result"] == "unsigned", "{seen}");
    let signed = scene.key.signed(&message)?;
    let seen = taken(&context, &scene, &signed).await?;
    ensure!(seen["result"] == "verified", "{seen}");
    Ok(())
}

/// The key record that the DNS has for a signed message of the gateway's.
async fn record_of(context: &Context, message: &Value) -> Result<String> {
    let plan = context.subject.bench.as_ref();
    let plan = plan.ok_or(Skipped("no bench: the subject's description has none"))?;
    let server = match &context.subject.dns {
        Some(server) => server.clone(),
        None => std::net::SocketAddr::new(plan.address, plan.dns_port).to_string(),
    };
    let keyid = message["signature"]["keyid"].as_str();
    let keyid = keyid.context("it is not signed")?;
    let name = format!("{keyid}._amtpkey.{}.", context.domain());
    crate::dns::txt(&server, &name).await
}

async fn outgoing(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Signing)?;
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let change = json!({ "payload": { "total": 125.5, "name": "é" }, "x_more": [1] });
    context
        .submit(&agent, &[&peer.address("bob")], &change)
        .await?;
    let seen = peer.request().await?;
    let record = record_of(&context, &seen.json()).await?;
    check(&seen.arrived.body, &record)
}

/// Mail of a peer that an agent's webhook refuses comes back from the postmaster.
async fn outgoing_reply(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Signing)?;
    let peer = context.peer()?;
    let host = context.subject.webhook_host;
    let host = host.ok_or(Skipped("no place for webhooks given: --webhook-host IP"))?;
    let hook = Hook::open(host, &[Reply(410, "{}"); 10]).await?;
    let form = json!({ "delivery_mode": "push", "push_target": hook.url });
    let agent = context.agent_with(&form).await?;
    let body = json!({
        "version": "1.0", "message_id": id(), "idempotency_key": Uuid::new_v4(),
        "timestamp": now(0), "sender": peer.address("orders"), "recipients": [agent.address],
        "payload": 1,
    });
    context.new_name().await;
    expect_taken(&context.post(None, body.to_string()).await?)?;
    let seen = peer.request().await?;
    let notice = seen.json();
    ensure!(notice["message_type"] == "delivery_failure", "{notice}");
    let record = record_of(&context, &notice).await?;
    check(&seen.arrived.body, &record)
}
