//! What a policy keeps out (AMTP 1.0, section 9.4).

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::context::{Agent, Context, expect_error, expect_status, expect_taken, message};
use crate::level::Level::Integration;
use crate::runner::{Skipped, Test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Integration,
            "9.4",
            (
                "policy.denied",
                "A sender that a policy denies is refused: 403 POLICY_DENIED",
            ),
            denied,
        ),
        test(
            Integration,
            "9.4",
            (
                "policy.subdomains",
                "*.domain is every subdomain at any depth, whatever the case, and not the domain itself",
            ),
            subdomains,
        ),
        test(
            Integration,
            "9.4",
            (
                "policy.not-lost",
                "A denied message leaves no trace with its recipient and can be sent again",
            ),
            no_trace,
        ),
    ]
}

fn zone(context: &Context) -> Result<&str> {
    let why = Skipped("the subject does not say what its policy denies: denied_senders");
    Ok(context.subject.denied_senders.as_deref().ok_or(why)?)
}

fn sender(domain: &str) -> Agent {
    Agent {
        address: format!("orders@{domain}"),
        key: String::new(),
    }
}

async fn denied(context: Arc<Context>) -> Result<()> {
    let from = sender(&format!("a.{}", zone(&context)?));
    let to = context.agent().await?;
    let body = message(&from, &to, &Value::Null).to_string();
    context.new_name().await;
    let answer = context.post(None, body).await?;
    expect_error(&answer, 403, "POLICY_DENIED")?;
    let count = context.inbox(&to, "").await?.len();
    ensure!(count == 0, "{count} messages were delivered");
    Ok(())
}

async fn subdomains(context: Arc<Context>) -> Result<()> {
    let zone = zone(&context)?;
    let to = context.agent().await?;
    for (domain, status) in [
        (format!("a.b.c.{zone}"), 403),
        (format!("A.{}", zone.to_uppercase()), 403),
        (zone.to_owned(), 202),
        (format!("x{zone}"), 202),
    ] {
        let body = message(&sender(&domain), &to, &Value::Null).to_string();
        let answer = context.post(None, body).await?;
        ensure!(
            answer.status.as_u16() == status,
            "{domain}: {}",
            answer.shown()
        );
    }
    Ok(())
}

async fn no_trace(context: Arc<Context>) -> Result<()> {
    let zone = zone(&context)?;
    let to = context.agent().await?;
    let key = json!({ "idempotency_key": Uuid::new_v4() });
    let refused = message(&sender(&format!("a.{zone}")), &to, &key);
    expect_status(&context.post(None, refused.to_string()).await?, 403)?;
    let taken = message(&sender(zone), &to, &key);
    expect_taken(&context.post(None, taken.to_string()).await?)?;
    let count = context.mail(&to, 1).await?.len();
    ensure!(count == 1, "{count} messages");
    Ok(())
}
