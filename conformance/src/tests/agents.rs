//! Agents: discovery, keys, life and death (AMTP 1.0, sections 10.2, 12.1.5).

use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::test;
use crate::client::Call;
use crate::context::{
    Agent, Context, expect_error, expect_field, expect_status, expect_taken, message, object,
};
use crate::level::Level::{Amtpd, Integration};
use crate::runner::{Skipped, Test};

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Integration,
            "10.2",
            (
                "discovery.shape",
                "Agents are listed with mode, schemas, capabilities",
            ),
            shape,
        ),
        test(
            Integration,
            "10.2",
            ("discovery.filters", "Every filter of discovery narrows"),
            filters,
        ),
        test(
            Integration,
            "10.2",
            ("discovery.unlisted", "An unlisted agent is not shown"),
            unlisted,
        ),
        test(
            Integration,
            "10.2",
            (
                "discovery.domain",
                "Our domain is answered, another's is 404",
            ),
            domain,
        ),
        test(
            Amtpd,
            "12.1.5",
            ("agent.exists", "An address is given once"),
            exists,
        ),
        test(
            Amtpd,
            "12.1.5",
            ("agent.bad", "A bad agent form names the field"),
            bad,
        ),
        test(
            Amtpd,
            "12.1.5",
            ("agent.no-key", "The admin API needs the admin key"),
            no_key,
        ),
        test(
            Amtpd,
            "12.1.5",
            ("agent.change", "Settings can be changed one by one"),
            change,
        ),
        test(
            Amtpd,
            "12.1.5",
            (
                "agent.rotate",
                "A rotated key works beside the new one for the overlap",
            ),
            rotate,
        ),
        test(
            Amtpd,
            "12.1.5",
            ("agent.revoke", "A revoked key ends at once"),
            revoke,
        ),
        test(
            Amtpd,
            "12.1.5",
            (
                "agent.delete",
                "A new agent of an old name has an empty inbox",
            ),
            delete,
        ),
        test(
            Amtpd,
            "12.1.5",
            (
                "agent.enrol",
                "With an enrolment token an agent registers itself",
            ),
            enrol,
        ),
        test(
            Integration,
            "10.2",
            ("agent.schemas", "An agent takes only the schemas it names"),
            schemas,
        ),
    ]
}

