//! `amtpd mail render`: the mail that carries a message.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::super::show;
use super::read;
use crate::clock::Clock;
use crate::mime::{Face, Letter, MailLimits, Rendered, parse, render};
use crate::protocol::wire::{Replace, build};
use crate::protocol::{Address, Domain, IdempotencyKey, Limits, Message, MessageId, Profile};

/// Show the mail that carries a message
#[derive(Debug, Args)]
pub(super) struct RenderCommand {
    /// The file of the message as JSON, or - for standard input
    #[arg(value_name = "MESSAGE|-")]
    message: String,
    /// Who gets the mail; the message's first recipient where it is not given
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Address>,
    /// The name of the sending agent
    #[arg(long)]
    name: Option<String>,
    /// Whose address stands in From
    #[arg(long, value_enum, default_value_t = From::Bridge)]
    from: From,
    /// The domain of the gateway; the sender's where it is not given
    #[arg(long)]
    domain: Option<Domain>,
    /// Only the page, as HTML
    #[arg(long)]
    html: bool,
    /// Write it to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// The bridge's address
    Bridge,
    /// The agent's address
    Agent,
}

impl RenderCommand {
    pub(super) fn run(self) -> Result<()> {
        let limits = Limits::default();
        let raw = read(&self.message, limits.message_size)?;
        let message = Message::parse(raw.into(), Profile::Relay, &limits)
            .with_context(|| format!("{} is no message", self.message))?;
        let mail = self.render(&message, &Clock::system())?;
        let bytes = if self.html {
            page(&mail)?.into_bytes()
        } else {
            mail.bytes
        };
        match &self.out {
            Some(path) => {
                std::fs::write(path, bytes).with_context(|| path.display().to_string())?;
                println!("Written to {}.", path.display());
                Ok(())
            }
            None => show(&String::from_utf8_lossy(&bytes)),
        }
    }

    /// The mail; what the message does not say is minted, as on its way.
    pub(super) fn render(&self, message: &Message, clock: &Clock) -> Result<Rendered> {
        let minted_id = MessageId::from(clock.mint_v7());
        let minted_key = IdempotencyKey::from(uuid::Uuid::new_v4());
        let message_id = message.message_id().unwrap_or(&minted_id);
        let key = message.idempotency_key().unwrap_or(&minted_key);
        let date = message.timestamp().unwrap_or_else(|| clock.now());
        let recipient = self.to.as_ref().unwrap_or(&message.recipients()[0]);
        let letter = Letter {
            message,
            body: &build(message, &Replace::identity(message_id, key, date)),
            message_id,
            sender_name: self.name.as_deref(),
            from_domain: self.domain.as_ref().unwrap_or(message.sender().domain()),
            face: match self.from {
                From::Bridge => Face::Bridge,
                From::Agent => Face::Agent,
            },
            recipient,
            reply_to: message.reply_to().unwrap_or(message.sender()),
            in_reply_to: None,
            references: &[],
            date,
        };
        Ok(render(&letter)?)
    }
}

/// The page of a mail, read back from it.
fn page(mail: &Rendered) -> Result<String> {
    let limits = MailLimits {
        size: usize::MAX,
        ..MailLimits::default()
    };
    parse(&mail.bytes, &limits)?
        .html
        .context("the mail has no page")
}

#[cfg(test)]
impl RenderCommand {
    pub(super) fn for_tests() -> Self {
        Self {
            message: "-".to_owned(),
            to: None,
            name: None,
            from: From::Bridge,
            domain: None,
            html: false,
            out: None,
        }
    }
}
