//! Finding the gateway of a domain: each form of its record (AMTP 1.0, section 3.2).

use std::sync::Arc;

use anyhow::{Result, ensure};
use hickory_resolver::proto::rr::RData;
use serde_json::{Value, json};

use super::test;
use crate::bench::{Bench, Peer, address, mx, txt};
use crate::context::Context;
use crate::level::Level::{Amtpd, Core};
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (id, rule, form) in good() {
        tests.push(test(Core, "3.2", (id, rule), move |context| {
            found(context, form)
        }));
    }
    for (id, rule, form) in bad() {
        tests.push(test(Core, "3.2", (id, rule), move |context| {
            not_found(context, form)
        }));
    }
    tests.extend(others());
    tests
}

fn others() -> Vec<Test> {
    vec![
        test(
            Core,
            "3.2",
            (
                "discovery.none",
                "A domain without a gateway and without mail is not found",
            ),
            nobody,
        ),
        test(
            Core,
            "3.2",
            (
                "discovery.null-mx",
                "A domain that says it takes no mail (null MX) is not found",
            ),
            null_mx,
        ),
        test(
            Core,
            "3.2",
            (
                "discovery.servfail",
                "A DNS that fails never means that there is no gateway: the mail waits",
            ),
            servfail,
        ),
        test(
            Core,
            "3.2",
            (
                "discovery.max-size",
                "What is larger than max-size fails without a request",
            ),
            max_size,
        ),
        test(
            Core,
            "3.2",
            (
                "discovery.second-address",
                "All addresses of a host are tried",
            ),
            second_address,
        ),
        test(
            Core,
            "3.2",
            (
                "discovery.alternatives",
                "Several records are alternatives: where one does not answer another is tried",
            ),
            alternatives,
        ),
        test(
            Amtpd,
            "3.2",
            (
                "discovery.cached",
                "A record is kept for its time: the second message asks nobody",
            ),
            cached,
        ),
    ]
}

/// The records of a domain, made of the URL of its gateway.
type Form = fn(&str) -> Vec<RData>;

fn good() -> Vec<(&'static str, &'static str, Form)> {
    vec![
        (
            "discovery.plain",
            "v=amtp1 and gateway are all a record needs",
            |url| vec![txt(&[&format!("v=amtp1;gateway={url}")])],
        ),
        (
            "discovery.full",
            "auth, max-size and features may stand in a record",
            |url| {
                let rest = "auth=cert,oauth,apikey;max-size=10485760;features=agent-discovery";
                vec![txt(&[&format!("v=amtp1;gateway={url};{rest}")])]
            },
        ),
        (
            "discovery.strings",
            "The strings of one record are put together",
            |url| {
                let text = format!("v=amtp1;gateway={url}");
                let (one, two) = text.split_at(text.len() - 7);
                vec![txt(&[one, two])]
            },
        ),
        (
            "discovery.blanks",
            "Blanks around keys and values mean nothing",
            |url| vec![txt(&[&format!(" v = amtp1 ;  gateway = {url} ; ")])],
        ),
        ("discovery.key-case", "Keys have no case", |url| {
            vec![txt(&[&format!("V=amtp1;GATEWAY={url}")])]
        }),
        (
            "discovery.unknown-keys",
            "Unknown keys are ignored",
            |url| vec![txt(&[&format!("v=amtp1;later=x=y;gateway={url};another")])],
        ),
        (
            "discovery.quotes",
            "Quotes around the whole are stripped",
            |url| vec![txt(&[&format!("\"v=amtp1;gateway={url}\"")])],
        ),
        (
            "discovery.beside-others",
            "Other texts at the name do not matter",
            |url| {
                vec![
                    txt(&["v=spf1 -all"]),
                    txt(&[&format!("v=amtp2;gateway={url}9")]),
                    txt(&[&format!("v=amtp1;gateway={url}")]),
                ]
            },
        ),
        (
            "discovery.path",
            "A gateway may live under a path of its URL",
            |url| vec![txt(&[&format!("v=amtp1;gateway={url}/amtp/in")])],
        ),
    ]
}

fn bad() -> Vec<(&'static str, &'static str, Form)> {
    vec![
        (
            "discovery.version",
            "A version other than amtp1 is no record",
            |url| vec![txt(&[&format!("v=amtp2;gateway={url}")])],
        ),
        (
            "discovery.version-missing",
            "A record without v is none",
            |url| vec![txt(&[&format!("gateway={url}")])],
        ),
        (
            "discovery.gateway-missing",
            "A record without gateway is none",
            |_| vec![txt(&["v=amtp1;features=batch"])],
        ),
        ("discovery.http", "A gateway is reached by https", |url| {
            vec![txt(&[&format!(
                "v=amtp1;gateway={}",
                url.replace("https", "http")
            )])]
        }),
        (
            "discovery.userinfo",
            "The URL of a gateway names no user",
            |url| {
                let url = url.replace("https://", "https://user:word@");
                vec![txt(&[&format!("v=amtp1;gateway={url}")])]
            },
        ),
        (
            "discovery.query",
            "The URL of a gateway has no query",
            |url| vec![txt(&[&format!("v=amtp1;gateway={url}/?to=amtp")])],
        ),
    ]
}

