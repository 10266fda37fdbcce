//! Mail comes in: a mail becomes a message, or notes on messages of ours.
//!
//! - What another bridge made of a message becomes that message again, where the domain that stands
//!   behind the mail is the domain of its sender. Any other mail becomes a message of the schema for
//!   mail, and its files are kept for its recipients.
//! - It goes to the recipients of the envelope, whoever else is named in it, and only to ours.
//! - Reports to return paths of ours are notes on what they are about, never messages; they are taken
//!   before anybody is asked about their sender ([`Intake::note_returns`]).
//! - The same mail to the same recipients is the same message: its key follows from both, so that what
//!   comes again after a lost answer does not arrive twice.
//! - Nobody outside speaks for an agent of ours, and what comes back to where it began is refused.

mod answers;
mod reports;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use bytes::Bytes;
use ring::digest;

use super::receipt::Way;
use super::{Intake, MAX_HOPS, Receipt, Refusal, Taken, class};
use crate::auth::MailVerdict;
use crate::envelope::{Envelope, KeySource, Origin, Trust};
use crate::mime::{Agreement, Composition, FileReference, Mail, compose, rebuild};
use crate::protocol::{
    Address, ErrorCode, GatewayUrl, IdempotencyKey, Limits, Message, MessageId, Profile, Timestamp,
};
use crate::store::{Acceptance, Plan, Sealer, part_id, raw_mail_id};

pub use reports::Rest;

/// Mails from this size on are hashed where nothing else waits.
const LARGE: usize = 256 * 1024;
/// A mail that passed more servers than this is in a loop.
const MOST_SERVERS: usize = 100;

/// What mail needs at the door.
pub struct MailDoor {
    /// Where recipients fetch the files of mails.
    pub gateway: GatewayUrl,
    /// What knows the return paths of mail of ours.
    pub returns: Option<Sealer>,
}

/// A mail as the endpoint received it.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The mail.
    pub mail: Mail,
    /// The same as it came.
    pub raw: Bytes,
    /// Where reports about it go; empty for none.
    pub reverse_path: String,
    /// Who gets it of the recipients of the envelope, each of which [`Intake::admits`]: what
    /// [`Intake::note_returns`] left.
    pub rest: Rest,
    /// What was found out about its sender.
    pub verdict: MailVerdict,
    /// Where it came from.
    pub remote: IpAddr,
    /// The transaction it came in.
    pub request_id: String,
}

/// Whether mail for an address is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// For one of our agents, as a note, or to be carried on.
    Yes,
    /// The agent takes nothing at present.
    Inactive,
    /// Nobody has it.
    Unknown,
    /// Its domain is not ours.
    Foreign,
}