async fn found(context: &Context, query: &str) -> Result<Vec<Value>> {
    let answer = context
        .get(None, &format!("/v1/discovery/agents?{query}"))
        .await?;
    expect_status(&answer, 200)?;
    Ok(answer.json()["agents"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}

fn path(agent: &Agent, rest: &str) -> String {
    format!("/v1/admin/agents/{}{rest}", agent.address)
}

async fn shape(context: Arc<Context>) -> Result<()> {
    let more = json!({ "capabilities": ["translate"], "role": "clerk", "description": "Answers." });
    let agent = context.agent_with(&more).await?;
    let agents = found(&context, &format!("address={}", agent.address)).await?;
    ensure!(agents.len() == 1, "{} found", agents.len());
    let view = &agents[0];
    ensure!(
        view["delivery_mode"] == "pull" && view["capabilities"] == json!(["translate"]),
        "{view}"
    );
    ensure!(view["role"] == "clerk" && view["active"] == true, "{view}");
    ensure!(
        view.get("push_target").is_none() && view.get("api_key").is_none(),
        "it tells too much: {view}"
    );
    Ok(())
}

async fn filters(context: Arc<Context>) -> Result<()> {
    let word = context.fresh_name();
    let more = json!({
        "capabilities": [word], "role": word, "supported_schemas": ["agntcy:commerce.*"],
    });
    let agent = context.agent_with(&more).await?;
    for (query, count) in [
        (format!("capability={word}"), 1),
        (format!("role={word}"), 1),
        (format!("role={word}&delivery_mode=push"), 0),
        (format!("role={word}&delivery_mode=pull"), 1),
        (format!("role={word}&active_only=true"), 1),
        (format!("role={word}&schema=agntcy:commerce.order.v1"), 1),
        (format!("role={word}&schema=agntcy:finance.invoice.v1"), 0),
        (format!("role={word}&address={}", agent.address), 1),
    ] {
        let agents = found(&context, &query).await?.len();
        ensure!(agents == count, "{query}: {agents} instead of {count}");
    }
    let answer = context
        .get(None, "/v1/discovery/agents?delivery_mode=pigeon")
        .await?;
    expect_error(&answer, 400, "INVALID_PARAMETER")?;
    expect_field(&answer, "delivery_mode")
}

async fn unlisted(context: Arc<Context>) -> Result<()> {
    let agent = context.agent_with(&json!({ "listed": false })).await?;
    ensure!(
        found(&context, &format!("address={}", agent.address))
            .await?
            .is_empty(),
        "it is shown"
    );
    expect_taken(&context.send(&agent, &agent, &Value::Null).await?)
}

async fn domain(context: Arc<Context>) -> Result<()> {
    let ours = format!("/v1/discovery/agents/{}", context.domain());
    expect_status(&context.get(None, &ours).await?, 200)?;
    expect_error(
        &context
            .get(None, "/v1/discovery/agents/elsewhere.example")
            .await?,
        404,
        "NOT_FOUND",
    )
}

async fn exists(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let form = json!({ "address": agent.address, "delivery_mode": "pull" });
    expect_error(
        &context
            .admin(Method::POST, "/v1/admin/agents", Some(&form))
            .await?,
        409,
        "CONFLICT",
    )
}

async fn bad(context: Arc<Context>) -> Result<()> {
    let long = "n".repeat(65);
    for (field, value) in [
        ("address", json!("Bob Smith")),
        ("address", json!(long)),
        ("address", json!("-dash")),
        ("address", json!("postmaster")),
        ("address", json!("a@elsewhere.example")),
        ("delivery_mode", json!("pigeon")),
        ("push_target", json!("https://a.example/")),
        ("supported_schemas[0]", json!([""])),
        ("capabilities[0]", json!(["\u{7}"])),
        ("description", json!("x".repeat(2_000))),
    ] {
        let member = field.split('[').next().unwrap_or_default();
        let mut form = json!({ "address": context.fresh_name(), "delivery_mode": "pull" });
        form[member] = value;
        let answer = context
            .admin(Method::POST, "/v1/admin/agents", Some(&form))
            .await?;
        expect_error(&answer, 400, "INVALID_PARAMETER")?;
        expect_field(&answer, field)?;
    }
    Ok(())
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    let Some(admin) = &context.subject.admin else {
        return Err(Skipped("no admin access is given").into());
    };
    let url = format!("{}/v1/admin/agents", admin.url);
    let answer = context
        .client
        .send(Call::new(Method::GET, url.clone()))
        .await?;
    expect_error(&answer, 401, "AUTHENTICATION_FAILED")?;
    let agent = context.agent().await?;
    for call in [
        Call::new(Method::GET, url.clone()).header("x-admin-key", "guessed"),
        Call::new(Method::GET, url).bearer(&agent.key),
    ] {
        expect_error(&context.client.send(call).await?, 403, "ACCESS_DENIED")?;
    }
    Ok(())
}

async fn change(context: Arc<Context>) -> Result<()> {
    let agent = context
        .agent_with(&json!({ "role": "clerk", "capabilities": ["a"] }))
        .await?;
    let form = json!({ "role": null, "description": "New." });
    let answer = context
        .admin(Method::PATCH, &path(&agent, ""), Some(&form))
        .await?;
    expect_status(&answer, 200)?;
    let view = answer.json()["agent"].clone();
    ensure!(
        view["role"].is_null() && view["description"] == "New.",
        "{view}"
    );
    ensure!(
        view["capabilities"] == json!(["a"]),
        "another member changed: {view}"
    );
    ensure!(
        works(&context, &agent.address, &agent.key).await?,
        "its key does not work"
    );
    let off = context
        .admin(
            Method::PATCH,
            &path(&agent, ""),
            Some(&json!({ "active": false })),
        )
        .await?;
    expect_status(&off, 200)?;
    let answer = context.send(&agent, &agent, &Value::Null).await?;
    ensure!(
        answer.status.as_u16() == 401,
        "an inactive agent sends: {}",
        answer.shown()
    );
    Ok(())
}

async fn works(context: &Context, address: &str, key: &str) -> Result<bool> {
    let answer = context
        .get(Some(key), &format!("/v1/inbox/{address}"))
        .await?;
    Ok(answer.status.as_u16() == 200)
}

async fn rotate(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let form = json!({ "overlap": "1h" });
    let answer = context
        .admin(Method::POST, &path(&agent, "/rotate-key"), Some(&form))
        .await?;
    expect_status(&answer, 200)?;
    let new = answer.json()["agent"]["api_key"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(new != agent.key, "the key is the old one");
    ensure!(
        works(&context, &agent.address, &agent.key).await?,
        "the old key ended too soon"
    );
    ensure!(
        works(&context, &agent.address, &new).await?,
        "the new key does not work"
    );
    let form = json!({ "overlap": "0s" });
    expect_status(
        &context
            .admin(Method::POST, &path(&agent, "/rotate-key"), Some(&form))
            .await?,
        200,
    )?;
    for old in [&agent.key, &new] {
        ensure!(
            !works(&context, &agent.address, old).await?,
            "an old key still works"
        );
    }
    Ok(())
}

async fn revoke(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let keys = context
        .admin(Method::GET, &path(&agent, "/keys"), None)
        .await?;
    ensure!(!keys.text.contains(&agent.key), "the key is told again");
    let id = keys.json()["keys"][0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let answer = context
        .admin(Method::DELETE, &path(&agent, &format!("/keys/{id}")), None)
        .await?;
    expect_status(&answer, 204)?;
    ensure!(
        !works(&context, &agent.address, &agent.key).await?,
        "the key still works"
    );
    Ok(())
}

async fn delete(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    expect_taken(&context.send(&agent, &agent, &Value::Null).await?)?;
    expect_status(
        &context
            .admin(Method::DELETE, &path(&agent, ""), None)
            .await?,
        204,
    )?;
    expect_error(
        &context.admin(Method::GET, &path(&agent, ""), None).await?,
        404,
        "NOT_FOUND",
    )?;
    ensure!(
        !works(&context, &agent.address, &agent.key).await?,
        "the key outlived its agent"
    );
    let again = context
        .agent_with(&object([("address", json!(agent.address))]))
        .await?;
    ensure!(
        context.inbox(&again, "").await?.is_empty(),
        "the new agent reads the old one's mail"
    );
    Ok(())
}

async fn enrol(context: Arc<Context>) -> Result<()> {
    let name = context.fresh_name();
    let form = json!({ "names": format!("{name}*"), "uses": 1, "expires_in": "1h" });
    let answer = context
        .admin(Method::POST, "/v1/admin/enrolment-tokens", Some(&form))
        .await?;
    expect_status(&answer, 201)?;
    let token = answer.json()["enrolment_token"]["token"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let register = |name: String, token: String| {
        let context = context.clone();
        async move {
            let form = json!({ "address": name, "delivery_mode": "pull" });
            context
                .post_json(&token, "/v1/agents/register", &form)
                .await
        }
    };
    let other = register(context.fresh_name(), token.clone()).await?;
    expect_error(&other, 400, "INVALID_PARAMETER")?;
    let answer = register(format!("{name}-1"), token.clone()).await?;
    expect_status(&answer, 201)?;
    ensure!(
        answer.json()["agent"]["api_key"].is_string(),
        "no key: {}",
        answer.shown()
    );
    expect_error(
        &register(format!("{name}-2"), token).await?,
        403,
        "ACCESS_DENIED",
    )?;
    expect_error(
        &register(format!("{name}-3"), "et_guess".to_owned()).await?,
        403,
        "ACCESS_DENIED",
    )
}

async fn schemas(context: Arc<Context>) -> Result<()> {
    let from = context.agent().await?;
    let to = context
        .agent_with(&json!({ "supported_schemas": ["agntcy:commerce.order.*"] }))
        .await?;
    let send = |schema: &'static str| {
        let body = message(&from, &to, &json!({ "schema": schema })).to_string();
        let (context, key) = (context.clone(), from.key.clone());
        async move { context.post(Some(&key), body).await }
    };
    expect_taken(&send("agntcy:commerce.order.v1").await?)?;
    expect_error(
        &send("agntcy:finance.invoice.v1").await?,
        400,
        "SCHEMA_VALIDATION_FAILED",
    )
}
