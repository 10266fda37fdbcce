//! Mail that calls webhooks: the call, its signature, replies (AMTP 1.0, section 10.2).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use ring::hmac;
use serde_json::{Value, json};

use super::test;
use crate::context::{Agent, Context, expect_status, expect_taken, id_of, message};
use crate::hook::{Called, Hook, Reply};
use crate::level::Level::{Advanced, Amtpd};
use crate::runner::{Skipped, Test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Amtpd,
            "10.2",
            (
                "webhook.call",
                "Mail for a push agent is posted to its webhook and signed with its secret",
            ),
            call,
        ),
        test(
            Advanced,
            "10.2",
            (
                "webhook.reply",
                "A response in the webhook's answer comes to the sender as a message",
            ),
            reply,
        ),
        test(
            Amtpd,
            "10.2",
            (
                "webhook.wait",
                "Who waits gets what the webhook answers as the reply",
            ),
            wait,
        ),
        test(
            Advanced,
            "10.2",
            (
                "webhook.body",
                "The call has the message, whom it is for, and the agent's own headers",
            ),
            body,
        ),
        test(
            Advanced,
            "5.3",
            (
                "webhook.retry",
                "A webhook that fails is called again with the same id",
            ),
            retry,
        ),
    ]
}

const RESPONSE: Reply = Reply(200, r#"{"response":{"answer":42}}"#);

/// A push agent with a webhook of ours, and one that writes to it.
struct Scene {
    hook: Hook,
    pushed: Agent,
    secret: String,
    sender: Agent,
}

impl Scene {
    async fn set(context: &Context, replies: &[Reply]) -> Result<Self> {
        let Some(host) = context.subject.webhook_host else {
            let why = "no place for webhooks given: --webhook-host IP";
            return Err(Skipped(why).into());
        };
        let hook = Hook::open(host, replies).await?;
        let sender = context.agent().await?;
        let form = json!({
            "address": context.fresh_name(), "delivery_mode": "push", "push_target": hook.url,
            "replies": "auto", "headers": { "x-conformance": "own header" },
        });
        let path = "/v1/admin/agents";
        let made = context.admin(Method::POST, path, Some(&form)).await?;
        expect_status(&made, 201)?;
        let view = &made.json()["agent"];
        let text = |name: &str| view[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            hook,
            pushed: Agent {
                address: text("address"),
                key: text("api_key"),
            },
            secret: text("webhook_secret"),
            sender,
        })
    }

    async fn send(&self, context: &Context) -> Result<String> {
        let answer = context
            .send(&self.sender, &self.pushed, &Value::Null)
            .await?;
        expect_taken(&answer)?;
        id_of(&answer)
    }

    /// Removes the push agent, whatever came of the test.
    async fn end(self, context: &Context, outcome: Result<()>) -> Result<()> {
        let path = format!("/v1/admin/agents/{}", self.pushed.address);
        let removed = context.admin(Method::DELETE, &path, None).await?;
        outcome?;
        ensure!(removed.status.is_success(), "{}", removed.shown());
        Ok(())
    }
}

async fn call(context: Arc<Context>) -> Result<()> {
    let mut scene = Scene::set(&context, &[]).await?;
    let outcome = is_called(&context, &mut scene).await;
    scene.end(&context, outcome).await
}

async fn is_called(context: &Context, scene: &mut Scene) -> Result<()> {
    let id = scene.send(context).await?;
    let called = scene.hook.call().await?;
    ensure!(called.method == Method::POST, "{called:?}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-amtp-local-delivery", "true"),
        ("x-conformance", "own header"),
        ("webhook-id", &id),
    ] {
        ensure!(
            called.header(name) == value,
            "{name}: {:?}",
            called.header(name)
        );
    }
    ensure!(
        is_signed(&called, &scene.secret)?,
        "no signature fits: {called:?}"
    );
    let letter: Value = serde_json::from_slice(&called.body)?;
    ensure!(letter["message_id"] == id.as_str(), "{letter}");
    ensure!(
        letter["sender"] == scene.sender.address.as_str()
            && letter["recipient"] == scene.pushed.address.as_str(),
        "{letter}"
    );
    ensure!(
        letter["payload"] == json!({ "n": 1 }) && letter["in_reply_to"].is_null(),
        "{letter}"
    );
    let view = context
        .status_when((&scene.sender, &id), |view| view["status"] == "delivered")
        .await?;
    ensure!(view["recipients"][0]["delivery_mode"] == "push", "{view}");
    ensure!(!scene.hook.has_more(), "called twice");
    Ok(())
}

/// Whether one of its signatures is that of the secret, as Standard Webhooks say.
fn is_signed(called: &Called, secret: &str) -> Result<bool> {
    let secret = secret.strip_prefix("whsec_").context("no whsec_ secret")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret)?);
    let seconds = called.header("webhook-timestamp");
    let at: u64 = seconds.parse().context("webhook-timestamp")?;
    ensure!(at > 1_700_000_000, "webhook-timestamp: {at} is long ago");
    let mut signed = format!("{}.{seconds}.", called.header("webhook-id")).into_bytes();
    signed.extend_from_slice(&called.body);
    let signatures = called.header("webhook-signature").split(' ');
    let fits = |signature: &str| {
        let tag = signature
            .strip_prefix("v1,")
            .and_then(|it| STANDARD.decode(it).ok());
        tag.is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
    };
    Ok(signatures.into_iter().any(fits))
}

