//! The bridge between AMTP and mail, both ways (AMTP 1.0, section 11).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use mail_parser::{MessageParser, MimeHeaders as _};
use serde_json::{Value, json};

use super::test;
use crate::bench::{Mail, Sink, Source, mx, txt};
use crate::context::{Agent, Context};
use crate::level::Level::{Amtpd, Integration};
use crate::runner::{Skipped, Test};
use crate::subject::Capability;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Integration,
            "11",
            (
                "mail.out",
                "A message to a domain that has mail and no gateway goes out as a mail",
            ),
            out,
        ),
        test(
            Integration,
            "11",
            (
                "mail.out.headers",
                "The mail names the message, its sender and its schema in X-AMTP fields",
            ),
            headers,
        ),
        test(
            Integration,
            "11",
            (
                "mail.out.json",
                "The mail carries the whole message as message.amtp.json, and a text to read",
            ),
            whole,
        ),
        test(
            Integration,
            "11",
            (
                "mail.out.refused",
                "A mailbox that does not exist fails for good, and the sender is told",
            ),
            refused,
        ),
        test(
            Integration,
            "11",
            (
                "mail.out.later",
                "A mail server that asks to come again is asked again",
            ),
            later,
        ),
        test(
            Amtpd,
            "11",
            (
                "mail.out.automatic",
                "The mail says that a machine wrote it, and where answers go",
            ),
            automatic,
        ),
        test(
            Amtpd,
            "11",
            ("mail.out.thread", "in_reply_to becomes In-Reply-To"),
            |context| thread(context, "In-Reply-To"),
        ),
        test(
            Amtpd,
            "11",
            ("mail.out.references", "in_reply_to becomes References too"),
            |context| thread(context, "References"),
        ),
        test(
            Amtpd,
            "11",
            (
                "mail.gateway-first",
                "A domain with a gateway and mail gets the message by its gateway",
            ),
            gateway_first,
        ),
        test(
            Integration,
            "11",
            ("mail.in", "A mail to an agent becomes a message"),
            incoming,
        ),
        test(
            Integration,
            "11",
            (
                "mail.in.verified",
                "A mail whose domain vouches for it (DMARC) is verified, another is not",
            ),
            verified,
        ),
        test(
            Integration,
            "11",
            (
                "mail.in.unknown",
                "A mail for nobody is refused at once, and nothing is relayed",
            ),
            nobody,
        ),
        test(
            Amtpd,
            "11",
            (
                "mail.in.own-sender",
                "Nobody writes by mail in the name of one of the gateway's agents",
            ),
            own_sender,
        ),
        test(
            Amtpd,
            "11",
            (
                "mail.in.reply",
                "The answer to a mail that carried a message is a reply to that message",
            ),
            reply,
        ),
        test(
            Amtpd,
            "11",
            (
                "mail.in.dmarc",
                "A forged mail of a domain that wants it refused is refused",
            ),
            dmarc,
        ),
    ]
}

fn sink(context: &Context) -> Result<&Sink> {
    context.needs(Capability::BridgeOut)?;
    let sink = context.bench()?.sink.as_deref();
    Ok(sink.ok_or(Skipped("the bench has no mail server: bench.smtp_port"))?)
}

/// A message to `local` of a fresh domain that takes mail.
async fn sent(context: &Context, local: &str, change: &Value) -> Result<(Agent, String, String)> {
    sink(context)?;
    let domain = context.bench()?.mail_domain();
    let agent = context.agent().await?;
    let to = format!("{local}@{domain}");
    let id = context.submit(&agent, &[&to], change).await?;
    Ok((agent, id, domain))
}

/// The mail that it becomes.
async fn mailed(context: &Context, change: &Value) -> Result<(Agent, String, Mail)> {
    let (agent, id, domain) = sent(context, "person", change).await?;
    let patience = context.bench()?.patience();
    let mail = sink(context)?.mails(&domain, 1, patience).await?.remove(0);
    Ok((agent, id, mail))
}

