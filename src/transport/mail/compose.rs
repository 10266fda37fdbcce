//! The mail that carries a message to one recipient, signed and ready to be handed over.

use crate::mime::mapping::write_message_id;
use crate::mime::{Face, Letter, render};
use crate::protocol::json::{items, scan_object, string_of};
use crate::protocol::wire::{Replace, build};
use crate::protocol::{Bounce, Domain, ErrorCode, MessageId};
use crate::store::{ReturnPath, StoreError, party_hash};
use crate::transport::text::trouble;

use super::super::{Copy, Fault, Outcome, Parcel};
use super::MailTransport;
use super::report::{self, Reporting};

/// Ids of a thread that are named.
const MOST_REFERENCES: usize = 20;

/// A mail with the address it comes back to.
pub(super) struct Written {
    /// The envelope sender; empty where nobody is to be told.
    pub(super) from: String,
    pub(super) bytes: Vec<u8>,
}

/// Of which thread a mail is.
#[derive(Default)]
struct Thread {
    in_reply_to: Option<String>,
    references: Vec<String>,
}

impl MailTransport {
    /// Writes the mail of one copy.
    pub(super) async fn write(&self, parcel: &Parcel, copy: &Copy) -> Result<Written, Outcome> {
        if self.is_passed_on(parcel, copy) {
            return self.pass_on(parcel, copy).await;
        }
        let domain = self.our_domain(parcel, copy);
        let thread = self.thread(parcel, copy, &domain).await;
        let thread = thread.map_err(|error| kept_from_us(&error))?;
        let (from, mail) = match Bounce::from_message(&parcel.message) {
            Some(bounce) => (String::new(), self.report(&bounce, (parcel, copy), &thread)),
            None => {
                let name = self.sender_name(parcel).await;
                let name = name.map_err(|error| kept_from_us(&error))?;
                let mail = self.letter((parcel, copy), (&domain, name.as_deref()), &thread)?;
                (self.return_path(parcel, copy, &domain), mail)
            }
        };
        let fields = match &self.signer {
            Some(signer) => signer.sign(&mail, &domain).map_err(|fault| {
                tracing::error!(error = %fault, "a mail could not be signed");
                let code = ErrorCode::TemporaryFailure;
                Outcome::Deferred(trouble(code, Fault::Message, &fault.to_string()))
            })?,
            None => String::new(),
        };
        Ok(Written {
            from,
            bytes: [fields.as_bytes(), &mail].concat(),
        })
    }

    /// Our domain that a mail is sent from: the sender's, or the recipient's where that is ours.
    fn our_domain(&self, parcel: &Parcel, copy: &Copy) -> Domain {
        let ours = |domain: &&Domain| self.settings.domains.contains(domain);
        let candidates = [parcel.message.sender().domain(), copy.recipient.domain()];
        let found = candidates.into_iter().find(ours);
        found.unwrap_or(&self.settings.domains[0]).clone()
    }

    /// Where it comes back to. A notice that comes back tells nobody anything.
    pub(super) fn return_path(&self, parcel: &Parcel, copy: &Copy, domain: &Domain) -> String {
        let is_notice = parcel
            .message
            .sender()
            .local()
            .eq_ignore_ascii_case("postmaster");
        if is_notice {
            return String::new();
        }
        let local = self.sealer.return_path(ReturnPath {
            mid: parcel.stored.mid,
            party: party_hash(&copy.recipient.key()),
        });
        format!("{local}@{domain}")
    }

    /// What people call the agent that sends, where it is ours and has a name.
    async fn sender_name(&self, parcel: &Parcel) -> Result<Option<String>, StoreError> {
        let sender = parcel.message.sender();
        if !self.settings.domains.contains(sender.domain()) {
            return Ok(None);
        }
        for name in sender.agent_names() {
            if let Some(agent) = self.store.find_agent(sender.domain(), &name).await? {
                return Ok(agent.settings.display_name.clone());
            }
        }
        Ok(None)
    }

