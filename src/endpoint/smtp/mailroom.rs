//! What becomes of a mail and of its recipients, as replies.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::dialogue::{Reply, Transaction};
use crate::auth::{MailCheck, MailOutcome, MailRequest, MailSent, MailVerdict};
use crate::clock::Clock;
use crate::intake::{Admitted, Intake, Posted, Receipt, Refusal};
use crate::mime::{Mail, MailFault, MailLimits, parse};
use crate::protocol::{Address, ErrorCode};

/// Mails from this size on take long to read: that is done on a thread of its own.
const LARGE: usize = 256 * 1024;
/// So many of those at a time; the others wait.
const READ_AT_ONCE: usize = 2;

/// Where mail is looked at and taken. Cloning is cheap.
#[derive(Clone)]
pub struct Mailroom {
    intake: Intake,
    check: MailCheck,
    rules: Arc<MailroomRules>,
    reading: Arc<Semaphore>,
    clock: Clock,
}

/// What a mailroom goes by.
#[derive(Debug, Clone)]
pub struct MailroomRules {
    /// The bounds of a mail.
    pub limits: MailLimits,
    /// Whether mail is refused that its sender's domain asks to refuse.
    pub honours_requests: bool,
}

/// A mail with where it came from.
pub(super) struct Sent {
    pub(super) remote: IpAddr,
    pub(super) secured: bool,
    pub(super) mail: Transaction,
}

impl Mailroom {
    /// A mailroom that hands mail to `intake` once `check` has looked at it.
    #[must_use]
    pub fn new(intake: Intake, check: MailCheck, rules: MailroomRules, clock: Clock) -> Self {
        Self {
            intake,
            check,
            rules: Arc::new(rules),
            reading: Arc::new(Semaphore::new(READ_AT_ONCE)),
            clock,
        }
    }

    /// Whether mail for an address is taken, or why not.
    pub(super) async fn admits(&self, address: &Address) -> Result<(), Reply> {
        match self.intake.admits(address).await {
            Ok(Admitted::Yes) => Ok(()),
            Ok(Admitted::Inactive) => Err(Reply::new(550, "5.2.1", "The agent takes no mail")),
            Ok(Admitted::Unknown) => Err(unknown(address)),
            Ok(Admitted::Foreign) => Err(Reply::new(550, "5.7.1", "Not our domain: no relay")),
            Err(refusal) => {
                let cause = refusal.cause.as_deref().unwrap_or_default();
                tracing::warn!(error = cause, "a recipient cannot be looked up");
                Err(Reply::new(451, "4.3.0", "Not now, come again"))
            }
        }
    }

    /// Takes a mail, or says why not.
    pub(super) async fn take(&self, sent: Sent) -> Reply {
        let request_id = format!("mail-{}", self.clock.mint_v7());
        let (secured, remote) = (sent.secured, sent.remote);
        let outcome = self.accept(sent, &request_id).await;
        match outcome {
            Ok((receipt, verdict)) => {
                let id = receipt.as_ref().map(|it| it.message_id.as_str());
                tracing::info!(
                    request.id = request_id,
                    message.id = id,
                    client.address = %remote,
                    tls = secured,
                    spf = verdict.spf,
                    dkim = verdict.dkim,
                    dmarc = verdict.dmarc,
                    arc = verdict.arc,
                    "mail taken"
                );
                Reply::new(
                    250,
                    "2.6.0",
                    format!("Taken as {}", id.unwrap_or(&request_id)),
                )
            }
            Err(Refused { reply, cause }) => {
                tracing::info!(
                    request.id = request_id,
                    client.address = %remote,
                    tls = secured,
                    smtp.code = reply.code(),
                    reason = cause,
                    "mail refused"
                );
                reply
            }
        }
    }

