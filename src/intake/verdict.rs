//! What policy and schemas say of a message, recipient by recipient (AMTP 1.0, sections 9.4 and 6).
//!
//! The policy comes first, then the payload is checked against its schema, once for all recipients.
//! A recipient that is refused is refused by itself; where all are, the message is.

use std::time::Duration;

use serde_json::{Value, json};

use super::recipients::leads_through;
use super::{Intake, Refusal, Signing, refuse_if_none_is_left};
use crate::auth::OverRate;
use crate::auth::audit::{Event, Outcome};
use crate::config::{DeliveryPath, UnknownSchemas};
use crate::envelope::{Envelope, Origin, Trust, VerificationResult};
use crate::policy::{
    Action, Because, CertificateStanding, Direction, Directions, Ordering, PayloadStanding,
    Question, SenderStanding, SignatureMode, SignatureStanding, Standing, Verdict,
};
use crate::protocol::list::ToTopic;
use crate::protocol::signature::signable;
use crate::protocol::{Address, ErrorCode, Message, is_jwe};
use crate::schema::Judgement;
use crate::store::{Acceptance, Begin, Order, Plan, Planned, StoredMessage, Terms, list_number};

/// When to come again where the key of a signature could not be had.
const KEY_LATER: Duration = Duration::from_secs(30);
/// What a quota is for.
const DAY: Duration = Duration::from_secs(86_400);

impl Intake {
    /// Asks policy and schemas about every recipient that is not refused yet. Answers which path
    /// the message takes.
    ///
    /// # Errors
    /// [`Refusal`], where no recipient is left.
    pub(super) async fn pass(&self, acceptance: &mut Acceptance) -> Result<DeliveryPath, Refusal> {
        close_to_strangers(acceptance)?;
        let path = self.ask_policy(acceptance)?;
        self.check_schema(acceptance).await?;
        Ok(path)
    }

    /// Checks the payload against its schema, once for all recipients.
    ///
    /// # Errors
    /// [`Refusal`], where it does not fit.
    pub(super) async fn check_schema(&self, acceptance: &mut Acceptance) -> Result<(), Refusal> {
        let message = &acceptance.envelope.message;
        let (Some(schemas), Some(id)) = (&self.schemas, message.schema()) else {
            return Ok(());
        };
        let errors = match schemas.judge(id, message.payload()).await {
            Judgement::Valid => return Ok(()),
            Judgement::Unknown if schemas.unknown() == UnknownSchemas::Accept => return Ok(()),
            Judgement::Unknown => {
                json!([{ "field": "schema", "error": "is not known to this gateway" }])
            }
            Judgement::Faults(faults) => serde_json::to_value(faults).unwrap_or_default(),
        };
        for planned in &mut acceptance.recipients {
            refuse(planned, ErrorCode::SchemaValidationFailed);
        }
        refuse_if_none_is_left(&acceptance.recipients)
            .map_err(|refusal| refusal.with_detail("validation_errors", errors))
    }

    fn ask_policy(&self, acceptance: &mut Acceptance) -> Result<DeliveryPath, Refusal> {
        let Some(policies) = &self.policies else {
            return Ok(self.path);
        };
        let envelope = &acceptance.envelope;
        let message = &envelope.message;
        let standing = standing(envelope);
        let (mut path, mut retry_after, mut flagged) = (None, None, false);
        let mut over = None;
        for planned in &mut acceptance.recipients {
            if matches!(planned.plan, Plan::Refused(_)) || asks_of_topic(message, &planned.plan) {
                continue;
            }
            let recipient = planned.address.clone();
            let question = Question {
                directions: self.directions(envelope.origin, planned),
                sender: message.sender(),
                recipient: &recipient,
                schema: message.schema(),
                size: message.raw().len(),
                standing,
            };
            let verdict = policies.judge(&question);
            if let Some(code) = verdict.refusal {
                tracing::info!(
                    message.sender = %question.sender,
                    message.recipient = %question.recipient,
                    error.code = code.as_str(),
                    policy.rule = %verdict.rule,
                    policy.because = %verdict.because,
                    "refused by policy"
                );
                retry_after = retry_after.max(wait(code, &verdict));
                over = over.or_else(|| rate_of(&verdict));
                refuse(planned, code);
                continue;
            }
            flagged |= verdict.signature == SignatureMode::Flag;
            let wanted = verdict.path.unwrap_or(self.path);
            // What one recipient wants on disk first is on disk first.
            path = match path {
                None | Some(DeliveryPath::Immediate) => Some(wanted),
                Some(DeliveryPath::Durable) => path,
            };
            planned.plan = on_terms(&verdict, planned, self.latest(envelope));
        }
        self.note_doubt(envelope, flagged);
        refuse_if_none_is_left(&acceptance.recipients).map_err(|refusal| Refusal {
            retry_after: refusal.retry_after.or(retry_after),
            rate: over
                .filter(|_| refusal.code == ErrorCode::RateLimitExceeded)
                .map(Box::new),
            ..refusal
        })?;
        Ok(path.unwrap_or(self.path))
    }