    fn letter(
        &self,
        (parcel, copy): (&Parcel, &Copy),
        (domain, sender_name): (&Domain, Option<&str>),
        thread: &Thread,
    ) -> Result<Vec<u8>, Outcome> {
        let message = &parcel.message;
        let failed = |words: &str| {
            Outcome::Failed(trouble(ErrorCode::InvalidRecipient, Fault::Message, words))
        };
        let key = parcel.stored.idempotency_key(message);
        let key = key.map_err(|error| failed(&error.to_string()))?;
        let date = message.timestamp().unwrap_or(parcel.stored.accepted_at);
        let hops = (message.hops() + 1).to_string();
        let headers = [("x-amtp-hops", hops.as_str())];
        let body = build(
            message,
            &Replace {
                amtp_headers: &headers,
                ..Replace::identity(&parcel.stored.message_id, &key, date)
            },
        );
        let ours = self.settings.domains.contains(message.sender().domain());
        let letter = Letter {
            message,
            body: &body,
            message_id: &parcel.stored.message_id,
            sender_name,
            from_domain: domain,
            face: if ours {
                self.settings.face
            } else {
                Face::Bridge
            },
            recipient: &copy.recipient,
            reply_to: message.reply_to().unwrap_or(message.sender()),
            in_reply_to: thread.in_reply_to.as_deref(),
            references: &thread.references,
            date,
        };
        let rendered = render(&letter).map_err(|fault| failed(&fault.to_string()))?;
        Ok(rendered.bytes)
    }

    fn report(
        &self,
        bounce: &Bounce,
        (parcel, copy): (&Parcel, &Copy),
        thread: &Thread,
    ) -> Vec<u8> {
        report::write(&Reporting {
            bounce,
            message: &parcel.message,
            message_id: &parcel.stored.message_id,
            host: &self.settings.host,
            recipient: &copy.recipient,
            original: thread.in_reply_to.as_deref(),
            date: parcel.stored.accepted_at,
        })
    }

    /// The thread a message belongs to: that of the mail it answers, or of our own mail.
    async fn thread(
        &self,
        parcel: &Parcel,
        copy: &Copy,
        domain: &Domain,
    ) -> Result<Thread, StoreError> {
        let Some(answered) = parcel.message.in_reply_to() else {
            return Ok(Thread::default());
        };
        let own = match &parcel.stored.notes.answers {
            Some(own) => MessageId::parse(own).unwrap_or_else(|_| answered.clone()),
            None => answered.clone(),
        };
        match self.store.find_mailed(&own, &copy.recipient).await? {
            Some(mailed) => {
                let message = mailed.message()?;
                Ok(of_mail(message.payload()).unwrap_or_default())
            }
            None => {
                let answered = write_message_id(&own, domain);
                Ok(Thread {
                    references: vec![answered.clone()],
                    in_reply_to: Some(answered),
                })
            }
        }
    }
}

/// What is said where the database does not answer.
pub(super) fn kept_from_us(error: &StoreError) -> Outcome {
    tracing::error!(%error, "mail waits for the database");
    let words = "this gateway's own database fails at present";
    let code = ErrorCode::TemporaryFailure;
    Outcome::Deferred(trouble(code, Fault::Message, words))
}

/// The thread of a mail, by what stands in the message that was made of it.
fn of_mail(payload: &str) -> Option<Thread> {
    let members = scan_object(payload.as_bytes()).ok()?;
    let value = |wanted: &str| {
        let (_, place) = members.iter().find(|(name, _)| name == wanted)?;
        payload.get(place.clone())
    };
    let id = string_of(value("message_id")?)?.into_owned();
    let named = value("references").and_then(items).into_iter().flatten();
    let mut references: Vec<String> = named
        .filter_map(|one| Some(string_of(one)?.into_owned()))
        .collect();
    references.retain(|one| *one != id);
    references.push(id.clone());
    let first = references.len().saturating_sub(MOST_REFERENCES);
    Some(Thread {
        in_reply_to: Some(id),
        references: references.split_off(first),
    })
}
