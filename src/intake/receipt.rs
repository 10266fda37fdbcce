//! The answer to an accepted message.

use super::refused::Telling;
use super::{Late, Refusal};
use crate::envelope::Origin;
use crate::protocol::{Address, DeliveryStatus, ErrorCode, MessageId};
use crate::store::{Accepting, Decision, Fate, Store};
use crate::telemetry::Metrics;

/// The answer to an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id it goes by.
    pub message_id: MessageId,
    /// One entry a recipient, in the order the sender wrote them.
    pub recipients: Vec<Received>,
    /// Whether other domains get it signed.
    pub signing: Signing,
}

/// Whether other domains get a message signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// As everything that can be, or nothing goes to other domains.
    Usual,
    /// It holds a number that cannot be signed: it goes as it is, unsigned.
    Impossible,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// As the sender wrote it.
    pub address: Address,
    /// The word for its state.
    pub status: DeliveryStatus,
    /// Why it failed.
    pub error_code: Option<ErrorCode>,
}

/// A message that was judged and handed on.
pub struct Taken {
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    pub(super) message_id: MessageId,
    pub(super) sender: Address,
    pub(super) origin: Origin,
    pub(super) believed: bool,
    pub(super) request_id: String,
    pub(super) addresses: Vec<Address>,
    pub(super) signing: Signing,
    /// What is noted where it answers a task that has ended.
    pub(super) late: Option<Box<Late>>,
    /// Who is told of recipients that are refused, where the answer does not.
    pub(super) telling: Option<Box<Telling>>,
    pub(super) way: Way,
}

/// How it goes on.
pub(super) enum Way {
    /// It is answered when it is on disk.
    Durable(Accepting),
    /// It is on its way already, with these states.
    Early(Vec<Fate>),
}

impl Taken {
    /// Who sent it.
    #[must_use]
    pub const fn sender(&self) -> &Address {
        &self.sender
    }

    /// Whether the sender showed a credential or is vouched for.
    #[must_use]
    pub const fn is_believed(&self) -> bool {
        self.believed
    }

    /// The answer; on the durable path, once the message is on disk.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is stored.
    pub async fn receipt(self) -> Result<Receipt, Refusal> {
        let (message_id, fates) = match self.way {
            Way::Early(fates) => (self.message_id, fates),
            Way::Durable(accepting) => match accepting.decision().await? {
                Decision::Conflict => return Err(Refusal::new(ErrorCode::IdempotencyConflict)),
                Decision::Taken { message_id, fates } => (message_id, fates),
            },
        };
        if let Some(late) = &self.late {
            late.note_fates(&fates);
        }
        if let Some(refusal) = refused_by_all(&self.addresses, &fates) {
            return Err(refusal);
        }
        self.metrics.accepted(self.origin);
        tracing::info!(
            message.id = message_id.as_str(),
            message.sender = %self.sender,
            message.recipients = self.addresses.len(),
            message.origin = <&'static str>::from(self.origin),
            request.id = self.request_id,
            "accepted"
        );
        if let Some(telling) = &self.telling {
            Box::pin(telling.tell(&message_id, &self.addresses, &fates)).await;
        }
        let receipt = told(&self.store, message_id, self.addresses, fates).await?;
        Ok(Receipt {
            signing: self.signing,
            ..receipt
        })
    }
}

/// Where the commit found room for nobody, nothing of the message is stored.
fn refused_by_all(addresses: &[Address], fates: &[Fate]) -> Option<Refusal> {
    let code = |fate: &Fate| match fate {
        Fate::Refused(code) => Some(*code),
        _ => None,
    };
    let codes = fates.iter().map(code).collect::<Option<Vec<ErrorCode>>>()?;
    let first = *codes.first()?;
    let names = addresses.iter().map(ToString::to_string);
    let refusal = Refusal::of_recipients(first, names.zip(codes));
    Some(match first {
        ErrorCode::MailboxFull => refusal.later(),
        _ => refusal,
    })
}

/// The answer; for recipients that had the message before, their present state.
async fn told(
    store: &Store,
    message_id: MessageId,
    addresses: Vec<Address>,
    fates: Vec<Fate>,
) -> Result<Receipt, Refusal> {
    let known: Vec<i64> = fates
        .iter()
        .filter_map(|fate| match fate {
            Fate::Known(mid) => Some(*mid),
            _ => None,
        })
        .collect();
    let states = if known.is_empty() {
        Vec::new()
    } else {
        Box::pin(store.recipient_states(&known)).await?
    };
    let recipients = addresses
        .into_iter()
        .zip(fates)
        .map(|(address, fate)| {
            let (status, error_code) = match fate {
                Fate::New(status) => (status, None),
                Fate::Refused(code) => (DeliveryStatus::Failed, Some(code)),
                // A message whose history is gone already was delivered and acknowledged.
                Fate::Known(mid) => states
                    .iter()
                    .find(|(of, state)| {
                        *of == mid && state.address.eq_ignore_ascii_case(&address.to_string())
                    })
                    .map_or((DeliveryStatus::Delivered, None), |(_, state)| {
                        (state.status, state.error_code)
                    }),
            };
            Received {
                address,
                status,
                error_code,
            }
        })
        .collect();
    Ok(Receipt {
        message_id,
        recipients,
        signing: Signing::Usual,
    })
}
