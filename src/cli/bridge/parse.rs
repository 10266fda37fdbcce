//! `amtpd mail parse`: what a mail says, and the message that the bridge makes of it.

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::show;
use super::{read, shown};
use crate::clock::Clock;
use crate::mime::{
    Agreement, Composition, FileReference, Mail, MailLimits, Mailbox, compose, parse, rebuild,
};
use crate::protocol::{Address, Domain, IdempotencyKey, Limits, MessageId};

/// Show what a mail says, and the message that the bridge makes of it
///
/// The message is shown as if the mail were authenticated as its author's domain. The files have
/// made-up places: only a gateway that takes the mail stores them.
#[derive(Debug, Args)]
pub(super) struct ParseCommand {
    /// The file of the mail, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl ParseCommand {
    pub(super) fn run(self) -> Result<()> {
        let limits = MailLimits::default();
        let raw = read(&self.file, limits.size)?;
        let mail = parse(&raw, &limits).with_context(|| self.file.clone())?;
        let made = Made::of(&mail, &Clock::system())?;
        if self.json {
            let whole = Whole {
                mail: shown::mail(&mail),
                made,
            };
            return show(&format!("{}\n", serde_json::to_string_pretty(&whole)?));
        }
        show(&in_words(&mail, &made)?)
    }
}

/// What is printed for programs.
#[derive(Serialize)]
struct Whole {
    mail: Value,
    #[serde(flatten)]
    made: Made,
}

/// What the bridge makes of a mail.
#[derive(Serialize)]
struct Made {
    /// The message; nothing where the author or all recipients cannot be named in AMTP.
    message: Option<Box<RawValue>>,
    /// Whether it is the message that another bridge put into the mail.
    rebuilt: bool,
    /// Why it is not, where there is one.
    not_rebuilt: Option<String>,
}

impl Made {
    fn of(mail: &Mail, clock: &Clock) -> Result<Self> {
        let mut made = Self {
            message: None,
            rebuilt: false,
            not_rebuilt: None,
        };
        let recipients: Vec<Address> = mail.to.iter().filter_map(|to| to.address.clone()).collect();
        let Some(author) = mail.author() else {
            return Ok(made);
        };
        if mail.amtp.is_some() {
            match original(mail, author.domain(), &recipients) {
                Ok(message) => {
                    made.message = Some(RawValue::from_string(message)?);
                    made.rebuilt = true;
                    return Ok(made);
                }
                Err(fault) => made.not_rebuilt = Some(fault),
            }
        }
        if !recipients.is_empty() {
            let message = composed(mail, author, &recipients, clock);
            made.message = Some(RawValue::from_string(String::from_utf8(message)?)?);
        }
        Ok(made)
    }
}

fn original(mail: &Mail, domain: &Domain, recipients: &[Address]) -> Result<String, String> {
    let agreement = Agreement {
        authenticated: domain,
        recipients,
        limits: &Limits::default(),
    };
    let message = rebuild(mail, &agreement).map_err(|fault| fault.to_string())?;
    String::from_utf8(message.raw().to_vec()).map_err(|fault| fault.to_string())
}

fn composed(mail: &Mail, sender: &Address, recipients: &[Address], clock: &Clock) -> Vec<u8> {
    let urls: Vec<String> = (1..=mail.attachments.len())
        .map(|number| format!("https://gateway.invalid/v1/blobs/{number}"))
        .collect();
    let files: Vec<FileReference<'_>> = mail
        .attachments
        .iter()
        .zip(&urls)
        .map(|(part, url)| FileReference { part, url })
        .collect();
    let composition = Composition {
        message_id: &MessageId::from(clock.mint_v7()),
        idempotency_key: &IdempotencyKey::from(uuid::Uuid::new_v4()),
        received_at: clock.now(),
        sender,
        recipients,
        in_reply_to: None,
        hops: 1,
        files: &files,
    };
    compose(mail, &composition)
}

/// What a person wants to know of the mail, and the message.
fn in_words(mail: &Mail, made: &Made) -> Result<String> {
    let mut text = String::new();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name:<13} {value}\n"));
        }
    };
    fact("from", mail.from.as_ref().map(mailbox));
    if mail.from_count > 1 {
        fact(
            "",
            Some(format!("and {} more authors", mail.from_count - 1)),
        );
    }
    for (name, list) in [
        ("reply to", &mail.reply_to),
        ("to", &mail.to),
        ("cc", &mail.cc),
    ] {
        fact(
            name,
            Some(list.iter().map(mailbox).collect::<Vec<_>>().join(", ")),
        );
    }
    fact("subject", mail.subject.clone());
    fact("date", mail.date.map(|date| date.to_string()));
    fact("id", mail.message_id.clone());
    fact("answers", Some(mail.in_reply_to.join(", ")));
    fact("automatic", Some(mail.auto.as_str().to_owned()));
    for part in &mail.attachments {
        let (kind, size) = (part.kind.as_str(), part.bytes.len());
        fact(
            kind,
            Some(format!(
                "{}, {}, {size} bytes",
                part.name, part.content_type
            )),
        );
    }
    for found in mail.report.iter().flat_map(|report| &report.recipients) {
        let who = found.recipient.as_ref().map_or("-", |it| it.as_str());
        let status = found.status.as_deref().unwrap_or("-");
        fact(
            "report",
            Some(format!("{who} {} {status}", found.action.as_str())),
        );
    }
    fact(
        "complaint",
        mail.complaint.as_ref().map(|it| it.kind.clone()),
    );
    fact("not rebuilt", made.not_rebuilt.clone());
    let Some(message) = &made.message else {
        text.push_str("\nNo message: the author or the recipients cannot be AMTP addresses.\n");
        return Ok(text);
    };
    if made.rebuilt {
        text.push_str("\nThe message in the mail, as it was:\n");
        text.push_str(message.get());
    } else {
        text.push_str("\nThe message made of the mail:\n");
        let message: Value = serde_json::from_str(message.get())?;
        text.push_str(&serde_json::to_string_pretty(&message)?);
    }
    text.push('\n');
    Ok(text)
}

fn mailbox(mailbox: &Mailbox) -> String {
    match &mailbox.name {
        Some(name) => format!("{name} <{}>", mailbox.written),
        None => mailbox.written.clone(),
    }
}
