//! Mail that fails: bounces both ways, and dead letters (AMTP 1.0, section 8.2).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::delivery::stranger;
use super::test;
use crate::bench::{Behaviour, Peer};
use crate::context::{Agent, Context, expect_error, expect_status, expect_taken};
use crate::level::Level::{Amtpd, Reliability};
use crate::runner::Test;
use crate::subject::Capability;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Reliability,
            "8.2.2",
            (
                "bounce.content",
                "The sender is told what failed, for whom and why, by a notice from the postmaster",
            ),
            content,
        ),
        test(
            Reliability,
            "8.2.2",
            (
                "bounce.once",
                "One failure is told once, and only to the sender",
            ),
            once,
        ),
        test(
            Reliability,
            "5.3",
            (
                "bounce.given-up",
                "A delivery that fails for long enough is given up, and its sender is told",
            ),
            given_up,
        ),
        test(
            Reliability,
            "8.2.2",
            ("bounce.never-of-bounce", "Failure notices never bounce"),
            of_bounce,
        ),
        test(
            Reliability,
            "8.2.2",
            (
                "bounce.late-failure",
                "The peer's notice about mail it took turns that delivery to failed",
            ),
            incoming,
        ),
        test(
            Amtpd,
            "8.2.2",
            (
                "bounce.refused-beside-others",
                "A peer that wrote to several agents is told of the one that was refused",
            ),
            beside_others,
        ),
        test(
            Amtpd,
            "8.2.2",
            (
                "bounce.forged",
                "A failure notice of a stranger changes nothing",
            ),
            forged,
        ),
        test(
            Amtpd,
            "8.2.2",
            (
                "bounce.other-domain",
                "A peer's notice about recipients of another domain changes nothing",
            ),
            other_domain,
        ),
        test(
            Amtpd,
            "8.2.2",
            (
                "bounce.unknown-message",
                "A notice about a message nobody sent is plain mail",
            ),
            unknown_message,
        ),
        test(
            Amtpd,
            "8.2.1",
            (
                "dead-letter.content",
                "What was given up is kept with its message, reason, attempts and times",
            ),
            dead_letter,
        ),
        test(
            Amtpd,
            "8.2.1",
            (
                "dead-letter.replay",
                "A dead letter can be sent again, under a fresh identity",
            ),
            replay,
        ),
        test(
            Amtpd,
            "8.2.1",
            ("dead-letter.drop", "A dead letter can be dropped"),
            drop_it,
        ),
        test(
            Amtpd,
            "8.2.1",
            (
                "dead-letter.no-key",
                "Dead letters are the operator's, not an agent's",
            ),
            no_key,
        ),
    ]
}

/// A message that its peer refuses.
async fn refused(context: &Context) -> Result<(Peer, Agent, String)> {
    let peer = context.peer()?;
    peer.always(Behaviour::error(404, "AGENT_UNKNOWN"));
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    context.reaches(&agent, &id, "failed").await?;
    Ok((peer, agent, id))
}

async fn content(context: Arc<Context>) -> Result<()> {
    let (peer, agent, id) = refused(&context).await?;
    let notice = context.mail(&agent, 1).await?.remove(0);
    let postmaster = format!("postmaster@{}", context.domain());
    for (member, wanted) in [
        ("message_type", "delivery_failure"),
        ("in_reply_to", &id),
        ("sender", &postmaster),
    ] {
        ensure!(notice[member] == wanted, "{member}: {notice}");
    }
    let payload = &notice["payload"];
    ensure!(payload["original_message_id"] == id.as_str(), "{notice}");
    let failed = json!([peer.address("bob")]);
    ensure!(payload["failed_recipients"] == failed, "{notice}");
    ensure!(payload["error_code"] == "AGENT_UNKNOWN", "{notice}");
    for member in ["error_message", "final_attempt"] {
        ensure!(payload[member].is_string(), "{member}: {notice}");
    }
    ensure!(payload["retry_count"].is_number(), "{notice}");
    Ok(())
}

async fn once(context: Arc<Context>) -> Result<()> {
    let (_, agent, id) = refused(&context).await?;
    context.mail(&agent, 1).await?;
    // Another message of its own comes later than a second notice would.
    let own = [agent.address.as_str()];
    let other = context.submit(&agent, &own, &Value::Null).await?;
    let mail = context.mail(&agent, 2).await?;
    let replies: Vec<_> = mail.iter().filter(|it| it["in_reply_to"] == id).collect();
    ensure!(replies.len() == 1 && mail.len() == 2, "{mail:?}");
    ensure!(mail.iter().any(|it| it["message_id"] == other), "{mail:?}");
    Ok(())
}

