//! Unread mail: into the inboxes here in the order it came there, under its own ids and keys.
//!
//! A message is known here by its idempotency key, as any other, for nine days: within these a second
//! import puts nothing into an inbox twice, read or not. What Agentry found out about a sender is
//! kept, and says that it is Agentry's word.
//!
//! Messages are handed over one after the other and waited for in the same order, some hundred behind: each
//! by itself would cost a commit.

use std::collections::VecDeque;

use anyhow::Result;

use super::Here;
use super::agents::Taken;
use super::report::Report;
use crate::envelope::{Envelope, KeySource, Origin, Verification, VerificationResult};
use crate::protocol::{Address, Limits, Message, MessageId, Profile, Timestamp};
use crate::store::{
    Acceptance, Accepting, Agent, AgentKind, Agentry, AgentryMail, Decision, Fate, Plan, Planned,
    Store, Terms,
};

/// How it came, in traces.
const REQUEST: &str = "import-agentry";
/// So many messages are imported between two words about it.
const WORD: usize = 1_000;
/// So many are on their way to the disk at a time, each of at most 10 MiB and mostly of a few KiB.
const AHEAD: usize = 256;

/// A message on its way to the disk.
struct Handed {
    accepting: Accepting,
    message_id: String,
    /// Those whose inboxes it goes into.
    addresses: Vec<String>,
}

/// Imports what waits in inboxes of agents that are here.
pub(super) async fn import(
    here: &Here<'_>,
    source: &mut Agentry,
    taken: &Taken,
    report: &mut Report,
) -> Result<()> {
    let waiting = source.unread().await?;
    let mut handed = VecDeque::with_capacity(AHEAD);
    let mut word = WORD;
    for (begun, number) in waiting.iter().enumerate() {
        // What is on its way to the disk is not done.
        if begun - handed.len() >= word {
            eprintln!("{word} of {} messages", waiting.len());
            word += WORD;
        }
        let mail = source.mail(*number).await?;
        let envelope = match envelope(here, &mail) {
            Ok(envelope) => envelope,
            Err(reason) => {
                report.refuse("message", &mail.message_id, &reason);
                continue;
            }
        };
        match &here.store {
            Some(store) => {
                handed.extend(hand_over(here, store, (envelope, mail), report).await?);
                if handed.len() >= AHEAD
                    && let Some(first) = handed.pop_front()
                {
                    note(first, report).await?;
                }
            }
            None => foresee(&mail, taken, report),
        }
    }
    for rest in handed {
        note(rest, report).await?;
    }
    Ok(())
}

fn envelope(here: &Here<'_>, mail: &AgentryMail) -> Result<Envelope, String> {
    let limits = &here.config.limits;
    let limits = Limits {
        message_size: Profile::Relay.body_limit(limits.message_size),
        recipients: limits.recipients,
    };
    let body = mail.body.clone().into_bytes().into();
    let message = Message::parse(body, Profile::Relay, &limits).map_err(|it| it.to_string())?;
    let now = here.clock.now();
    let verification = verification(here, &message, mail.verification.as_deref());
    let missing = |what: &str| format!("it has no {what}");
    Ok(Envelope {
        message_id: MessageId::parse(&mail.message_id).map_err(|it| it.to_string())?,
        idempotency_key: message
            .idempotency_key()
            .cloned()
            .ok_or_else(|| missing("idempotency_key"))?,
        key_source: KeySource::Given,
        timestamp: message.timestamp().unwrap_or(now),
        origin: match here.config.domains.contains(message.sender().domain()) {
            true => Origin::Submission,
            false => Origin::Peer,
        },
        trust: verification.trust(),
        verification,
        received_at: now,
        remote: None,
        request_id: REQUEST.to_owned(),
        answers: message.in_reply_to().cloned(),
        message,
    })
}

/// What is known of the sender: what Agentry wrote down, if it goes with the sender's domain.
fn verification(here: &Here<'_>, message: &Message, word: Option<&str>) -> Verification {
    let domain = message.sender().domain();
    let is_local = here.config.domains.contains(domain);
    let result = match (word, is_local) {
        (Some("trusted_internal"), true) => VerificationResult::TrustedInternal,
        (Some("verified"), false) => VerificationResult::Verified,
        (Some("invalid"), _) => VerificationResult::Invalid,
        (Some("key_unavailable"), _) => VerificationResult::KeyUnavailable,
        _ => VerificationResult::Unsigned,
    };
    Verification {
        result,
        method: "agentry".to_owned(),
        domain: domain.as_str().to_owned(),
        keyid: None,
        algorithm: None,
    }
}

