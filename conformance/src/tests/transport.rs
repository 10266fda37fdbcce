//! HTTPS, versions and the shape of every failure (AMTP 1.0, sections 5.1, 8, 13).

use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper::{Method, Version};

use super::test;
use crate::client::{Call, Client, Offer};
use crate::context::{Context, expect_error, expect_status, message};
use crate::level::Level::{Amtpd, Core};
use crate::runner::{Skipped, Test};
use serde_json::Value;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Core,
            "3.2",
            (
                "discovery.record",
                "The _amtp TXT record of the domain names the gateway",
            ),
            record,
        ),
        test(
            Core,
            "5.1",
            (
                "transport.h2",
                "HTTP/2 is spoken over TLS 1.3, chosen by ALPN",
            ),
            http2,
        ),
        test(
            Core,
            "5.1",
            (
                "transport.http1",
                "HTTP/1.1 is spoken to clients that offer no more",
            ),
            http1,
        ),
        test(
            Core,
            "8.1",
            (
                "transport.tls12",
                "A client that offers TLS 1.2 only is refused",
            ),
            old_tls,
        ),
        test(
            Core,
            "13.2",
            (
                "error.not-found",
                "An unknown path answers 404 with the error body",
            ),
            not_found,
        ),
        test(
            Core,
            "13.2",
            (
                "error.method",
                "A wrong method answers 405 with Allow and the error body",
            ),
            method,
        ),
        test(
            Core,
            "13.2",
            ("error.media-type", "A body that is not JSON answers 415"),
            media_type,
        ),
        test(
            Core,
            "13.2",
            (
                "error.encoding",
                "A Content-Encoding outside a batch answers 415",
            ),
            encoding,
        ),
        test(
            Core,
            "5.1",
            (
                "transport.request-id",
                "The caller's X-Request-ID comes back in header and error",
            ),
            request_id,
        ),
        test(
            Core,
            "4.2",
            (
                "transport.version-header",
                "Answers carry X-AMTP-Version; one other than 1.x is refused",
            ),
            version,
        ),
        test(
            Core,
            "4.3",
            (
                "transport.size.declared",
                "A declared length over the limit answers 413",
            ),
            too_large,
        ),
        test(
            Core,
            "4.3",
            (
                "transport.size.chunked",
                "Undeclared bytes over the limit answer 413",
            ),
            too_large_chunked,
        ),
        test(
            Core,
            "5.1",
            (
                "transport.content-type",
                "Answers in JSON say so: application/json",
            ),
            content_type,
        ),
        test(
            Amtpd,
            "8.1",
            (
                "transport.hsts",
                "Answers over TLS carry Strict-Transport-Security",
            ),
            hsts,
        ),
        test(
            Amtpd,
            "12.3",
            (
                "transport.health",
                "GET /health and GET /ready answer 200 with a status",
            ),
            health,
        ),
    ]
}

async fn http2(context: Arc<Context>) -> Result<()> {
    let answer = context.get(None, "/v1/discovery/agents").await?;
    expect_status(&answer, 200)?;
    ensure!(
        answer.version == Version::HTTP_2,
        "spoke {:?}",
        answer.version
    );
    Ok(())
}

async fn http1(context: Arc<Context>) -> Result<()> {
    let client = Client::new(&context.subject, Offer::Http1)?;
    let answer = client
        .send(Call::new(Method::GET, context.url("/v1/discovery/agents")))
        .await?;
    expect_status(&answer, 200)?;
    ensure!(
        answer.version == Version::HTTP_11,
        "spoke {:?}",
        answer.version
    );
    Ok(())
}

async fn old_tls(context: Arc<Context>) -> Result<()> {
    let client = Client::new(&context.subject, Offer::OldTls)?;
    let answer = client
        .send(Call::new(Method::GET, context.url("/v1/discovery/agents")))
        .await;
    ensure!(answer.is_err(), "a TLS 1.2 client was answered");
    Ok(())
}

async fn not_found(context: Arc<Context>) -> Result<()> {
    expect_error(
        &context.get(None, "/v1/no-such-thing").await?,
        404,
        "NOT_FOUND",
    )
}

async fn method(context: Arc<Context>) -> Result<()> {
    let answer = context.delete(None, "/v1/messages").await?;
    expect_error(&answer, 405, "METHOD_NOT_ALLOWED")?;
    ensure!(
        answer
            .header("allow")
            .is_some_and(|allow| allow.contains("POST")),
        "no Allow header"
    );
    Ok(())
}

async fn media_type(context: Arc<Context>) -> Result<()> {
    let call = Call::new(Method::POST, context.url("/v1/messages"))
        .header("content-type", "text/plain")
        .body("{}");
    expect_error(
        &context.client.send(call).await?,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    )
}

