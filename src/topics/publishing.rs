//! Publishing: a message to a topic, made of the caller's content.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::{TopicFault, Topics, invalid};
use crate::admission::Entry;
use crate::auth::Presented;
use crate::envelope::Principal;
use crate::intake::{Arrival, Receipt, VERIFICATION};
use crate::protocol::list::{PublicationFault, publication};
use crate::protocol::{Address, ErrorCode};

/// Something to publish.
pub struct Publishing {
    /// Where.
    pub topic: Address,
    /// The members of a message without sender and recipients, as JSON.
    pub content: Bytes,
    /// Only if the last publication has this number; 0 = if there was none.
    pub expected_version: Option<i64>,
    /// Who publishes.
    pub by: Caller,
}

/// Who hands something in, and how it came.
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub remote: IpAddr,
    /// In which request.
    pub request_id: String,
    /// The entry of the request.
    pub entry: Option<Entry>,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The answer of the door.
    pub receipt: Receipt,
    /// The number it got in the topic; nothing where it is held.
    pub version: Option<i64>,
}

impl Topics {
    /// Publishes; answers when it is on disk. The copies are made afterwards.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` with the present version in its details, and what refuses a message.
    pub async fn publish(&self, publishing: Publishing) -> Result<Published, TopicFault> {
        let topic = self.find(&publishing.topic).await?;
        let sender = sender(&publishing.by.principal)?;
        let to = (&sender, &publishing.topic);
        let raw = publication(&publishing.content, to, publishing.expected_version)
            .map_err(|PublicationFault { field, error }| invalid(field, &error))?;
        let (arrival, entry) = self.arrival(raw, publishing.by);
        let begun = self.0.intake.begin(arrival, entry).await?;
        let receipt = match begun.receipt().await {
            Ok(receipt) => receipt,
            Err(refusal) if refusal.code == ErrorCode::Conflict => {
                let version = self.0.store.last_publication(topic.id).await?;
                return Err(TopicFault {
                    details: Some(json!({ "version": version })),
                    ..refusal
                });
            }
            Err(refusal) => return Err(refusal),
        };
        let of = (sender.key(), receipt.message_id.clone());
        let version = self.0.store.publication_number(topic.id, (&of.0, &of.1));
        Ok(Published {
            version: version.await?,
            receipt,
        })
    }

    /// A message as if its sender had sent it.
    pub(super) fn arrival(&self, raw: Vec<u8>, by: Caller) -> (Arrival, Option<Entry>) {
        let arrival = Arrival {
            raw: raw.into(),
            presented: Presented::Principal(by.principal),
            remote: by.remote,
            certificates: Arc::default(),
            request_id: by.request_id,
            verify_by: self.0.clock.monotonic() + VERIFICATION,
            reads_answers: true,
            succession: None,
        };
        (arrival, by.entry)
    }
}

/// The address that one of our agents sends from.
pub(super) fn sender(principal: &Principal) -> Result<Address, TopicFault> {
    match principal {
        Principal::Agent { address, .. } => Ok(address.clone()),
        Principal::Staff { .. } => Err(TopicFault::new(ErrorCode::AccessDenied)),
        Principal::Anonymous => Err(TopicFault::new(ErrorCode::AuthenticationFailed)),
    }
}