    fn directions(&self, origin: Origin, planned: &Planned) -> Directions {
        let taken = match origin {
            Origin::Peer => Direction::Inbound,
            Origin::Mail => Direction::BridgeIn,
            _ => Direction::Submission,
        };
        match &planned.plan {
            Plan::Queue { destination, .. } if destination.starts_with("mail:") => {
                taken | Direction::BridgeOut
            }
            _ if self.is_local(planned.address.domain()) => taken.into(),
            _ => taken | Direction::Outbound,
        }
    }

    /// Whether a message that no gateway takes may go on as mail. What this gateway says itself is not
    /// up to policies.
    #[must_use]
    pub fn may_be_mailed(
        &self,
        stored: &StoredMessage,
        message: &Message,
        recipient: &Address,
    ) -> bool {
        let Some(policies) = &self.policies else {
            return true;
        };
        if stored.origin == Origin::Bounce {
            return true;
        }
        let verdict = policies.judge(&Question {
            directions: Direction::BridgeOut.into(),
            sender: message.sender(),
            recipient,
            schema: message.schema(),
            size: message.raw().len(),
            standing: Standing {
                payload: payload(message),
                ..Standing::local()
            },
        });
        if let Some(code) = verdict.refusal {
            tracing::info!(
                message.id = stored.message_id.as_str(),
                message.recipient = %recipient,
                error.code = code.as_str(),
                policy.rule = %verdict.rule,
                "policy lets no mail go there"
            );
        }
        verdict.refusal.is_none() && verdict.action != Action::Hold
    }

    /// Whether a message of ours to other domains can be signed.
    pub(super) fn signing(&self, acceptance: &Acceptance) -> Signing {
        let leaves = |planned: &Planned| !self.is_local(planned.address.domain());
        let asked = self.signs
            && acceptance.envelope.origin == Origin::Submission
            && acceptance.recipients.iter().any(leaves);
        match asked && !signable(acceptance.envelope.message.raw()) {
            true => Signing::Impossible,
            false => Signing::Usual,
        }
    }

    /// A signature that does not hold is worth a line also where the message is taken.
    fn note_doubt(&self, envelope: &Envelope, flagged: bool) {
        let result = envelope.verification.result;
        let doubtful = matches!(
            result,
            VerificationResult::Invalid | VerificationResult::KeyUnavailable
        );
        if !doubtful {
            return;
        }
        let word: &'static str = result.into();
        let domain = envelope.verification.domain.as_str();
        if flagged {
            tracing::warn!(
                peer.domain = domain,
                verification.result = word,
                "a sender is not verified"
            );
        }
        if let Some(audit) = &self.audit {
            let event = Event::new(
                "sender.doubtful",
                "anonymous".to_owned(),
                domain,
                Outcome::Failed,
            );
            let event = event.with(json!({ "result": word }));
            audit.note(match envelope.remote {
                Some(remote) => event.in_request(&envelope.request_id, remote),
                None => event,
            });
        }
    }

    /// Adds what a recipient takes instead, where a message is refused for its schema.
    pub(super) async fn with_alternatives(&self, refusal: Refusal, message: &Message) -> Refusal {
        let (Some(schemas), Some(asked)) = (&self.schemas, message.schema()) else {
            return refusal;
        };
        if refusal.code != ErrorCode::SchemaValidationFailed {
            return refusal;
        }
        let Some(first) = message.recipients().first() else {
            return refusal;
        };
        let Ok(Some(agent)) = self.names.find(&self.store, first).await else {
            return refusal;
        };
        let others = schemas.alternatives(&agent.settings.supported_schemas, asked);
        refusal.with_detail("supported_alternatives", Value::from(others))
    }
}

/// Whether it concerns its sender's own subscription to a topic: of that the topic judges, not who
/// may publish.
fn asks_of_topic(message: &Message, plan: &Plan) -> bool {
    matches!(plan, Plan::Queue { destination, .. } if list_number(destination).is_some())
        && ToTopic::of(message).is_request()
}