async fn hand_over(
    here: &Here<'_>,
    store: &Store,
    (envelope, mail): (Envelope, AgentryMail),
    report: &mut Report,
) -> Result<Option<Handed>> {
    let give_up_at = envelope
        .received_at
        .plus(here.config.delivery.retry.give_up);
    let mut recipients = Vec::new();
    for address in &mail.unread_by {
        match find(here, store, address).await? {
            Ok((address, agent)) => recipients.push(Planned {
                plan: plan(&agent, give_up_at),
                address,
            }),
            Err(reason) => refuse(&mail.message_id, address, &reason, report),
        }
    }
    if recipients.is_empty() {
        return Ok(None);
    }
    let addresses: Vec<_> = recipients.iter().map(|it| it.address.to_string()).collect();
    let acceptance = Acceptance {
        envelope,
        recipients,
        reserved: None,
        place: None,
        succession: None,
        blobs: Vec::new(),
    };
    Ok(Some(Handed {
        accepting: store.begin_accept(acceptance).await?,
        message_id: mail.message_id,
        addresses,
    }))
}

/// Waits until a message is on disk, and notes what became of it.
async fn note(handed: Handed, report: &mut Report) -> Result<()> {
    let Handed {
        accepting,
        message_id,
        addresses,
    } = handed;
    let Decision::Taken { fates, .. } = accepting.decision().await? else {
        let reason = "another message has its idempotency key here";
        report.refuse("message", &message_id, reason);
        return Ok(());
    };
    for (fate, address) in fates.into_iter().zip(addresses) {
        match fate {
            Fate::New(_) => report.mail.imported += 1,
            Fate::Known(_) => report.mail.present += 1,
            Fate::Refused(code) => refuse(&message_id, &address, code.text(), report),
        }
    }
    Ok(())
}

fn refuse(message_id: &str, address: &str, reason: &str, report: &mut Report) {
    let name = format!("{message_id} for {address}");
    report.refuse("message", &name, reason);
}

/// The agent that has the inbox of an address here.
async fn find(
    here: &Here<'_>,
    store: &Store,
    text: &str,
) -> Result<Result<(Address, Agent), String>> {
    let address = match local(here, text) {
        Ok(address) => address,
        Err(reason) => return Ok(Err(reason)),
    };
    let names: Vec<_> = address.agent_names().collect();
    for name in names {
        if let Some(agent) = store.find_agent(address.domain(), &name).await? {
            return Ok(match agent.settings.kind {
                AgentKind::Agent => Ok((address, (*agent).clone())),
                _ => Err("the address is no agent's here, but a topic's or a group's".to_owned()),
            });
        }
    }
    Ok(Err(nobody()))
}

fn nobody() -> String {
    "no agent of this address is here: add it and import again".to_owned()
}

fn local(here: &Here<'_>, text: &str) -> Result<Address, String> {
    let address = Address::parse(text).map_err(|fault| fault.to_string())?;
    match here.config.domains.contains(address.domain()) {
        true => Ok(address),
        false => Err("is of no domain of this gateway".to_owned()),
    }
}

/// Into its inbox; to its webhook where it has one.
fn plan(agent: &Agent, give_up_at: Timestamp) -> Plan {
    if agent.settings.has_mailbox() {
        return Plan::Inbox {
            mailbox: agent.id,
            priority: None,
        };
    }
    Plan::Queue {
        party: agent.id,
        destination: format!("agent:{}", agent.id),
        give_up_at,
        wire: None,
        reserved: None,
        terms: Terms::default(),
    }
}

/// What would become of it.
fn foresee(mail: &AgentryMail, taken: &Taken, report: &mut Report) {
    for text in &mail.unread_by {
        let known = Address::parse(text).is_ok_and(|address| {
            let domain = address.domain();
            let mut names = address.agent_names();
            names.any(|name| taken.contains(&(domain.clone(), name)))
        });
        match known {
            true => report.mail.imported += 1,
            false => refuse(&mail.message_id, text, &nobody(), report),
        }
    }
}
