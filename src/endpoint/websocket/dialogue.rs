//! What a client may say when: one text in, one step out. No I/O, no clock.
//!
//! - Before it is known who speaks, only `auth` is taken; anything else ends the connection.
//! - A frame that is not understood is answered by an `error`; too many of them in a row end the
//!   connection.
//! - What a session may have open at a time is counted here: requests that wait for their reply,
//!   and subscriptions.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::close::{self, Close};
use super::frames::{Audience, Auth, ClientFrame, Head, Misread, Ref, ServerFrame, Subscribe};
use crate::auth::Permission;
use crate::envelope::Principal;
use crate::protocol::{Address, ErrorCode, MessageId};

/// So many frames in a row may be faulty.
const MOST_FAULTS: u32 = 20;
/// So many requests of a session may wait for their reply.
pub(crate) const MOST_REQUESTS: usize = 64;
/// So many subscriptions may be made in a session.
pub(crate) const MOST_SUBSCRIPTIONS: usize = 100;
/// So many unacknowledged messages a client may ask for.
pub(crate) const MOST_CREDIT: u32 = 100_000;

/// A conversation with one client.
#[derive(Debug)]
pub(crate) struct Dialogue {
    stage: Stage,
    faults: u32,
    requests: usize,
    subscriptions: usize,
}

#[derive(Debug)]
enum Stage {
    /// Nobody knows who speaks.
    Unknown,
    /// It is being found out.
    Entering,
    /// The session is open.
    Open(Principal),
}

/// What is to be done about a frame.
#[derive(Debug)]
pub(crate) enum Step {
    /// Find out who this is, then open the session.
    Enter(Auth, Ref),
    /// Do this and answer.
    Act(Act, Ref),
    /// Only answer.
    Answer(ServerFrame),
    /// End the connection.
    Close(Close),
}

/// What a client wants done.
#[derive(Debug)]
pub(crate) enum Act {
    Send(Bytes),
    Request {
        raw: Bytes,
        wait: Duration,
        acknowledge: bool,
    },
    Acknowledge(Vec<MessageId>),
    PutBack(Vec<MessageId>, Duration),
    Grant(u32),
    Subscribe(Subscribe),
    Unsubscribe(Address, Option<Uuid>),
    Publish {
        topic: Address,
        raw: Bytes,
        expected_version: Option<i64>,
    },
    Broadcast(Bytes, Audience),
    Presence(Vec<Address>),
}

impl Dialogue {
    /// A conversation that begins, with somebody or with one who is known already and whose session
    /// is being opened.
    pub(crate) const fn new(known: bool) -> Self {
        Self {
            stage: match known {
                true => Stage::Entering,
                false => Stage::Unknown,
            },
            faults: 0,
            requests: 0,
            subscriptions: 0,
        }
    }