async fn body(context: Arc<Context>) -> Result<()> {
    let mut scene = Scene::set(&context, &[]).await?;
    let outcome = has_message(&context, &mut scene).await;
    scene.end(&context, outcome).await
}

async fn has_message(context: &Context, scene: &mut Scene) -> Result<()> {
    let id = scene.send(context).await?;
    let called = scene.hook.call().await?;
    ensure!(called.header("x-conformance") == "own header", "{called:?}");
    let letter: Value = serde_json::from_slice(&called.body)?;
    for (member, wanted) in [
        ("message_id", &id),
        ("sender", &scene.sender.address),
        ("recipient", &scene.pushed.address),
    ] {
        ensure!(letter[member] == wanted.as_str(), "{member}: {letter}");
    }
    ensure!(letter["payload"] == json!({ "n": 1 }), "{letter}");
    Ok(())
}

async fn reply(context: Arc<Context>) -> Result<()> {
    let scene = Scene::set(&context, &[RESPONSE]).await?;
    let outcome = is_answered(&context, &scene).await;
    scene.end(&context, outcome).await
}

async fn is_answered(context: &Context, scene: &Scene) -> Result<()> {
    let id = scene.send(context).await?;
    let mail = context.inbox(&scene.sender, "?wait=30s").await?;
    ensure!(mail.len() == 1, "{} replies", mail.len());
    let reply = &mail[0];
    ensure!(
        reply["sender"] == scene.pushed.address.as_str() && reply["in_reply_to"] == id.as_str(),
        "{reply}"
    );
    ensure!(reply["payload"] == json!({ "answer": 42 }), "{reply}");
    ensure!(reply["headers"]["x-amtp-auto"].is_string(), "{reply}");
    Ok(())
}

async fn wait(context: Arc<Context>) -> Result<()> {
    if !context.offers("wait").await? {
        return Err(Skipped("the gateway does not offer the feature `wait`").into());
    }
    let scene = Scene::set(&context, &[RESPONSE]).await?;
    let outcome = is_waited_for(&context, &scene).await;
    scene.end(&context, outcome).await
}

async fn is_waited_for(context: &Context, scene: &Scene) -> Result<()> {
    let body = message(&scene.sender, &scene.pushed, &Value::Null);
    let path = "/v1/messages?wait=30&ack=1";
    let answer = context.post_json(&scene.sender.key, path, &body).await?;
    expect_status(&answer, 200)?;
    let view = answer.json();
    ensure!(
        view["status"] == "delivered" && view["reply"]["payload"] == json!({ "answer": 42 }),
        "{view}"
    );
    let left = context.inbox(&scene.sender, "").await?.len();
    ensure!(left == 0, "{left} left in the inbox");
    Ok(())
}

async fn retry(context: Arc<Context>) -> Result<()> {
    let mut scene = Scene::set(&context, &[Reply(503, "")]).await?;
    let outcome = is_called_again(&context, &mut scene).await;
    scene.end(&context, outcome).await
}

async fn is_called_again(context: &Context, scene: &mut Scene) -> Result<()> {
    let id = scene.send(context).await?;
    for _ in 0..2 {
        let called = scene.hook.call().await?;
        let letter: Value = serde_json::from_slice(&called.body)?;
        ensure!(letter["message_id"] == id.as_str(), "{letter}");
    }
    let view = context
        .status_when((&scene.sender, &id), |view| view["status"] == "delivered")
        .await?;
    ensure!(view["recipients"][0]["error_code"].is_null(), "{view}");
    ensure!(!scene.hook.has_more(), "called after it was delivered");
    Ok(())
}

#[cfg(test)]
mod checks {
    use hyper::header::HeaderMap;

    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const SIGNATURE: &str = "v1,Hi/9m7nqNzv13ub1l5sPaavRmzM7w00h+9E8Pogq1Yw=";

    fn called(signature: &'static str, body: &'static str) -> Called {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", "m-1"),
            ("webhook-timestamp", "1795255200"),
            ("webhook-signature", signature),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Called {
            method: Method::POST,
            headers,
            body: body.into(),
        }
    }

    #[test]
    fn only_the_signature_of_this_secret_and_body_fits() {
        let body = r#"{"a":1}"#;
        assert!(is_signed(&called(SIGNATURE, body), SECRET).unwrap());
        assert!(!is_signed(&called(SIGNATURE, r#"{"a":2}"#), SECRET).unwrap());
        assert!(!is_signed(&called(SIGNATURE, body), "whsec_AAAA").unwrap());
        assert!(!is_signed(&called("v1,AAAA", body), SECRET).unwrap());
        assert!(!is_signed(&called("", body), SECRET).unwrap());
    }
}