async fn given_up(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::GivesUp)?;
    let peer = context.peer()?;
    peer.always(Behaviour::bare(503));
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    let view = context.reaches(&agent, &id, "failed").await?;
    let tried = peer.seen().len();
    ensure!(tried > 2, "given up after {tried} attempts");
    ensure!(view["recipients"][0]["error_code"].is_string(), "{view}");
    let notice = context.mail(&agent, 1).await?.remove(0);
    ensure!(notice["message_type"] == "delivery_failure", "{notice}");
    let count = notice["payload"]["retry_count"].as_u64();
    ensure!(count >= Some(2), "{notice}");
    Ok(())
}

/// A message of a peer's postmaster about mail that failed there.
fn notice(from: &str, to: &Agent, original: &str, failed: &str) -> Value {
    json!({
        "version": "1.0", "sender": from, "recipients": [to.address],
        "message_id": Uuid::new_v4().to_string(), "idempotency_key": Uuid::new_v4().to_string(),
        "message_type": "delivery_failure", "in_reply_to": original,
        "payload": {
            "original_message_id": original, "failed_recipients": [failed],
            "error_code": "AGENT_UNKNOWN", "error_message": "gone", "retry_count": 0,
            "final_attempt": "2026-08-14T10:30:00Z",
        },
    })
}

async fn of_bounce(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let nobody = format!("{}@{}", context.fresh_name(), context.domain());
    let bounce = notice(
        &peer.address("postmaster"),
        &Agent {
            address: nobody,
            key: String::new(),
        },
        &Uuid::new_v4().to_string(),
        "x@elsewhere.example",
    );
    let answer = context.post(None, bounce.to_string()).await?;
    ensure!(answer.status.is_client_error(), "{}", answer.shown());
    // Its own later mail comes, and no notice before it.
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    context.reaches(&agent, &id, "delivered").await?;
    let got = peer.messages(1).await?;
    let notices = got.iter().filter(|it| it["message_type"].is_string());
    ensure!(notices.count() == 0, "{got:?}");
    Ok(())
}

async fn beside_others(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let nobody = format!("{}@{}", context.fresh_name(), context.domain());
    let from = Agent {
        address: peer.address("orders"),
        key: String::new(),
    };
    let both = json!({ "recipients": [agent.address, nobody] });
    let body = crate::context::message(&from, &agent, &both);
    context.new_name().await;
    expect_taken(&context.post(None, body.to_string()).await?)?;
    // Other mail for it has arrived; a notice is no slower than that by much.
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    context.reaches(&agent, &id, "delivered").await?;
    let both = tokio::time::timeout(Duration::from_secs(3), peer.messages(2)).await;
    let all = both.context("no notice came")??;
    let notice = all.iter().find(|it| it["message_type"].is_string());
    let notice = notice.context("no notice came")?;
    ensure!(notice["message_type"] == "delivery_failure", "{notice}");
    let failed = json!([nobody]);
    ensure!(notice["payload"]["failed_recipients"] == failed, "{notice}");
    Ok(())
}

/// A message that a peer took.
async fn taken(context: &Context) -> Result<(Peer, Agent, String)> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    context.reaches(&agent, &id, "delivered").await?;
    Ok((peer, agent, id))
}

async fn incoming(context: Arc<Context>) -> Result<()> {
    let (peer, agent, id) = taken(&context).await?;
    let wire = peer.request().await?.json()["message_id"].clone();
    let wire = wire.as_str().context("no message_id")?;
    context.new_name().await;
    let bounce = notice(
        &peer.address("postmaster"),
        &agent,
        wire,
        &peer.address("bob"),
    );
    expect_taken(&context.post(None, bounce.to_string()).await?)?;
    let view = context.reaches(&agent, &id, "failed").await?;
    ensure!(
        view["recipients"][0]["error_code"] == "AGENT_UNKNOWN",
        "{view}"
    );
    context.mail(&agent, 1).await?;
    Ok(())
}

async fn changes_nothing(context: &Context, from: &str, failed: &str) -> Result<()> {
    let (_, agent, id) = taken(context).await?;
    let bounce = notice(from, &agent, &id, failed);
    expect_taken(&context.post(None, bounce.to_string()).await?)?;
    let mail = context.mail(&agent, 1).await?;
    ensure!(mail[0]["sender"] == from, "{mail:?}");
    let view = context.status(&agent, &id).await?;
    ensure!(view["status"] == "delivered", "{view}");
    Ok(())
}

