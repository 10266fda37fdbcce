//! Who sent it: domain signatures as they come in (AMTP 1.0, section 9.3).

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::signing::{KEYID, Scene, now, taken};
use super::test;
use crate::bench::{DomainKey, KeyKind, txt};
use crate::context::{Context, expect_error, expect_taken};
use crate::level::Level::{Core, Signatures};
use crate::runner::{Skipped, Test};

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Signatures,
            "9.3",
            ("signature.es256", "A valid ES256 signature is verified"),
            |context| valid(context, KeyKind::Es256),
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.rs256",
                "A valid RS256 signature is verified, its key in several strings",
            ),
            |context| valid(context, KeyKind::Rs256),
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.tampered",
                "A change of any top-level member, also an unknown one, makes it invalid",
            ),
            tampered,
        ),
        test(
            Core,
            "9.3",
            (
                "signature.unsigned",
                "What is not signed is taken and marked unsigned",
            ),
            unsigned,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.unsigned.reject",
                "Where it rejects, what is not signed is refused: 403 SIGNATURE_REQUIRED",
            ),
            unsigned_rejected,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.forged",
                "A signature of another key is taken and marked invalid",
            ),
            forged,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.forged.reject",
                "Where it rejects, a forged signature is refused: 403 SIGNATURE_INVALID",
            ),
            forged_rejected,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.no-key",
                "A key that is not there makes it key_unavailable",
            ),
            no_key,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.no-key.reject",
                "Where it rejects, a key that is not there is asked for later: 503",
            ),
            no_key_rejected,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.accepted.reject",
                "Where it rejects, a valid signature passes",
            ),
            valid_where_rejected,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.duplicate-member",
                "A signed message with a member twice is refused",
            ),
            duplicate_member,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.representations",
                "Two signed representations of one message, a recipient each, both verify",
            ),
            representations,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.local-sender",
                "A local sender without its key is refused, signed or not",
            ),
            local_sender,
        ),
    ]
}

async fn valid(context: Arc<Context>, kind: KeyKind) -> Result<()> {
    let scene = Scene::set(&context, kind, None).await?;
    let signed = scene.key.signed(&scene.message())?;
    let seen = taken(&context, &scene, &signed).await?;
    ensure!(seen["result"] == "verified", "{seen}");
    ensure!(seen["domain"] == scene.domain.as_str(), "{seen}");
    ensure!(seen["keyid"] == KEYID, "{seen}");
    ensure!(
        seen["algorithm"] == signed["signature"]["algorithm"],
        "{seen}"
    );
    Ok(())
}

async fn tampered(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let mut message = scene.message();
    message["subject"] = json!("Invoice 42");
    message["x_unknown"] = json!({ "a": 1 });
    let signed = scene.key.signed(&message)?;
    for (member, value) in [
        ("payload", json!({ "n": 2 })),
        ("subject", json!("Invoice 43")),
        ("x_unknown", json!({ "a": 2 })),
        ("x_added", json!(true)),
        ("timestamp", json!(now(1))),
        ("idempotency_key", json!(uuid::Uuid::new_v4())),
        ("sender", json!(format!("other@{}", scene.domain))),
        ("in_reply_to", json!(uuid::Uuid::new_v4())),
    ] {
        // Each one to an agent of its own, so that the copies are told apart.
        let fresh = scene.with(context.agent().await?)?;
        let mut good = message.clone();
        good["recipients"] = json!([fresh.to.address]);
        let mut changed = scene.key.signed(&good)?;
        changed[member] = value;
        let seen = taken(&context, &fresh, &changed).await?;
        ensure!(seen["result"] == "invalid", "{member} changed: {seen}");
    }
    let seen = taken(&context, &scene, &signed).await?;
    ensure!(seen["result"] == "verified", "unchanged: {seen}");
    Ok(())
}

async fn unsigned(context: Arc<Context>) -> Result<()> {
    let to = context.agent().await?;
    let from = super::delivery::stranger();
    let body = crate::context::message(&from, &to, &Value::Null);
    expect_taken(&context.post(None, body.to_string()).await?)?;
    let mail = context.mail(&to, 1).await?;
    let seen = &mail[0]["sender_verification"];
    ensure!(seen["result"] == "unsigned", "{}", mail[0]);
    Ok(())
}