async fn out(context: Arc<Context>) -> Result<()> {
    let change = json!({ "payload": { "text": "How are you?" }, "subject": "A question" });
    let (agent, id, mail) = mailed(&context, &change).await?;
    let subject = mail.field("Subject");
    ensure!(subject.contains("A question"), "Subject: {subject}");
    let to = mail.field("To");
    ensure!(to.contains(&mail.to[0]), "To: {to}, for {:?}", mail.to);
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn headers(context: Arc<Context>) -> Result<()> {
    let change = json!({ "schema": "agntcy:commerce.order.v1" });
    let (agent, id, mail) = mailed(&context, &change).await?;
    for (name, wanted) in [
        ("X-AMTP-Message-ID", id.as_str()),
        ("X-AMTP-Sender", &agent.address),
        ("X-AMTP-Schema", "agntcy:commerce.order.v1"),
    ] {
        ensure!(mail.field(name) == wanted, "{name}: {:?}", mail.field(name));
    }
    Ok(())
}

async fn whole(context: Arc<Context>) -> Result<()> {
    let change = json!({ "payload": { "price": 29.99, "name": "é" } });
    let (_, id, mail) = mailed(&context, &change).await?;
    let parsed = MessageParser::default().parse(mail.text.as_bytes());
    let parsed = parsed.context("the mail cannot be read")?;
    let part = parsed
        .attachments()
        .find(|part| part.attachment_name() == Some("message.amtp.json"));
    let part = part.context("there is no message.amtp.json")?;
    let message: Value = serde_json::from_slice(part.contents())?;
    ensure!(message["message_id"] == id.as_str(), "{message}");
    ensure!(message["payload"] == change["payload"], "{message}");
    ensure!(parsed.body_text(0).is_some(), "there is no text");
    Ok(())
}

async fn refused(context: Arc<Context>) -> Result<()> {
    let (agent, id, _) = sent(&context, "refused", &Value::Null).await?;
    let view = context.reaches(&agent, &id, "failed").await?;
    let code = &view["recipients"][0]["error_code"];
    ensure!(code == "RECIPIENT_NOT_FOUND", "{view}");
    let notice = context.mail(&agent, 1).await?.remove(0);
    ensure!(notice["message_type"] == "delivery_failure", "{notice}");
    Ok(())
}

async fn later(context: Arc<Context>) -> Result<()> {
    let (agent, id, domain) = sent(&context, "later", &Value::Null).await?;
    let patience = context.bench()?.patience();
    sink(&context)?.mails(&domain, 1, patience).await?;
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn automatic(context: Arc<Context>) -> Result<()> {
    let (agent, _, mail) = mailed(&context, &Value::Null).await?;
    let word = mail.field("Auto-Submitted");
    ensure!(word == "auto-generated", "Auto-Submitted: {word}");
    let answers = mail.field("Reply-To");
    ensure!(answers.contains(&agent.address), "Reply-To: {answers}");
    let from = mail.field("From");
    let bridge = format!("amtp-bridge@{}", context.domain());
    ensure!(from.contains(&bridge), "From: {from}");
    ensure!(mail.field("Subject").starts_with("[AMTP]"), "{}", mail.text);
    Ok(())
}

async fn thread(context: Arc<Context>, name: &'static str) -> Result<()> {
    let original = "01987654-3210-7654-8765-432198765432";
    let change = json!({ "in_reply_to": original });
    let (_, _, mail) = mailed(&context, &change).await?;
    let field = mail.field(name);
    ensure!(field.contains(original), "{name}: {field:?}");
    Ok(())
}

async fn gateway_first(context: Arc<Context>) -> Result<()> {
    let sink = sink(&context)?;
    let peer = context.peer()?;
    let bench = context.bench()?;
    bench
        .dns
        .set(&peer.domain, vec![mx(10, &format!("{}.", peer.host))]);
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    peer.request().await?;
    context.reaches(&agent, &id, "delivered").await?;
    ensure!(sink.mails_of(&peer.domain).is_empty(), "a mail went out");
    Ok(())
}

/// A connection to where the gateway takes mail.
async fn source(context: &Context) -> Result<Source> {
    context.needs(Capability::BridgeIn)?;
    let why = Skipped("the subject does not say where it takes mail: smtp");
    let server = context.subject.smtp.ok_or(why)?;
    Source::greeted(server, context.subject.patience).await
}

fn letter(from: &str, to: &str, more: &str) -> String {
    format!("From: {from}\r\nTo: {to}\r\nSubject: A letter\r\n{more}\r\nHello from outside.\r\n")
}

/// A domain that says its mail comes from here, and what else is to be refused.
fn vouched(context: &Context) -> Result<String> {
    let bench = context.bench()?;
    let domain = bench.stranger();
    let spf = format!("v=spf1 ip4:{} -all", bench.ip());
    bench.dns.set(&domain, vec![txt(&[&spf])]);
    let dmarc = txt(&["v=DMARC1; p=reject"]);
    bench.dns.set(&format!("_dmarc.{domain}"), vec![dmarc]);
    Ok(domain)
}

async fn incoming(context: Arc<Context>) -> Result<()> {
    let mut source = source(&context).await?;
    let agent = context.agent().await?;
    let from = format!("person@{}", vouched(&context)?);
    let said = source
        .mail(&from, &agent.address, &letter(&from, &agent.address, ""))
        .await?;
    ensure!(said.starts_with("250"), "{said}");
    let message = context.mail(&agent, 1).await?.remove(0);
    ensure!(message["sender"] == from.as_str(), "{message}");
    ensure!(message["schema"] == "agntcy:email.message.v1", "{message}");
    let payload = &message["payload"];
    ensure!(payload["subject"] == "A letter", "{message}");
    let text = payload["text"].as_str().unwrap_or_default();
    ensure!(text.contains("Hello from outside."), "{message}");
    Ok(())
}

async fn verified(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let known = format!("person@{}", vouched(&context)?);
    let unknown = format!("person@{}", context.stranger().await?);
    for (from, wanted) in [(&known, "verified"), (&unknown, "unsigned")] {
        let mut source = source(&context).await?;
        let said = source
            .mail(from, &agent.address, &letter(from, &agent.address, ""))
            .await?;
        ensure!(said.starts_with("250"), "{from}: {said}");
        let all = context.mail(&agent, 1).await?;
        let found = all.iter().find(|it| it["sender"] == from.as_str());
        let found = found.with_context(|| format!("nothing of {from}: {all:?}"))?;
        let result = &found["sender_verification"]["result"];
        ensure!(result == wanted, "{from}: {result}");
    }
    Ok(())
}

async fn nobody(context: Arc<Context>) -> Result<()> {
    let from = format!("person@{}", vouched(&context)?);
    for to in [
        format!("{}@{}", context.fresh_name(), context.domain()),
        "victim@elsewhere.example".to_owned(),
    ] {
        let mut source = source(&context).await?;
        let said = source.mail(&from, &to, &letter(&from, &to, "")).await?;
        ensure!(said.starts_with("55"), "{to}: {said}");
    }
    Ok(())
}

async fn own_sender(context: Arc<Context>) -> Result<()> {
    let mut source = source(&context).await?;
    let agent = context.agent().await?;
    let to = agent.address.clone();
    let said = source.mail(&to, &to, &letter(&to, &to, "")).await?;
    ensure!(said.starts_with("55"), "{said}");
    ensure!(
        context.inbox(&agent, "").await?.is_empty(),
        "it is in the inbox"
    );
    Ok(())
}

async fn dmarc(context: Arc<Context>) -> Result<()> {
    let mut source = source(&context).await?;
    let agent = context.agent().await?;
    let domain = vouched(&context)?;
    context
        .bench()?
        .dns
        .set(&domain, vec![txt(&["v=spf1 -all"])]);
    let from = format!("person@{domain}");
    let said = source
        .mail(&from, &agent.address, &letter(&from, &agent.address, ""))
        .await?;
    ensure!(said.starts_with("55"), "{said}");
    Ok(())
}

async fn reply(context: Arc<Context>) -> Result<()> {
    let mut source = source(&context).await?;
    let (agent, id, mail) = mailed(&context, &Value::Null).await?;
    let person = mail.to[0].clone();
    let (_, domain) = person.split_once('@').context("no address")?;
    let bench = context.bench()?;
    let spf = format!("v=spf1 ip4:{} -all", bench.ip());
    bench.dns.add(domain, txt(&[&spf]));
    let dmarc = txt(&["v=DMARC1; p=reject"]);
    bench.dns.set(&format!("_dmarc.{domain}"), vec![dmarc]);
    let more = format!("In-Reply-To: {}\r\n", mail.field("Message-ID"));
    let letter = letter(&person, &agent.address, &more);
    let said = source.mail(&person, &agent.address, &letter).await?;
    ensure!(said.starts_with("250"), "{said}");
    let answer = context.mail(&agent, 1).await?.remove(0);
    ensure!(answer["in_reply_to"] == id.as_str(), "{answer}");
    Ok(())
}