    async fn accept(
        &self,
        sent: Sent,
        request_id: &str,
    ) -> Result<(Option<Receipt>, MailVerdict), Refused> {
        let Transaction {
            hello,
            reverse_path,
            recipients,
            content: raw,
        } = sent.mail;
        let mail = self.read(raw.clone()).await?;
        let noting = self.intake.note_returns(&mail, &reverse_path, &recipients);
        let rest = Box::pin(noting).await.map_err(refused)?;
        if rest.recipients.is_empty() {
            return match rest.heard {
                0 => Err(nobody_reads()),
                _ => Ok((None, MailVerdict::unknown())),
            };
        }
        let looked = self.check.check(MailSent {
            remote: sent.remote,
            hello,
            reverse_path: reverse_path.clone(),
            raw: raw.clone(),
        });
        let verdict = Box::pin(looked).await;
        self.judge(&verdict)?;
        let posted = Posted {
            mail,
            raw,
            reverse_path,
            rest,
            verdict: verdict.clone(),
            remote: sent.remote,
            request_id: request_id.to_owned(),
        };
        match Box::pin(self.intake.accept_mail(posted)).await {
            Ok(receipt) => Ok((Some(receipt), verdict)),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    async fn read(&self, raw: Bytes) -> Result<Mail, Refused> {
        let limits = self.rules.limits;
        let mail = match raw.len() < LARGE {
            true => parse(&raw, &limits),
            false => {
                let _turn = self.reading.acquire().await;
                // Not a task: it computes for a while and ends.
                let read = tokio::task::spawn_blocking(move || parse(&raw, &limits)).await;
                read.map_err(|fault| Refused {
                    reply: Reply::new(451, "4.3.0", "Not now, come again"),
                    cause: fault.to_string(),
                })?
            }
        };
        mail.map_err(|fault| Refused {
            reply: faulty(fault),
            cause: fault.to_string(),
        })
    }

    /// Whether the domain of the sender leaves it to us to take the mail.
    fn judge(&self, verdict: &MailVerdict) -> Result<(), Refused> {
        let (reply, cause) = match verdict.outcome {
            MailOutcome::Temporary => (
                Reply::new(
                    451,
                    "4.7.5",
                    "The DNS of the sender does not answer, come again",
                ),
                "the sender's DNS",
            ),
            MailOutcome::Failed {
                request: MailRequest::Refuse,
            } if self.rules.honours_requests => (
                Reply::new(
                    550,
                    "5.7.1",
                    "The domain of the sender asks to refuse this (DMARC)",
                ),
                "DMARC",
            ),
            _ => return Ok(()),
        };
        let cause = cause.to_owned();
        Err(Refused { reply, cause })
    }
}

/// Why a mail is not taken: what is said and what is logged.
struct Refused {
    reply: Reply,
    cause: String,
}

fn nobody_reads() -> Refused {
    Refused {
        reply: Reply::new(
            550,
            "5.7.1",
            "Reports come here; nobody reads mail to this address",
        ),
        cause: "mail to a return path that is no report".to_owned(),
    }
}

/// `postmaster` and `abuse` are always taken: where nobody answers to them yet, later.
fn unknown(address: &Address) -> Reply {
    let local = address.local();
    let always = ["postmaster", "abuse"]
        .iter()
        .any(|it| local.eq_ignore_ascii_case(it));
    match always {
        true => Reply::new(450, "4.2.1", "Nobody reads this yet, come again"),
        false => Reply::new(550, "5.1.1", "Nobody has this address"),
    }
}

const fn too_large() -> &'static str {
    "The mail is larger than is taken here"
}

fn faulty(fault: MailFault) -> Reply {
    match fault {
        MailFault::Size(_) => Reply::new(552, "5.3.4", too_large()),
        MailFault::Header(_) => Reply::new(552, "5.3.4", "A header of the mail is too large"),
        MailFault::Parts(_) => Reply::new(554, "5.6.0", "The mail has too many parts"),
        MailFault::Depth(_) => {
            Reply::new(554, "5.6.0", "The parts of the mail are nested too deep")
        }
        MailFault::NoHeader => Reply::new(554, "5.6.0", "The mail has no header"),
    }
}

/// The reply to a refusal of the door.
fn refused(refusal: Refusal) -> Refused {
    use ErrorCode::{
        AgentUnknown, IdempotencyConflict, InternalError, LoopDetected, MailboxFull,
        MessageTooLarge, PolicyDenied, RateLimitExceeded, RecipientNotFound, RecipientUnavailable,
        SenderCredentialMismatch, SignatureInvalid, SignatureKeyUnavailable, SignatureRequired,
        TemporaryFailure,
    };
    let reply = match refusal.code {
        MessageTooLarge => Reply::new(552, "5.3.4", too_large()),
        AgentUnknown | RecipientNotFound => Reply::new(550, "5.1.1", "Nobody has this address"),
        RecipientUnavailable => Reply::new(550, "5.2.1", "The agent takes no mail"),
        MailboxFull => Reply::new(452, "4.2.2", "The mailbox is full, come again"),
        LoopDetected => Reply::new(554, "5.4.6", "The mail is in a loop"),
        RateLimitExceeded => Reply::new(451, "4.7.1", "Too much mail, come again later"),
        TemporaryFailure | SignatureKeyUnavailable | InternalError => {
            Reply::new(451, "4.3.0", "Not now, come again")
        }
        PolicyDenied | SignatureRequired | SignatureInvalid => {
            Reply::new(550, "5.7.1", "Refused by policy")
        }
        SenderCredentialMismatch => {
            Reply::new(550, "5.7.1", "This sender does not write from outside")
        }
        IdempotencyConflict => Reply::new(554, "5.6.0", "Another mail has come under this id"),
        _ => Reply::new(554, "5.6.0", "The mail is not for this agent"),
    };
    let cause = match refusal.cause {
        Some(cause) => format!("{}: {cause}", refusal.code.as_str()),
        None => refusal.code.as_str().to_owned(),
    };
    Refused { reply, cause }
}
