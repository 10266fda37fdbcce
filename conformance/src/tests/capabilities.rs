//! What a gateway says about domains (AMTP 1.0, section 3.2).

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::test;
use crate::context::{Context, expect_error, expect_field, expect_status};
use crate::level::Level::Amtpd;
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Amtpd,
            "3.2",
            (
                "capabilities.own",
                "Anyone may read what the gateway publishes of its own domain",
            ),
            own,
        ),
        test(
            Amtpd,
            "3.2",
            ("capabilities.bad", "What is no domain is refused by name"),
            bad,
        ),
        test(
            Amtpd,
            "3.2",
            (
                "capabilities.no-key",
                "A name that is not known yet is asked for with a credential only",
            ),
            no_key,
        ),
        test(
            Amtpd,
            "3.2",
            (
                "capabilities.no-record",
                "A domain without a record answers 404, a DNS that fails 503",
            ),
            no_record,
        ),
    ]
}

async fn own(context: Arc<Context>) -> Result<()> {
    let own = context.domain();
    for name in [own.to_owned(), own.to_uppercase(), format!("{own}.")] {
        let answer = context
            .get(None, &format!("/v1/capabilities/{name}"))
            .await?;
        expect_status(&answer, 200)?;
        let view = answer.json();
        ensure!(
            view["domain"] == own && view["version"] == "1.0",
            "{name}: {view}"
        );
        ensure!(view["gateway"] == context.subject.url.as_str(), "{view}");
        ensure!(
            view["features"].is_array() && view["auth"].is_array(),
            "{view}"
        );
        ensure!(
            view["max_size"].as_u64() == u64::try_from(context.subject.message_size).ok(),
            "{view}"
        );
    }
    Ok(())
}

async fn bad(context: Arc<Context>) -> Result<()> {
    for name in ["a..b", "-a.example", "a%20b.example", "alice@a.example"] {
        let answer = context
            .get(None, &format!("/v1/capabilities/{name}"))
            .await?;
        expect_error(&answer, 400, "INVALID_PARAMETER")?;
        expect_field(&answer, "domain")?;
    }
    Ok(())
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    let path = format!("/v1/capabilities/{}.example", context.fresh_name());
    for key in [None, Some("ak_0000000000000000_nobodys")] {
        let answer = context.get(key, &path).await?;
        expect_error(&answer, 401, "AUTHENTICATION_FAILED")?;
    }
    Ok(())
}

async fn no_record(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let path = format!("/v1/capabilities/{}.invalid", context.fresh_name());
    let answer = context.get(Some(&agent.key), &path).await?;
    if answer.status.as_u16() == 503 {
        ensure!(answer.header("retry-after").is_some(), "no Retry-After");
        return expect_error(&answer, 503, "TEMPORARY_FAILURE");
    }
    expect_error(&answer, 404, "NOT_FOUND")
}