fn refuse(planned: &mut Planned, code: ErrorCode) {
    if !matches!(planned.plan, Plan::Refused(_)) {
        planned.plan = Plan::Refused(code);
    }
}

fn wait(code: ErrorCode, verdict: &Verdict) -> Option<Duration> {
    match code {
        ErrorCode::SignatureKeyUnavailable => Some(KEY_LATER),
        _ => verdict.retry_after,
    }
}

/// The limit in messages that a sender is over.
fn rate_of(verdict: &Verdict) -> Option<OverRate> {
    let (limit, retry_after) = verdict.limit.as_ref().zip(verdict.retry_after)?;
    let (count, window) = match verdict.because {
        Because::RateLimit => limit.rate.map(|rate| (rate.count, rate.period))?,
        Because::Quota if limit.kibibytes.is_none() => (limit.messages?, DAY),
        _ => return None,
    };
    Some(OverRate {
        name: "policy",
        quota: count.get(),
        window,
        retry_after,
    })
}

/// What the policy knows of a message.
pub(super) fn standing(envelope: &Envelope) -> Standing {
    use VerificationResult as Found;
    let by_certificate = envelope.verification.method == "client_certificate";
    let (sender, signature) = match envelope.verification.result {
        Found::Authenticated => (SenderStanding::Local, SignatureStanding::Absent),
        Found::TrustedInternal => (SenderStanding::Internal, SignatureStanding::Absent),
        Found::Verified if by_certificate => (SenderStanding::Verified, SignatureStanding::Absent),
        Found::Verified => (SenderStanding::Verified, SignatureStanding::Valid),
        Found::SourceAddress => (SenderStanding::SourceAddress, SignatureStanding::Absent),
        Found::Unsigned => (SenderStanding::Unverified, SignatureStanding::Absent),
        Found::Invalid => (SenderStanding::Unverified, SignatureStanding::Invalid),
        Found::KeyUnavailable => (
            SenderStanding::Unverified,
            SignatureStanding::KeyUnavailable,
        ),
    };
    Standing {
        sender,
        signature,
        certificate: match by_certificate {
            true => CertificateStanding::Valid,
            false => CertificateStanding::Absent,
        },
        payload: payload(&envelope.message),
    }
}

fn payload(message: &Message) -> PayloadStanding {
    match is_jwe(message.payload()) {
        true => PayloadStanding::Encrypted,
        false => PayloadStanding::Plain,
    }
}

/// What nobody vouches for does not leave through an address that stands for an agent of another domain:
/// it would leave as ours.
fn close_to_strangers(acceptance: &mut Acceptance) -> Result<(), Refusal> {
    if acceptance.envelope.trust != Trust::Unverified {
        return Ok(());
    }
    let mut closed = false;
    for planned in &mut acceptance.recipients {
        if leads_through(&planned.plan, &planned.address) {
            refuse(planned, ErrorCode::RelayDenied);
            closed = true;
        }
    }
    match closed {
        true => refuse_if_none_is_left(&acceptance.recipients),
        false => Ok(()),
    }
}

/// The plan on the policy's terms. What is held goes into the queue, also where its recipient polls.
fn on_terms(verdict: &Verdict, planned: &Planned, give_up_at: crate::protocol::Timestamp) -> Plan {
    let terms = Terms {
        begin: match verdict.action {
            Action::Hold => Begin::Held,
            _ => Begin::Queued,
        },
        priority: verdict.priority,
        order: match verdict.ordering {
            Some(Ordering::None) => Order::Free,
            _ => Order::Kept,
        },
    };
    match &planned.plan {
        Plan::Inbox { mailbox, .. } if terms.begin == Begin::Held => Plan::Queue {
            party: *mailbox,
            destination: format!("agent:{mailbox}"),
            give_up_at,
            wire: None,
            reserved: None,
            terms,
        },
        Plan::Inbox { mailbox, .. } => Plan::Inbox {
            mailbox: *mailbox,
            priority: terms.priority,
        },
        Plan::Queue {
            party,
            destination,
            give_up_at,
            wire,
            reserved,
            ..
        } => Plan::Queue {
            party: *party,
            destination: destination.clone(),
            give_up_at: *give_up_at,
            wire: wire.clone(),
            reserved: *reserved,
            terms,
        },
        other => other.clone(),
    }
}
