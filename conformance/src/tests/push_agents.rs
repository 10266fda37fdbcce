//! Agents with a webhook: the secret that signs what it gets (AMTP 1.0, section 10.2).

use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::test;
use crate::client::Answer;
use crate::context::{Context, expect_error, expect_field, expect_status};
use crate::level::Level::Amtpd;
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Amtpd,
            "10.2",
            (
                "agent.webhook-secret",
                "The secret of a webhook is shown where it is made and nowhere else",
            ),
            webhook_secret,
        ),
        test(
            Amtpd,
            "10.2",
            (
                "agent.becomes-push",
                "An agent that gets a webhook gets its secret",
            ),
            becomes_push,
        ),
    ]
}

const TARGET: &str = "https://hook.example/in?token=hidden";

fn push_form(context: &Context) -> Value {
    json!({ "address": context.fresh_name(), "delivery_mode": "push", "push_target": TARGET })
}

/// The secret of a webhook in an answer; empty where there is none.
fn secret_in(answer: &Answer) -> String {
    let view = &answer.json()["agent"];
    view["webhook_secret"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn webhook_secret(context: Arc<Context>) -> Result<()> {
    let form = push_form(&context);
    let made = context
        .admin(Method::POST, "/v1/admin/agents", Some(&form))
        .await?;
    expect_status(&made, 201)?;
    let first = secret_in(&made);
    ensure!(first.starts_with("whsec_") && first.len() == 50, "{first}");
    let address = made.json()["agent"]["address"].clone();
    let path = format!("/v1/admin/agents/{}", address.as_str().unwrap_or_default());
    let shown = context.admin(Method::GET, &path, None).await?;
    expect_status(&shown, 200)?;
    ensure!(
        secret_in(&shown).is_empty(),
        "told again: {}",
        shown.shown()
    );
    let rotate = format!("{path}/rotate-webhook-secret");
    let rotated = context.admin(Method::POST, &rotate, None).await?;
    expect_status(&rotated, 200)?;
    let second = secret_in(&rotated);
    ensure!(second.starts_with("whsec_") && second != first, "{second}");
    let other = json!({ "role": "clerk" });
    let changed = context.admin(Method::PATCH, &path, Some(&other)).await?;
    expect_status(&changed, 200)?;
    ensure!(secret_in(&changed).is_empty(), "{}", changed.shown());
    let found = context
        .get(None, "/v1/discovery/agents?delivery_mode=push")
        .await?;
    ensure!(!found.text.contains("hook.example"), "its webhook is shown");
    Ok(())
}

async fn becomes_push(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let path = format!("/v1/admin/agents/{}", agent.address);
    let rotate = format!("{path}/rotate-webhook-secret");
    let refused = context.admin(Method::POST, &rotate, None).await?;
    expect_error(&refused, 409, "CONFLICT")?;
    let form = json!({ "delivery_mode": "push" });
    let refused = context.admin(Method::PATCH, &path, Some(&form)).await?;
    expect_error(&refused, 400, "INVALID_PARAMETER")?;
    expect_field(&refused, "push_target")?;
    let form = json!({ "delivery_mode": "push", "push_target": TARGET });
    let changed = context.admin(Method::PATCH, &path, Some(&form)).await?;
    expect_status(&changed, 200)?;
    ensure!(!secret_in(&changed).is_empty(), "{}", changed.shown());
    let form = json!({ "names": context.fresh_name(), "uses": 1, "expires_in": "1h" });
    let answer = context
        .admin(Method::POST, "/v1/admin/enrolment-tokens", Some(&form))
        .await?;
    let token = answer.json()["enrolment_token"].clone();
    let mut form = push_form(&context);
    form["address"] = token["names"].clone();
    let token = token["token"].as_str().unwrap_or_default();
    let enrolled = context
        .post_json(token, "/v1/agents/register", &form)
        .await?;
    expect_status(&enrolled, 201)?;
    ensure!(!secret_in(&enrolled).is_empty(), "{}", enrolled.shown());
    Ok(())
}
