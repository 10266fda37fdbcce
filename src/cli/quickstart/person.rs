//! The steps of the story with a person in them: a message becomes a mail, and its answer a message.

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::json;
use tokio::sync::mpsc;

use super::letter::Letter;
use super::ports::here;
use super::sink::Caught;
use super::story::{Story, inbox};
use crate::cli::client::{plain, segment};
use crate::mime;
use crate::net::{AddressFilter, MailLineOptions, MailLines, Times};

const DORA: &str = "dora@people.test";

/// The mail that reached the person.
pub(super) struct Reached {
    /// The message it was made of.
    message_id: String,
    /// How mail names it.
    mail_id: String,
    subject: String,
}

impl Story {
    pub(super) async fn write_to_dora(
        &self,
        caught: &mut mpsc::Receiver<Caught>,
    ) -> Result<Reached> {
        let alice = &self.cast.alice;
        let message = json!({
            "sender": alice.address,
            "recipients": [DORA],
            "subject": "May I order?",
            "payload": { "item": "paper clips", "quantity": 1000, "price": "12.50 EUR" },
        });
        let receipt = alice.api.call(Method::POST, "/v1/messages", Some(&message));
        let id = receipt.await?["message_id"].clone();
        let id = id.as_str().context("no message_id")?;
        let is_it = |mail: &Caught| mail.bytes.windows(id.len()).any(|it| it == id.as_bytes());
        let mail = loop {
            let mail = caught.recv().await.context("the mail server has ended")?;
            if is_it(&mail) {
                break mail;
            }
        };
        self.voice.say(
            "people.test has no record for AMTP, but a mail exchange (MX). So alice's gateway made \
             a mail of the message, with a text for people and the whole message as a file, and \
             handed it to that server:",
        )?;
        let read = mime::parse(&mail.bytes, &mime::MailLimits::default())?;
        self.show_mail(&read, &mail)?;
        ensure!(
            read.reply_to
                .first()
                .is_some_and(|to| to.written == alice.address),
            "the answer would not go to alice"
        );
        ensure!(read.amtp.is_some(), "the message does not go along");
        self.voice.say(
            "Reply-To names alice: whoever answers writes to her. The address it returns to is \
             made for this mail alone; by it the gateway knows which message a failure is about.",
        )?;
        Ok(Reached {
            message_id: id.to_owned(),
            mail_id: read.message_id.context("the mail has no Message-ID")?,
            subject: read.subject.unwrap_or_default(),
        })
    }

    fn show_mail(&self, read: &mime::Mail, mail: &Caught) -> Result<()> {
        let reply_to = read.reply_to.first().map(|to| to.written.as_str());
        let from = read.from.as_ref().map(|from| from.written.as_str());
        for (name, value) in [
            ("Subject", read.subject.as_deref()),
            ("From", from),
            ("Reply-To", reply_to),
            ("Message-ID", read.message_id.as_deref()),
            ("returns to", Some(mail.from.as_str())),
        ] {
            let value = value.with_context(|| format!("the mail has no {name}"))?;
            self.voice.fact(&format!("{name}: {value}"))?;
        }
        self.voice
            .fact(&format!("the whole mail: {}", mail.file.display()))
    }

    pub(super) async fn answer_of_dora(&self, mail: &Reached) -> Result<()> {
        let (alpha, alice) = (&self.cast.alpha, &self.cast.alice);
        let lines = MailLines::new(MailLineOptions {
            resolver: self.resolver.clone(),
            filter: AddressFilter::any(),
            trusted_ca_files: Vec::new(),
            times: Times::default(),
            clock: self.clock.clone(),
        })?;
        let letter = Letter {
            from: DORA,
            to: &alice.address,
            subject: &mail.subject,
            answers: &mail.mail_id,
            text: "Yes, please. On Monday.",
        };
        let door = here(alpha.smtp);
        let tcp = lines.connect(&alpha.host, door).await?;
        let said = letter.hand_over(tcp, self.clock.now()).await?;
        self.voice.say(
            "A mail program names the mail it answers in In-Reply-To. dora's server hands her answer to \
             the mail server of alpha.test, and that is alice's gateway:",
        )?;
        self.voice
            .fact(&format!("SMTP to 127.0.0.1:{}: {said}", door.port()))?;
        let id = &mail.message_id;
        let answers = |it: &serde_json::Value| it["in_reply_to"] == **id && it["sender"] == DORA;
        let found = self.mail(alice, answers).await?;
        let verification = &found["sender_verification"];
        ensure!(
            verification["result"] == "verified",
            "dora counts as {}",
            plain(&verification["result"])
        );
        self.voice.say(
            "It is a message like any other, the reply to alice's. Whose it is was found out by the \
             DNS of people.test, which says who may send its mail (SPF, DMARC):",
        )?;
        self.show(alice, &found)?;
        self.voice.fact(&format!("in_reply_to: {id}"))?;
        let found = found["message_id"].as_str().context("no message_id")?;
        let path = format!("{}/{}", inbox(alice), segment(found));
        alice.api.call(Method::DELETE, &path, None).await?;
        self.voice.fact(&format!("{found}: acknowledged"))
    }
}