    /// Whether nobody has said who speaks.
    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self.stage, Stage::Unknown)
    }

    /// The session is open.
    pub(crate) fn entered(&mut self, principal: Principal) {
        self.stage = Stage::Open(principal);
    }

    /// Who speaks, once that is known.
    pub(crate) const fn principal(&self) -> Option<&Principal> {
        match &self.stage {
            Stage::Open(principal) => Some(principal),
            _ => None,
        }
    }

    /// A request has its answer.
    pub(crate) const fn answered(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// A subscription came to nothing, or ended.
    pub(crate) const fn unsubscribed(&mut self) {
        self.subscriptions = self.subscriptions.saturating_sub(1);
    }

    /// What is to be done about this text.
    pub(crate) fn take(&mut self, text: &Bytes) -> Step {
        let Ok(words) = std::str::from_utf8(text) else {
            return Step::Close(Close::of(close::DATA, "the text is not UTF-8"));
        };
        let head = match Head::read(words) {
            Ok(head) => head,
            Err(misread) => return self.misread(None, misread),
        };
        let reference = head.reference.map(std::borrow::Cow::into_owned);
        let frame = match ClientFrame::read(&head.kind, words) {
            Ok(frame) => frame,
            Err(misread) => return self.misread(reference, misread),
        };
        match (&self.stage, frame) {
            (Stage::Unknown, ClientFrame::Auth(auth)) => {
                self.stage = Stage::Entering;
                Step::Enter(auth, reference)
            }
            (Stage::Open(_), frame) => {
                self.faults = 0;
                self.open(frame, text, reference)
            }
            _ => Step::Close(not_yet()),
        }
    }

    fn open(&mut self, frame: ClientFrame<'_>, text: &Bytes, reference: Ref) -> Step {
        let part = |message: &RawValue| text.slice_ref(message.get().as_bytes());
        let act = match frame {
            ClientFrame::Auth(_) => {
                return refused(
                    reference,
                    ErrorCode::Conflict,
                    "The session is open already.",
                );
            }
            ClientFrame::Ping => return Step::Answer(ServerFrame::Pong { reference }),
            ClientFrame::Send(it) => Act::Send(part(it.message)),
            ClientFrame::Request(it) => Act::Request {
                raw: part(it.message),
                wait: it.wait,
                acknowledge: it.ack,
            },
            ClientFrame::Ack(it) => Act::Acknowledge(it.ids),
            ClientFrame::Nack(it) => Act::PutBack(it.ids, it.delay),
            ClientFrame::Credit(it) => Act::Grant(it.credit),
            ClientFrame::Subscribe(it) => Act::Subscribe(it),
            ClientFrame::Unsubscribe(it) => Act::Unsubscribe(it.topic, it.subscription),
            ClientFrame::Publish(it) => Act::Publish {
                topic: it.topic,
                raw: part(it.message),
                expected_version: it.expected_version,
            },
            ClientFrame::Broadcast(it) => Act::Broadcast(part(it.message), it.to),
            ClientFrame::Presence(it) => Act::Presence(it.addresses),
        };
        match self.admit(&act) {
            Ok(()) => Step::Act(act, reference),
            Err((code, sentence)) => refused(reference, code, sentence),
        }
    }

    /// Whether it may be done now; counts it if so.
    fn admit(&mut self, act: &Act) -> Result<(), (ErrorCode, &'static str)> {
        if act.needs_to_send() && !self.may_send() {
            return Err((
                ErrorCode::AccessDenied,
                "The credential of this session lacks the scope `send`.",
            ));
        }
        match act {
            Act::Grant(credit) if *credit > MOST_CREDIT => Err((
                ErrorCode::InvalidParameter,
                "`credit` must be a whole number from 0 to 100000.",
            )),
            Act::Request { .. } if self.requests >= MOST_REQUESTS => Err((
                ErrorCode::RateLimitExceeded,
                "64 requests of this session wait for their replies already.",
            )),
            Act::Subscribe(_) if self.subscriptions >= MOST_SUBSCRIPTIONS => Err((
                ErrorCode::RateLimitExceeded,
                "This session has made 100 subscriptions already.",
            )),
            Act::Request { .. } => {
                self.requests += 1;
                Ok(())
            }
            Act::Subscribe(_) => {
                self.subscriptions += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn may_send(&self) -> bool {
        self.principal()
            .is_some_and(|principal| Permission::Send.allows(principal))
    }

    fn misread(&mut self, reference: Ref, misread: Misread) -> Step {
        if self.principal().is_none() {
            return Step::Close(not_yet());
        }
        self.faults += 1;
        if self.faults > MOST_FAULTS {
            return Step::Close(Close::of(close::POLICY, "too many faulty frames in a row"));
        }
        Step::Answer(ServerFrame::Error {
            reference,
            code: misread.code,
            message: misread.code.text().to_owned(),
            details: Some(json!({
                "validation_errors": [{ "field": misread.field, "error": misread.error }]
            })),
            retry_after: None,
        })
    }
}

impl Act {
    const fn needs_to_send(&self) -> bool {
        matches!(
            self,
            Self::Send(_) | Self::Request { .. } | Self::Publish { .. } | Self::Broadcast(..)
        )
    }
}

fn not_yet() -> Close {
    Close::of(close::UNAUTHENTICATED, "the first frame must be `auth`")
}

fn refused(reference: Ref, code: ErrorCode, sentence: &str) -> Step {
    Step::Answer(ServerFrame::Error {
        reference,
        code,
        message: sentence.to_owned(),
        details: None,
        retry_after: None,
    })
}

#[cfg(test)]
mod tests;