async fn strict(context: &Context) -> Result<Scene> {
    let why = Skipped("the subject does not say where it rejects: strict_senders");
    let zone = context.subject.strict_senders.as_ref().ok_or(why)?;
    Scene::set(context, KeyKind::Es256, Some(zone)).await
}

async fn refused(
    context: &Context,
    scene: &Scene,
    body: &Value,
    status: u16,
    code: &str,
) -> Result<()> {
    let answer = context.post(None, body.to_string()).await?;
    expect_error(&answer, status, code)?;
    if status == 503 {
        ensure!(answer.header("retry-after").is_some(), "no Retry-After");
    }
    let left = context.inbox(&scene.to, "").await?.len();
    ensure!(left == 0, "{left} messages were delivered");
    Ok(())
}

async fn unsigned_rejected(context: Arc<Context>) -> Result<()> {
    let scene = strict(&context).await?;
    refused(
        &context,
        &scene,
        &scene.message(),
        403,
        "SIGNATURE_REQUIRED",
    )
    .await
}

async fn forged_rejected(context: Arc<Context>) -> Result<()> {
    let scene = strict(&context).await?;
    let forged = DomainKey::new(KeyKind::Es256, KEYID)?.signed(&scene.message())?;
    refused(&context, &scene, &forged, 403, "SIGNATURE_INVALID").await
}

async fn no_key_rejected(context: Arc<Context>) -> Result<()> {
    let scene = strict(&context).await?;
    let other = DomainKey::new(KeyKind::Es256, "k9")?.signed(&scene.message())?;
    refused(&context, &scene, &other, 503, "SIGNATURE_KEY_UNAVAILABLE").await
}

async fn valid_where_rejected(context: Arc<Context>) -> Result<()> {
    let scene = strict(&context).await?;
    let signed = scene.key.signed(&scene.message())?;
    let seen = taken(&context, &scene, &signed).await?;
    ensure!(seen["result"] == "verified", "{seen}");
    Ok(())
}

async fn forged(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let forged = DomainKey::new(KeyKind::Es256, KEYID)?.signed(&scene.message())?;
    let seen = taken(&context, &scene, &forged).await?;
    ensure!(seen["result"] == "invalid", "{seen}");
    Ok(())
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let other = DomainKey::new(KeyKind::Es256, "k9")?.signed(&scene.message())?;
    let seen = taken(&context, &scene, &other).await?;
    ensure!(seen["result"] == "key_unavailable", "{seen}");
    Ok(())
}

async fn duplicate_member(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let signed = scene.key.signed(&scene.message())?.to_string();
    for twice in [
        signed.replacen('{', r#"{"subject":"another","subject":"more","#, 1),
        signed.replace(r#""payload":{"#, r#""payload":{"n":7,"#),
    ] {
        let answer = context.post(None, twice).await?;
        expect_error(&answer, 400, "INVALID_MESSAGE_FORMAT")?;
    }
    Ok(())
}

async fn representations(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, KeyKind::Es256, None).await?;
    let message = scene.message();
    let other = scene.with(context.agent().await?)?;
    for one in [&scene, &other] {
        let mut copy = message.clone();
        copy["recipients"] = json!([one.to.address]);
        let seen = taken(&context, one, &scene.key.signed(&copy)?).await?;
        ensure!(seen["result"] == "verified", "{}: {seen}", one.to.address);
    }
    Ok(())
}

async fn local_sender(context: Arc<Context>) -> Result<()> {
    let bench = context.bench()?;
    let agent = context.agent().await?;
    // A selector that the gateway itself does not use.
    let key = DomainKey::new(KeyKind::Es256, "forged")?;
    let name = key.name(context.domain());
    bench.dns.set(&name, vec![txt(&[&key.record()])]);
    let plain = crate::context::message(&agent, &agent, &Value::Null);
    for body in [key.signed(&plain)?, plain] {
        let answer = context.post(None, body.to_string()).await?;
        ensure!(answer.status.is_client_error(), "{}", answer.shown());
    }
    let left = context.inbox(&agent, "").await?;
    ensure!(left.is_empty(), "it was delivered: {left:?}");
    Ok(())
}
