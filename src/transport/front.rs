//! Addresses of ours that stand for an agent of another domain (delivery mode `peer`).
//!
//! - What is sent to such an address goes on, in the delivery that was accepted, to the gateway of the
//!   other domain, as from the address itself: under an identity of its own, with one hop more.
//! - What comes back for that identity is brought to whoever sent the first message, again as from the
//!   address. It keeps its own id, so that what is said in reply names what the agent said.
//! - What the other agent sends of its own accord goes nowhere: it would come back to it.

use bytes::Bytes;

use super::behind::Behind;
use super::text::trouble;
use super::{Attempted, Copy, Fault, Outcome, Parcel};
use crate::clock::Clock;
use crate::protocol::json::write_string;
use crate::protocol::wire::{Edit, Replace, build};
use crate::protocol::{
    Address, Bounce, BounceKind, Domain, ErrorCode, Heading, Limits, Message, Profile,
};
use crate::store::{Agent, Store, StoreError, StoredMessage};

/// Takes back what the agents behind our addresses answer. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Fronts {
    store: Store,
    clock: Clock,
}

impl Fronts {
    pub(super) const fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Makes of answers what goes to whoever asked.
    pub(super) async fn carry_all(&self, front: &Agent, parcels: &[Parcel]) -> Vec<Vec<Attempted>> {
        let mut behind = Behind::default();
        let mut carried = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            let mut attempts = Vec::with_capacity(parcel.copies.len());
            for copy in &parcel.copies {
                let outcome = match behind.what(parcel, copy) {
                    Some(outcome) => outcome,
                    None => self.bring_back(front, parcel).await.unwrap_or_else(own),
                };
                behind.note(parcel, copy, &outcome);
                attempts.push(Attempted {
                    outcome,
                    remote: None,
                    renew: false,
                });
            }
            carried.push(attempts);
        }
        carried
    }

    async fn bring_back(&self, front: &Agent, parcel: &Parcel) -> Result<Outcome, StoreError> {
        let message = &parcel.message;
        let bounce = Bounce::from_message(message);
        let named = match &bounce {
            Some(bounce) => Some(&bounce.original_message_id),
            None => message.in_reply_to(),
        };
        let first = match named {
            Some(id) => self.store.find_carried(id).await?,
            None => None,
        };
        let first = match first {
            Some(first) => Some((first.message()?, first)),
            None => None,
        };
        let Some((asked, first)) = first.filter(|(asked, _)| is_for(asked, front)) else {
            return Ok(unasked(message));
        };
        let raw = match bounce {
            Some(bounce) => self.notice(front, (&first, &asked), bounce, message.hops()),
            None if is_notice(message) => return Ok(Outcome::Delivered { reply: None }),
            None => reply(front, (&first, &asked), parcel),
        };
        Ok(Outcome::Delivered {
            reply: Some(raw.into()),
        })
    }

    /// The notice that the other domain could not deliver after all.
    fn notice(
        &self,
        front: &Agent,
        (first, asked): (&StoredMessage, &Message),
        bounce: Bounce,
        hops: u32,
    ) -> Vec<u8> {
        let postmaster = format!("postmaster@{}", front.address.domain());
        let heading = Heading {
            message_id: &self.clock.mint_v7().into(),
            idempotency_key: &uuid::Uuid::new_v4().into(),
            timestamp: self.clock.now(),
            sender: &Address::parse(&postmaster).expect("a name at a domain"),
            recipient: asked.sender(),
            hops: hops.saturating_add(1),
        };
        let bounce = Bounce {
            original_message_id: first.message_id.clone(),
            failed_recipients: vec![front.address.clone()],
            ..bounce
        };
        bounce.message(BounceKind::Failure, &heading)
    }
}

/// Whether a message was for an address.
fn is_for(asked: &Message, front: &Agent) -> bool {
    let name = front.address.local();
    asked.recipients().iter().any(|to| {
        to.domain() == front.address.domain()
            && to
                .agent_names()
                .any(|it| it.as_str().eq_ignore_ascii_case(name))
    })
}

/// A notice that is no bounce: that something takes long.
fn is_notice(message: &Message) -> bool {
    message.member("message_type").is_some() || message.header("x-amtp-auto") == Some("\"notice\"")
}

fn unasked(message: &Message) -> Outcome {
    if message.is_bounce() || is_notice(message) {
        return Outcome::Delivered { reply: None };
    }
    let words =
        "the address stands for its sender, and this answers nothing that was sent through it";
    Outcome::Failed(trouble(ErrorCode::LoopDetected, Fault::Message, words))
}

