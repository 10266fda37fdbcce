//! The A2A face of agents: a look at the main ways (A2A 1.0).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::client::{Answer, Call};
use crate::context::{Agent, Context, expect_status};
use crate::level::Level::Amtpd;
use crate::runner::Test;
use crate::subject::Capability;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Amtpd,
            "10.2",
            (
                "a2a.card",
                "An agent has a card that names it and where it is spoken to",
            ),
            card,
        ),
        test(
            Amtpd,
            "10.2",
            (
                "a2a.send",
                "A message to the agent becomes a task, and mail in its inbox",
            ),
            send,
        ),
        test(
            Amtpd,
            "10.2",
            (
                "a2a.unknown-task",
                "A task that is not there is answered by the error for it",
            ),
            unknown_task,
        ),
    ]
}

async fn needs(context: &Context) -> Result<()> {
    match context.offers("a2a").await? {
        true => Ok(()),
        false => context.needs(Capability::A2a),
    }
}

async fn card_of(context: &Context, agent: &Agent) -> Result<Answer> {
    let (name, _) = agent.address.split_once('@').context("no address")?;
    let path = format!("/a2a/{name}/.well-known/agent-card.json");
    let call = Call::new(Method::GET, context.url(&path)).header("a2a-version", "1.0");
    let answer = context.client.send(call).await?;
    expect_status(&answer, 200)?;
    Ok(answer)
}

async fn card(context: Arc<Context>) -> Result<()> {
    needs(&context).await?;
    let agent = context.agent().await?;
    let answer = card_of(&context, &agent).await?;
    let card = answer.json();
    for member in ["name", "description", "version"] {
        ensure!(card[member].is_string(), "{member}: {card}");
    }
    let first = &card["supportedInterfaces"][0];
    ensure!(first["url"].is_string(), "{card}");
    ensure!(first["protocolVersion"] == "1.0", "{card}");
    for member in ["skills", "defaultInputModes", "defaultOutputModes"] {
        ensure!(card[member].is_array(), "{member}: {card}");
    }
    ensure!(answer.header("etag").is_some(), "no ETag");
    Ok(())
}

/// Calls a method where the card says.
async fn call(context: &Context, agent: &Agent, key: &str, request: &Value) -> Result<Value> {
    let card = card_of(context, agent).await?.json();
    let interfaces = card["supportedInterfaces"].as_array();
    let rpc = interfaces
        .into_iter()
        .flatten()
        .find(|it| it["protocolBinding"] == "JSONRPC");
    let url = rpc.and_then(|it| it["url"].as_str());
    let url = url.context("no JSONRPC interface")?;
    let call = Call::new(Method::POST, url.to_owned())
        .json(request.to_string())
        .bearer(key)
        .header("a2a-version", "1.0");
    let answer = context.client.send(call).await?;
    expect_status(&answer, 200)?;
    Ok(answer.json())
}

async fn send(context: Arc<Context>) -> Result<()> {
    needs(&context).await?;
    let (caller, agent) = (context.agent().await?, context.agent().await?);
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {
        "message": { "messageId": Uuid::new_v4(), "role": "ROLE_USER",
            "parts": [{ "text": "How are you?" }] },
        "configuration": { "returnImmediately": true },
    } });
    let answer = call(&context, &agent, &caller.key, &request).await?;
    let task = &answer["result"]["task"];
    ensure!(task["id"].is_string(), "{answer}");
    let mail = context.mail(&agent, 1).await?;
    ensure!(mail[0].to_string().contains("How are you?"), "{}", mail[0]);
    let request = json!({ "jsonrpc": "2.0", "id": 2, "method": "GetTask",
        "params": { "id": task["id"] } });
    let answer = call(&context, &agent, &caller.key, &request).await?;
    ensure!(answer["result"]["id"] == task["id"], "{answer}");
    Ok(())
}

async fn unknown_task(context: Arc<Context>) -> Result<()> {
    needs(&context).await?;
    let (caller, agent) = (context.agent().await?, context.agent().await?);
    let request = json!({ "jsonrpc": "2.0", "id": 3, "method": "GetTask",
        "params": { "id": Uuid::new_v4() } });
    let answer = call(&context, &agent, &caller.key, &request).await?;
    ensure!(answer["error"]["code"] == -32001, "{answer}");
    Ok(())
}