async fn encoding(context: Arc<Context>) -> Result<()> {
    let call = Call::new(Method::POST, context.url("/v1/messages"))
        .json("{}")
        .header("content-encoding", "gzip");
    expect_error(
        &context.client.send(call).await?,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    )
}

async fn request_id(context: Arc<Context>) -> Result<()> {
    let call = Call::new(Method::GET, context.url("/v1/no-such-thing"))
        .header("x-request-id", "conformance-1");
    let answer = context.client.send(call).await?;
    ensure!(
        answer.header("x-request-id") == Some("conformance-1"),
        "the header is another"
    );
    ensure!(
        answer.json()["error"]["request_id"] == "conformance-1",
        "the body says another id"
    );
    let call =
        Call::new(Method::GET, context.url("/v1/no-such-thing")).header("x-request-id", "bad id!");
    let answer = context.client.send(call).await?;
    ensure!(
        answer
            .header("x-request-id")
            .is_some_and(|id| id != "bad id!"),
        "a malformed id came back"
    );
    Ok(())
}

async fn version(context: Arc<Context>) -> Result<()> {
    let answer = context.get(None, "/v1/discovery/agents").await?;
    ensure!(
        answer
            .header("x-amtp-version")
            .is_some_and(|it| it.starts_with("1.")),
        "no X-AMTP-Version"
    );
    let call =
        Call::new(Method::GET, context.url("/v1/discovery/agents")).header("x-amtp-version", "2.0");
    let answer = context.client.send(call).await?;
    expect_error(&answer, 400, "UNSUPPORTED_VERSION")?;
    ensure!(
        answer.json()["error"]["details"]["supported"].is_array(),
        "no details.supported"
    );
    Ok(())
}

async fn oversized(context: &Context) -> Result<(String, String)> {
    let agent = context.agent().await?;
    let mut body = message(&agent, &agent, &Value::Null);
    body["payload"] = Value::from("x".repeat(context.subject.message_size + 8 * 1024));
    Ok((agent.key, body.to_string()))
}

async fn too_large(context: Arc<Context>) -> Result<()> {
    let (key, body) = oversized(&context).await?;
    expect_error(
        &context.post(Some(&key), body).await?,
        413,
        "MESSAGE_TOO_LARGE",
    )
}

async fn too_large_chunked(context: Arc<Context>) -> Result<()> {
    let (key, body) = oversized(&context).await?;
    let call = Call::new(Method::POST, context.url("/v1/messages"))
        .json(body)
        .bearer(&key)
        .chunked();
    expect_error(&context.client.send(call).await?, 413, "MESSAGE_TOO_LARGE")
}

async fn content_type(context: Arc<Context>) -> Result<()> {
    for path in ["/v1/discovery/agents", "/v1/no-such-thing"] {
        let answer = context.get(None, path).await?;
        let kind = answer.header("content-type").unwrap_or_default();
        ensure!(kind.starts_with("application/json"), "{path}: {kind:?}");
    }
    Ok(())
}

async fn hsts(context: Arc<Context>) -> Result<()> {
    let answer = context.get(None, "/v1/discovery/agents").await?;
    ensure!(
        answer.header("strict-transport-security").is_some(),
        "no Strict-Transport-Security"
    );
    Ok(())
}

async fn health(context: Arc<Context>) -> Result<()> {
    for (path, member) in [("/health", "healthy"), ("/ready", "ready")] {
        let answer = context.get(None, path).await?;
        expect_status(&answer, 200)?;
        ensure!(answer.json()[member] == true, "{path}: {}", answer.shown());
    }
    Ok(())
}

async fn record(context: Arc<Context>) -> Result<()> {
    let bench = context.subject.bench.as_ref();
    let own = bench.filter(|plan| plan.zone_file.is_some());
    let own = own.map(|plan| std::net::SocketAddr::new(plan.address, plan.dns_port).to_string());
    let why = Skipped("no DNS server that knows the domain: --dns IP:PORT");
    let server = context.subject.dns.clone().or(own).ok_or(why)?;
    let text = crate::dns::txt(&server, &format!("_amtp.{}.", context.domain())).await?;
    let parts: Vec<&str> = text.split(';').map(str::trim).collect();
    ensure!(parts.contains(&"v=amtp1"), "no v=amtp1 in {text:?}");
    let gateway = format!("gateway={}", context.subject.url);
    ensure!(
        parts.contains(&gateway.as_str()),
        "no {gateway:?} in {text:?}"
    );
    Ok(())
}