impl Intake {
    /// Whether mail for an address is taken, as far as that can be said without the mail.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn admits(&self, address: &Address) -> Result<Admitted, Refusal> {
        if !self.is_local(address.domain()) {
            return Ok(Admitted::Foreign);
        }
        if self.return_path(address).is_some() {
            return Ok(Admitted::Yes);
        }
        Ok(match self.names.find(&self.store, address).await? {
            Some(agent) if agent.active => Admitted::Yes,
            Some(_) => Admitted::Inactive,
            None if self.names.has_people(address) => Admitted::Yes,
            None => Admitted::Unknown,
        })
    }

    /// Takes a mail for its recipients, at least one. The answer comes when it is on disk.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is stored but notes.
    pub async fn accept_mail(&self, posted: Posted) -> Result<Receipt, Refusal> {
        if !self.space.has_room() || !self.store.is_present() {
            return Err(Refusal::no_room());
        }
        self.refuse_loops(&posted.mail)?;
        if posted.rest.paths == 0 {
            self.note_report(&posted).await?;
        }
        let recipients = posted.rest.recipients.clone();
        let (envelope, files) = self.mail_envelope(&posted, &recipients).await?;
        let judging = self.judge(envelope, Some(&recipients));
        let mut acceptance = Box::pin(judging).await?;
        let sender = acceptance.envelope.message.sender().clone();
        if let Some(rates) = &self.rates {
            rates.foreign(sender.domain())?;
        }
        self.pass(&mut acceptance).await?;
        if let Some(admission) = &self.admission {
            let bytes = posted.raw.len();
            acceptance.place = Some(admission.place(class(&acceptance.envelope), bytes, None)?);
        }
        acceptance.blobs = self.keep_files(&posted, &files, &acceptance).await?;
        let taken = Taken {
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            message_id: acceptance.envelope.message_id.clone(),
            sender,
            origin: Origin::Mail,
            believed: acceptance.envelope.trust != Trust::Unverified,
            request_id: posted.request_id,
            addresses: recipients,
            signing: super::Signing::Usual,
            late: self.if_late(&acceptance),
            telling: super::refused::Telling::of(self, &acceptance),
            way: Way::Durable(self.store.begin_accept(acceptance).await?),
        };
        taken.receipt().await
    }

    /// What is in a loop, or came back to where it began.
    fn refuse_loops(&self, mail: &Mail) -> Result<(), Refusal> {
        let came_back = self.names.domains.iter().any(|ours| mail.has_passed(ours));
        let far = mail.received_count > MOST_SERVERS || mail.amtp_hops >= MAX_HOPS;
        match came_back || far {
            true => Err(Refusal::new(ErrorCode::LoopDetected)),
            false => Ok(()),
        }
    }

    /// The message that a mail is, and the names of its files in the order of the mail.
    async fn mail_envelope(
        &self,
        posted: &Posted,
        recipients: &[Address],
    ) -> Result<(Envelope, Vec<String>), Refusal> {
        let writer = writer(posted)?;
        let key = key(posted).await;
        let received_at = self.clock.now();
        let (message, files) = match self.original(posted, recipients) {
            Some(message) => (message, Vec::new()),
            None => {
                let context = (&writer, &key, received_at);
                self.composed(posted, recipients, context).await?
            }
        };
        let sender = message.sender();
        let verification = posted.verdict.verification(sender.domain());
        let trust = verification.trust();
        if self.is_local(sender.domain()) && !self.may_speak(sender, trust).await? {
            return Err(Refusal::new(ErrorCode::SenderCredentialMismatch));
        }
        let envelope = Envelope {
            message_id: match message.message_id() {
                Some(id) => id.clone(),
                None => self.clock.mint_v7().into(),
            },
            idempotency_key: message.idempotency_key().cloned().unwrap_or(key),
            key_source: KeySource::Given,
            timestamp: message.timestamp().unwrap_or(received_at),
            origin: Origin::Mail,
            trust,
            verification,
            received_at,
            remote: Some(posted.remote),
            request_id: posted.request_id.clone(),
            answers: None,
            message,
        };
        Ok((envelope, files))
    }

    /// The message that another bridge put into the mail, if the mail stands for it.
    fn original(&self, posted: &Posted, recipients: &[Address]) -> Option<Message> {
        let authenticated = posted.verdict.authenticated()?;
        posted.mail.amtp.as_ref()?;
        let limits = self.mail_limits();
        let agreement = Agreement {
            authenticated,
            recipients,
            limits: &limits,
        };
        match rebuild(&posted.mail, &agreement) {
            Ok(message) => Some(message),
            Err(fault) => {
                tracing::info!(
                    peer.domain = %authenticated,
                    request.id = posted.request_id,
                    reason = %fault,
                    "a mail with a message in it is taken as plain mail"
                );
                None
            }
        }
    }

    async fn composed(
        &self,
        posted: &Posted,
        recipients: &[Address],
        (sender, key, received_at): (&Address, &IdempotencyKey, Timestamp),
    ) -> Result<(Message, Vec<String>), Refusal> {
        // Texts only grow when they are written as JSON.
        let limits = self.mail_limits();
        if posted.mail.text_size() > limits.message_size {
            return Err(Refusal::too_large(limits.message_size));
        }
        let door = self.mail.as_ref();
        let door = door.ok_or_else(|| Refusal::new(ErrorCode::InternalError))?;
        let parts = &posted.mail.attachments;
        let ids: Vec<String> = (0..parts.len())
            .map(|number| part_id(&sender.key(), key, &number.to_string()))
            .collect();
        let urls: Vec<String> = ids
            .iter()
            .map(|id| {
                format!(
                    "{}/v1/blobs/{id}",
                    door.gateway.as_str().trim_end_matches('/')
                )
            })
            .collect();
        let files: Vec<FileReference<'_>> = parts
            .iter()
            .zip(&urls)
            .map(|(part, url)| FileReference { part, url })
            .collect();
        let in_reply_to = self.answered_by_mail(&posted.mail, sender).await?;
        let in_reply_to = in_reply_to.or_else(|| posted.rest.answers.clone());
        let message_id: MessageId = self.clock.mint_v7().into();
        let raw = compose(
            &posted.mail,
            &Composition {
                message_id: &message_id,
                idempotency_key: key,
                received_at,
                sender,
                recipients,
                in_reply_to: in_reply_to.as_ref(),
                hops: posted.mail.amtp_hops + 1,
                files: &files,
            },
        );
        let message = Message::parse(Bytes::from(raw), Profile::Relay, &limits)?;
        Ok((message, ids))
    }

    fn mail_limits(&self) -> Limits {
        Limits {
            message_size: self.read_limit(),
            recipients: self.limits.recipients,
        }
    }

    /// Keeps the files of a mail, and the mail itself where it is to go on as it came.
    async fn keep_files(
        &self,
        posted: &Posted,
        ids: &[String],
        acceptance: &Acceptance,
    ) -> Result<Vec<String>, Refusal> {
        let now = acceptance.envelope.received_at;
        let mut kept = ids.to_vec();
        for (part, id) in posted.mail.attachments.iter().zip(ids) {
            let content = (part.bytes.clone(), now);
            self.store
                .keep_blob(id, &part.content_type, content)
                .await?;
        }
        let carried = |plan: &Plan| matches!(plan, Plan::Queue { destination, .. } if destination.starts_with(MAIL));
        if acceptance.recipients.iter().any(|it| carried(&it.plan)) {
            let envelope = &acceptance.envelope;
            let sender = envelope.message.sender().key();
            let id = raw_mail_id(&sender, &envelope.idempotency_key);
            let content = (posted.raw.clone(), now);
            self.store.keep_blob(&id, "message/rfc822", content).await?;
            kept.push(id);
        }
        Ok(kept)
    }

    /// Whether a mail may come from an address of our own: its domain stands behind it, and it is
    /// nobody's who has a credential of ours.
    async fn may_speak(&self, sender: &Address, trust: Trust) -> Result<bool, Refusal> {
        if trust != Trust::Trusted {
            return Ok(false);
        }
        for name in sender.agent_names() {
            if self
                .store
                .find_agent(sender.domain(), &name)
                .await?
                .is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the destinations begin with that mail is carried to.
const MAIL: &str = "mail:";

/// Whose message a mail is.
fn writer(posted: &Posted) -> Result<Address, Refusal> {
    let author = posted.mail.author().cloned();
    let author = author.or_else(|| Address::parse(&posted.reverse_path).ok());
    author.ok_or_else(|| Refusal {
        message: Some("The mail has no author that an agent could answer.".into()),
        ..Refusal::new(ErrorCode::InvalidMessageFormat)
    })
}

/// The key of a mail: the same for the same mail to the same recipients, whatever servers added on
/// its way.
async fn key(posted: &Posted) -> IdempotencyKey {
    let mut names: Vec<String> = posted.rest.recipients.iter().map(Address::key).collect();
    names.sort_unstable();
    names.push(posted.reverse_path.to_ascii_lowercase());
    let (id, raw) = (posted.mail.message_id.clone(), posted.raw.clone());
    if raw.len() < LARGE {
        return key_of(&names, id.as_deref(), &raw);
    }
    let (kept, large) = (names.clone(), (id.clone(), raw.clone()));
    // Not a task: it computes for a while and ends.
    let made = move || key_of(&kept, large.0.as_deref(), &large.1);
    let made = tokio::task::spawn_blocking(made).await;
    made.unwrap_or_else(|_| key_of(&names, id.as_deref(), &raw))
}

fn key_of(names: &[String], id: Option<&str>, raw: &[u8]) -> IdempotencyKey {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut add = |part: &[u8]| {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    };
    names.iter().for_each(|name| add(name.as_bytes()));
    match id {
        Some(id) => {
            add(id.as_bytes());
            add(body(raw));
        }
        None => add(raw),
    }
    let hex = hash.finish().as_ref()[..20]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    IdempotencyKey::parse(&format!("mail-{hex}")).expect("letters and digits are a key")
}

/// What stands behind the header.
fn body(raw: &[u8]) -> &[u8] {
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n");
    &raw[end.unwrap_or(0)..]
}