async fn forged(context: Arc<Context>) -> Result<()> {
    let from = stranger().address;
    let (_, domain) = from.split_once('@').unwrap_or_default();
    let failed = format!("bob@{domain}");
    changes_nothing(&context, &from, &failed).await
}

async fn other_domain(context: Arc<Context>) -> Result<()> {
    let other = context.peer()?;
    let (peer, agent, id) = taken(&context).await?;
    context.new_name().await;
    let bounce = notice(
        &other.address("postmaster"),
        &agent,
        &id,
        &peer.address("bob"),
    );
    expect_taken(&context.post(None, bounce.to_string()).await?)?;
    context.mail(&agent, 1).await?;
    let view = context.status(&agent, &id).await?;
    ensure!(view["status"] == "delivered", "{view}");
    Ok(())
}

async fn unknown_message(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let id = Uuid::new_v4().to_string();
    let bounce = notice(
        &peer.address("postmaster"),
        &agent,
        &id,
        &peer.address("bob"),
    );
    expect_taken(&context.post(None, bounce.to_string()).await?)?;
    let mail = context.mail(&agent, 1).await?;
    ensure!(mail[0]["in_reply_to"] == id.as_str(), "{mail:?}");
    Ok(())
}

const LETTERS: &str = "/v1/admin/dead-letters";

/// The dead letters of a message.
async fn letters(context: &Context, id: &str) -> Result<Vec<Value>> {
    let path = format!("{LETTERS}?message_id={id}");
    let answer = context.admin(Method::GET, &path, None).await?;
    expect_status(&answer, 200)?;
    let found = answer.json()["dead_letters"].as_array().cloned();
    Ok(found.unwrap_or_default())
}

async fn dead_letter(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::DeadLetters)?;
    let (_, agent, id) = refused(&context).await?;
    let found = letters(&context, &id).await?;
    ensure!(found.len() == 1, "{} dead letters", found.len());
    let letter = &found[0];
    ensure!(
        letter["failure_reason"]["code"] == "AGENT_UNKNOWN",
        "{letter}"
    );
    ensure!(letter["sender"] == agent.address.as_str(), "{letter}");
    ensure!(letter["attempts"].as_u64() >= Some(1), "{letter}");
    for time in ["first_attempt", "last_attempt", "dlq_timestamp"] {
        ensure!(letter[time].is_string(), "{time}: {letter}");
    }
    let path = format!("{LETTERS}/{}", letter["id"]);
    let whole = context.admin(Method::GET, &path, None).await?.json();
    let original = &whole["original_message"];
    ensure!(original["payload"] == json!({ "n": 1 }), "{whole}");
    Ok(())
}

async fn replay(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::DeadLetters)?;
    let (peer, agent, id) = refused(&context).await?;
    peer.always(Behaviour::Accept);
    let before = peer.seen().len();
    let letter = letters(&context, &id).await?.remove(0)["id"].clone();
    let form = json!({ "ids": [letter] });
    let path = format!("{LETTERS}/replay");
    let answer = context.admin(Method::POST, &path, Some(&form)).await?;
    expect_status(&answer, 200)?;
    context.reaches(&agent, &id, "delivered").await?;
    let seen = peer.requests(before + 1).await?;
    let (first, again) = (seen[0].json(), seen[before].json());
    ensure!(
        first["idempotency_key"] != again["idempotency_key"],
        "under the old key"
    );
    ensure!(first["payload"] == again["payload"], "{again}");
    Ok(())
}

async fn drop_it(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::DeadLetters)?;
    let (_, _, id) = refused(&context).await?;
    let letter = letters(&context, &id).await?.remove(0)["id"].clone();
    let path = format!("{LETTERS}/{letter}");
    let answer = context.admin(Method::DELETE, &path, None).await?;
    ensure!(answer.status.is_success(), "{}", answer.shown());
    ensure!(
        letters(&context, &id).await?.is_empty(),
        "it is still there"
    );
    Ok(())
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::DeadLetters)?;
    let agent = context.agent().await?;
    let answer = context.get(Some(&agent.key), LETTERS).await?;
    if answer.status.as_u16() == 404 {
        return expect_error(&answer, 404, "NOT_FOUND");
    }
    expect_error(&answer, 403, "ACCESS_DENIED")
}
