//! Status, lists and cancelling (AMTP 1.0, sections 5.2.2, 12.1).

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::context::{Context, expect_error, expect_field, expect_status, expect_taken, id_of};
use crate::level::Level::Reliability;
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Reliability,
            "5.2.2",
            (
                "status.shape",
                "A status names recipients, times and the one word",
            ),
            status,
        ),
        test(
            Reliability,
            "5.2.2",
            (
                "status.visibility",
                "A stranger sees 404, a recipient its own row",
            ),
            visibility,
        ),
        test(
            Reliability,
            "5.2.2",
            ("status.unknown", "An unknown id answers 404"),
            unknown,
        ),
        test(
            Reliability,
            "12.1",
            ("message.show", "A message can be shown with its status"),
            show,
        ),
        test(
            Reliability,
            "12.1",
            (
                "list.newest-first",
                "Lists are newest first and page by cursor",
            ),
            list,
        ),
        test(
            Reliability,
            "12.1",
            (
                "list.filters",
                "Lists filter by sender, recipient and status",
            ),
            filters,
        ),
        test(
            Reliability,
            "12.1",
            ("list.bad", "Bad list parameters are refused by name"),
            bad_list,
        ),
        test(
            Reliability,
            "12.1",
            ("cancel.settled", "What is delivered cannot be cancelled"),
            cancel,
        ),
    ]
}

async fn status(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let id = id_of(&context.send(&from, &to, &Value::Null).await?)?;
    let answer = context
        .get(Some(&from.key), &format!("/v1/messages/{id}/status"))
        .await?;
    expect_status(&answer, 200)?;
    let view = answer.json();
    ensure!(
        view["message_id"] == id.as_str() && view["status"] == "delivered",
        "{view}"
    );
    let row = &view["recipients"][0];
    ensure!(
        row["address"] == to.address.as_str() && row["acknowledged"] == false,
        "{view}"
    );
    for member in ["created_at", "updated_at"] {
        ensure!(
            view[member]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{member}: {view}"
        );
    }
    context
        .delete(Some(&to.key), &format!("/v1/inbox/{}/{id}", to.address))
        .await?;
    let view = context
        .get(Some(&from.key), &format!("/v1/messages/{id}/status"))
        .await?
        .json();
    ensure!(view["recipients"][0]["acknowledged"] == true, "{view}");
    Ok(())
}

async fn visibility(context: Arc<Context>) -> Result<()> {
    let (from, to, third) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let both = json!({ "recipients": [to.address, from.address] });
    let id = id_of(&context.send(&from, &to, &both).await?)?;
    for path in [
        format!("/v1/messages/{id}"),
        format!("/v1/messages/{id}/status"),
    ] {
        expect_error(
            &context.get(Some(&third.key), &path).await?,
            404,
            "NOT_FOUND",
        )?;
    }
    let view = context
        .get(Some(&to.key), &format!("/v1/messages/{id}/status"))
        .await?
        .json();
    let rows = view["recipients"].as_array().cloned().unwrap_or_default();
    ensure!(
        rows.len() == 1 && rows[0]["address"] == to.address.as_str(),
        "{view}"
    );
    Ok(())
}

async fn unknown(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let id = Uuid::new_v4();
    for path in [
        format!("/v1/messages/{id}"),
        format!("/v1/messages/{id}/status"),
    ] {
        expect_error(
            &context.get(Some(&agent.key), &path).await?,
            404,
            "NOT_FOUND",
        )?;
    }
    Ok(())
}

async fn show(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let id = id_of(&context.send(&from, &to, &Value::Null).await?)?;
    let view = context
        .get(Some(&from.key), &format!("/v1/messages/{id}"))
        .await?
        .json();
    ensure!(
        view["message_id"] == id.as_str() && view["payload"] == json!({ "n": 1 }),
        "{view}"
    );
    ensure!(view["status"] == "delivered", "{view}");
    Ok(())
}

async fn list(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.new_agent().await?, context.new_agent().await?);
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.insert(0, id_of(&context.send(&from, &to, &Value::Null).await?)?);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/messages?limit=2&cursor={cursor}");
        let page = context.get(Some(&from.key), &path).await?.json();
        for message in page["messages"].as_array().into_iter().flatten() {
            seen.push(
                message["message_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    ensure!(seen == sent, "listed {seen:?}, sent {sent:?}");
    Ok(())
}

async fn filters(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.new_agent().await?, context.new_agent().await?);
    expect_taken(&context.send(&from, &to, &Value::Null).await?)?;
    expect_taken(&context.send(&to, &from, &Value::Null).await?)?;
    for (query, count) in [
        (format!("sender={}", from.address), 1),
        (format!("recipient={}", from.address), 1),
        ("status=delivered".to_owned(), 2),
        ("status=pending".to_owned(), 0),
        ("since=2100-01-01T00:00:00Z".to_owned(), 0),
        ("offset=1".to_owned(), 1),
    ] {
        let page = context
            .get(Some(&from.key), &format!("/v1/messages?{query}"))
            .await?
            .json();
        let found = page["messages"].as_array().map_or(0, Vec::len);
        ensure!(found == count, "{query}: {found} instead of {count}");
    }
    Ok(())
}

async fn bad_list(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("offset=-1", "offset"),
        ("cursor=nonsense", "cursor"),
        ("status=odd", "status"),
        ("since=soon", "since"),
        ("sender=nobody", "sender"),
    ] {
        let answer = context
            .get(Some(&agent.key), &format!("/v1/messages?{query}"))
            .await?;
        expect_error(&answer, 400, "INVALID_PARAMETER")?;
        expect_field(&answer, field)?;
    }
    expect_error(
        &context.get(None, "/v1/messages").await?,
        401,
        "AUTHENTICATION_FAILED",
    )
}

async fn cancel(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let id = id_of(&context.send(&from, &to, &Value::Null).await?)?;
    let path = format!("/v1/messages/{id}");
    expect_error(
        &context.delete(Some(&from.key), &path).await?,
        409,
        "CONFLICT",
    )?;
    expect_error(
        &context.delete(Some(&to.key), &path).await?,
        403,
        "ACCESS_DENIED",
    )?;
    let missing = format!("/v1/messages/{}", Uuid::new_v4());
    expect_error(
        &context.delete(Some(&from.key), &missing).await?,
        404,
        "NOT_FOUND",
    )
}