fn own(error: StoreError) -> Outcome {
    tracing::error!(%error, "an answer to an address that stands for another waits for the database");
    let words = "this gateway's own database fails at present";
    Outcome::Deferred(trouble(ErrorCode::TemporaryFailure, Fault::Message, words))
}

/// The answer as from the address, to whoever asked.
fn reply(front: &Agent, (first, asked): (&StoredMessage, &Message), parcel: &Parcel) -> Vec<u8> {
    let message = &parcel.message;
    let hops = message.hops().saturating_add(1).to_string();
    let own = quoted(&front.address);
    let mut headers = vec![("x-amtp-hops", hops.as_str())];
    if message.reply_to().is_some() {
        headers.push(("reply-to", &own));
    }
    let key = uuid::Uuid::new_v4().into();
    let replace = Replace {
        sender: Some(&front.address),
        recipients: Some(std::slice::from_ref(asked.sender())),
        in_reply_to: Edit::Set(&first.message_id),
        amtp_headers: &headers,
        signature: Edit::Omit,
        ..Replace::identity(
            &parcel.stored.message_id,
            &key,
            message.timestamp().unwrap_or(parcel.stored.accepted_at),
        )
    };
    build(message, &replace)
}

fn quoted(address: &Address) -> String {
    let mut text = Vec::new();
    write_string(address.as_str(), &mut text);
    String::from_utf8(text).expect("an address is text")
}

/// A copy for an address of ours, as it goes on to the agent of `domain` that it stands for.
pub(super) async fn carried_on(
    store: &Store,
    parcel: &Parcel,
    copy: &Copy,
    domain: &Domain,
) -> Result<Parcel, Outcome> {
    let front = front(store, &copy.recipient).await.map_err(own)?;
    let target = front.as_ref().and_then(|it| it.settings.stands_for());
    let (Some(front), Some(target)) = (front.as_ref(), target.filter(|it| it.domain() == domain))
    else {
        let words = format!("the address does not stand for an agent of {domain} any more");
        let code = ErrorCode::RecipientUnavailable;
        return Err(Outcome::Failed(trouble(code, Fault::Message, &words)));
    };
    let earlier = match parcel.message.in_reply_to() {
        Some(id) => store.find_wire_id(id, &parcel.stored.sender).await,
        None => Ok(None),
    };
    let earlier = earlier.map_err(own)?;
    let raw = onward(front, (parcel, copy), &target, earlier.as_ref());
    let limits = Limits {
        message_size: usize::MAX,
        recipients: usize::MAX,
    };
    let message = Message::parse(Bytes::from(raw), Profile::Relay, &limits).map_err(|fault| {
        let words = format!("the message cannot go on: {:?}", fault.code);
        Outcome::Failed(trouble(ErrorCode::InternalError, Fault::Message, &words))
    })?;
    Ok(Parcel {
        stored: parcel.stored.clone(),
        message,
        copies: vec![Copy {
            recipient: target,
            ..copy.clone()
        }],
    })
}

/// The agent that answers to an address.
async fn front(
    store: &Store,
    address: &Address,
) -> Result<Option<std::sync::Arc<Agent>>, StoreError> {
    for name in address.agent_names().collect::<Vec<_>>() {
        if let Some(agent) = store.find_agent(address.domain(), &name).await? {
            return Ok(Some(agent));
        }
    }
    Ok(None)
}

/// The message as from the address.
fn onward(
    front: &Agent,
    (parcel, copy): (&Parcel, &Copy),
    target: &Address,
    earlier: Option<&crate::protocol::MessageId>,
) -> Vec<u8> {
    let message = &parcel.message;
    let hops = message.hops().saturating_add(1).to_string();
    let (own, sender) = (quoted(&front.address), quoted(message.sender()));
    let mut headers = vec![
        ("x-amtp-hops", hops.as_str()),
        ("x-amtp-on-behalf-of", sender.as_str()),
    ];
    if message.reply_to().is_some() {
        headers.push(("reply-to", &own));
    }
    let fresh = uuid::Uuid::new_v4().into();
    let (id, key) = match &copy.wire {
        Some(wire) => (&wire.id, &wire.key),
        None => (&parcel.stored.message_id, &fresh),
    };
    let replace = Replace {
        sender: Some(&front.address),
        recipients: Some(std::slice::from_ref(target)),
        in_reply_to: earlier.map_or(Edit::Keep, Edit::Set),
        amtp_headers: &headers,
        signature: Edit::Omit,
        ..Replace::identity(
            id,
            key,
            message.timestamp().unwrap_or(parcel.stored.accepted_at),
        )
    };
    build(message, &replace)
}