/// A peer whose host has an address.
fn hosted(context: &Context) -> Result<(Peer, &Bench)> {
    let peer = context.unpublished()?;
    let bench = context.bench()?;
    bench.dns.set(&peer.host, vec![address(bench.ip())]);
    Ok((peer, bench))
}

fn name(peer: &Peer) -> String {
    format!("_amtp.{}", peer.domain)
}

async fn found(context: Arc<Context>, form: Form) -> Result<()> {
    let (peer, bench) = hosted(&context)?;
    bench.dns.set(&name(&peer), form(&bench.url(&peer)));
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    let seen = peer.request().await?;
    let path = &seen.arrived.path;
    ensure!(
        path == "/v1/messages" || path == "/amtp/in/v1/messages",
        "posted to {path}"
    );
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

/// The code that mail for this address fails with at last.
async fn fails(context: &Context, to: &str, change: &Value) -> Result<Value> {
    let agent = context.agent().await?;
    let id = context.submit(&agent, &[to], change).await?;
    let view = context.reaches(&agent, &id, "failed").await?;
    Ok(view["recipients"][0]["error_code"].clone())
}

async fn not_found(context: Arc<Context>, form: Form) -> Result<()> {
    let (peer, bench) = hosted(&context)?;
    bench.dns.set(&name(&peer), form(&bench.url(&peer)));
    bench.dns.set(&peer.domain, vec![mx(0, ".")]);
    let code = fails(&context, &peer.address("bob"), &Value::Null).await?;
    ensure!(code == "RECIPIENT_NOT_FOUND", "failed with {code}");
    ensure!(peer.seen().is_empty(), "a request came all the same");
    Ok(())
}

async fn nobody(context: Arc<Context>) -> Result<()> {
    let peer = context.unpublished()?;
    let code = fails(&context, &peer.address("bob"), &Value::Null).await?;
    ensure!(code == "RECIPIENT_NOT_FOUND", "failed with {code}");
    Ok(())
}

async fn null_mx(context: Arc<Context>) -> Result<()> {
    let (peer, bench) = hosted(&context)?;
    bench.dns.set(&peer.domain, vec![mx(0, ".")]);
    let code = fails(&context, &peer.address("bob"), &Value::Null).await?;
    ensure!(code == "RECIPIENT_NOT_FOUND", "failed with {code}");
    Ok(())
}

async fn servfail(context: Arc<Context>) -> Result<()> {
    let (peer, bench) = hosted(&context)?;
    bench.dns.fail(&name(&peer));
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    let tried = |view: &Value| view["recipients"][0]["attempts"].as_u64() > Some(0);
    let view = context.status_when((&agent, &id), tried).await?;
    ensure!(view["status"] == "retrying", "{view}");
    bench.publish(
        &peer.domain,
        &[&format!("v=amtp1;gateway={}", bench.url(&peer))],
    );
    peer.request().await?;
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn max_size(context: Arc<Context>) -> Result<()> {
    let (peer, bench) = hosted(&context)?;
    let record = format!("v=amtp1;gateway={};max-size=4096", bench.url(&peer));
    bench.publish(&peer.domain, &[&record]);
    let large = json!({ "payload": "x".repeat(5_000) });
    let code = fails(&context, &peer.address("bob"), &large).await?;
    ensure!(code == "MESSAGE_TOO_LARGE", "failed with {code}");
    ensure!(peer.seen().is_empty(), "a request came all the same");
    let agent = context.agent().await?;
    let small = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    context.reaches(&agent, &small, "delivered").await?;
    Ok(())
}

async fn second_address(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let bench = context.bench()?;
    // Nobody listens there.
    let silent = std::net::IpAddr::from([127, 0, 0, 86]);
    let both = vec![address(silent), address(bench.ip())];
    bench.dns.set(&peer.host, both);
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn alternatives(context: Arc<Context>) -> Result<()> {
    let (peer, bench) = hosted(&context)?;
    let gone = format!("gone.{}", peer.domain);
    bench.dns.set(&gone, vec![address([127, 0, 0, 86].into())]);
    let dead = format!("v=amtp1;gateway=https://{gone}:{}", bench.port());
    let live = format!("v=amtp1;gateway={}", bench.url(&peer));
    bench.publish(&peer.domain, &[&dead, &live]);
    let agent = context.agent().await?;
    for _ in 0..3 {
        let id = context
            .submit(&agent, &[&peer.address("bob")], &Value::Null)
            .await?;
        context.reaches(&agent, &id, "delivered").await?;
    }
    Ok(())
}

async fn cached(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    for _ in 0..3 {
        let id = context
            .submit(&agent, &[&peer.address("bob")], &Value::Null)
            .await?;
        context.reaches(&agent, &id, "delivered").await?;
    }
    let asked = context.bench()?.dns.questions(&name(&peer));
    ensure!(asked <= 2, "the DNS was asked {asked} times");
    Ok(())
}
