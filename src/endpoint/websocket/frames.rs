//! The frames of the sub-protocol `amtp.v1`: JSON objects with a `type`.
//!
//! `docs/websocket.md` describes them, `schemas/amtp-websocket-1.0.json` says what they look like.
//! Every frame of a client may carry a `ref`, which stands in its answer.

use std::borrow::Cow;
use std::time::Duration;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::auth::masked;
use crate::endpoint::http::{ReceiptView, span as time_span};
use crate::protocol::{Address, ErrorCode, MessageId, Timestamp};
use crate::topics::{self, Filter};

/// The name of the sub-protocol.
pub const SUBPROTOCOL: &str = "amtp.v1";

/// A `ref` has so many bytes at most.
const LONGEST_REF: usize = 128;
/// So many messages are acknowledged or put back by one frame at most.
const MOST_IDS: usize = 1_000;
/// Of so many agents the presence is asked at once at most.
const MOST_ADDRESSES: usize = 100;
/// A message is put back for so long at most.
const LONGEST_DELAY: Duration = Duration::from_secs(12 * 3_600);
/// A reply is waited for so long at most, and so long where the frame does not say.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const USUAL_WAIT: Duration = Duration::from_secs(30);

/// What a frame of a client begins with: enough to answer it.
#[derive(Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow, default, rename = "ref")]
    pub(crate) reference: Option<Cow<'a, str>>,
}

/// What is in every frame and was read before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bare {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default, rename = "ref")]
    _reference: IgnoredAny,
}

macro_rules! frame {
    ($(#[doc = $doc:literal])+ $name:ident $(<$life:lifetime>)? { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name $(<$life>)? {
            #[serde(rename = "type")]
            _kind: IgnoredAny,
            #[serde(default, rename = "ref")]
            _reference: IgnoredAny,
            $($(#[$attribute])* pub(crate) $field: $type,)*
        }
    };
}

frame! {
    /// Who is speaking, where the request said nothing.
    Auth {
        token: String,
        #[serde(default)]
        credit: Option<u32>,
        #[serde(default)]
        resume: Option<String>,
        #[serde(default)]
        inbox: Option<Address>,
    }
}
frame! {
    /// A message to be sent.
    Submit<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
    }
}
frame! {
    /// A message to be sent whose reply is waited for.
    Request<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
        #[serde(default = "usual_wait", deserialize_with = "wait")]
        wait: Duration,
        #[serde(default)]
        ack: bool,
    }
}
frame! {
    /// Messages that are done.
    Ack {
        #[serde(deserialize_with = "ids")]
        ids: Vec<MessageId>,
    }
}
frame! {
    /// Messages that are to come again.
    Nack {
        #[serde(deserialize_with = "ids")]
        ids: Vec<MessageId>,
        #[serde(default, deserialize_with = "delay")]
        delay: Duration,
    }
}
frame! {
    /// How many unacknowledged messages are taken.
    Credit {
        credit: u32,
    }
}
frame! {
    /// Copies of what is published are wanted.
    Subscribe {
        topic: Address,
        #[serde(default)]
        filter: Filter,
        #[serde(default)]
        from: Option<Start>,
        #[serde(default)]
        durable: bool,
    }
}
frame! {
    /// No more copies are wanted.
    Unsubscribe {
        topic: Address,
        #[serde(default)]
        subscription: Option<Uuid>,
    }
}
frame! {
    /// A message for a topic.
    Publish<'a> {
        topic: Address,
        #[serde(borrow)]
        message: &'a RawValue,
        #[serde(default)]
        expected_version: Option<i64>,
    }
}
frame! {
    /// A message for all agents of the domain.
    Broadcast<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
        #[serde(default)]
        to: Audience,
    }
}
frame! {
    /// Which agents are connected.
    PresenceQuery {
        #[serde(deserialize_with = "addresses")]
        addresses: Vec<Address>,
    }
}

/// What a subscriber wants of what was published before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Start {
    /// What came after the publication of this number.
    Seq(i64),
    /// What came since this moment.
    Time(Timestamp),
    /// The topic's present value.
    Retained,
}

impl From<Start> for topics::From {
    fn from(start: Start) -> Self {
        match start {
            Start::Seq(number) => Self::Seq(number),
            Start::Time(moment) => Self::Time(moment),
            Start::Retained => Self::Retained,
        }
    }
}

/// Whom a broadcast reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audience {
    /// Agents with a session.
    #[default]
    Connected,
    /// All agents.
    Registered,
}

impl From<Audience> for topics::Audience {
    fn from(audience: Audience) -> Self {
        match audience {
            Audience::Connected => Self::Connected,
            Audience::Registered => Self::Registered,
        }
    }
}

/// What a client wants.
#[derive(Debug)]
pub(crate) enum ClientFrame<'a> {
    Auth(Auth),
    Send(Submit<'a>),
    Request(Request<'a>),
    Ack(Ack),
    Nack(Nack),
    Credit(Credit),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Publish(Publish<'a>),
    Broadcast(Broadcast<'a>),
    Presence(PresenceQuery),
    Ping,
}

/// Why a frame is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misread {
    pub(crate) code: ErrorCode,
    /// The member, where it is known.
    pub(crate) field: String,
    pub(crate) error: String,
}

impl Misread {
    fn of(field: &str, error: &str) -> Self {
        Self {
            code: ErrorCode::InvalidParameter,
            field: field.to_owned(),
            error: masked(error).into_owned(),
        }
    }

    fn because(field: &str, fault: &serde_json::Error) -> Self {
        let code = match fault.is_data() {
            true => ErrorCode::InvalidParameter,
            false => ErrorCode::InvalidMessageFormat,
        };
        Self {
            code,
            ..Self::of(field, &fault.to_string())
        }
    }
}

impl<'a> Head<'a> {
    /// Reads the head of a frame.
    ///
    /// # Errors
    /// It is no JSON object with a `type`.
    pub(crate) fn read(text: &'a str) -> Result<Self, Misread> {
        let head: Self = parse(text)?;
        let reference = head.reference.as_deref().unwrap_or("-");
        match (1..=LONGEST_REF).contains(&reference.len()) {
            true => Ok(head),
            false => Err(Misread::of("ref", "must have 1 to 128 bytes")),
        }
    }
}

impl<'a> ClientFrame<'a> {
    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// There is no such kind, or the frame is not one of it.
    pub(crate) fn read(kind: &str, text: &'a str) -> Result<Self, Misread> {
        Ok(match kind {
            "auth" => Self::Auth(parse(text)?),
            "send" => Self::Send(parse(text)?),
            "request" => Self::Request(parse(text)?),
            "ack" => Self::Ack(parse(text)?),
            "nack" => Self::Nack(parse(text)?),
            "credit" => Self::Credit(parse(text)?),
            "subscribe" => Self::Subscribe(parse(text)?),
            "unsubscribe" => Self::Unsubscribe(parse(text)?),
            "publish" => Self::Publish(parse(text)?),
            "broadcast" => Self::Broadcast(parse(text)?),
            "presence" => Self::Presence(parse(text)?),
            "ping" => parse::<Bare>(text).map(|_| Self::Ping)?,
            _ => return Err(Misread::of("type", "is no frame of amtp.v1")),
        })
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Misread> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|fault| {
        let field = match fault.inner().is_data() {
            true => fault.path().to_string(),
            false => String::new(),
        };
        // Without a member it is the whole.
        let field = field.trim_start_matches(['.', '?']);
        Misread::because(field, fault.inner())
    })?;
    let end = reader.end();
    end.map_err(|fault| Misread::because("", &fault))?;
    Ok(value)
}

const fn usual_wait() -> Duration {
    USUAL_WAIT
}

fn wait<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    span(
        input,
        LONGEST_WAIT,
        "must be a time span such as 30s, at most 60s",
    )
}

fn delay<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    span(
        input,
        LONGEST_DELAY,
        "must be a time span such as 30s, at most 12h",
    )
}

fn span<'de, D: Deserializer<'de>>(
    input: D,
    most: Duration,
    wrong: &str,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    let span = time_span(&text);
    span.filter(|span| *span <= most)
        .ok_or_else(|| D::Error::custom(wrong))
}

fn ids<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<MessageId>, D::Error> {
    let ids = Vec::<Cow<'de, str>>::deserialize(input)?;
    if !(1..=MOST_IDS).contains(&ids.len()) {
        return Err(D::Error::custom(format!("must hold 1 to {MOST_IDS} ids")));
    }
    let parsed = ids.iter().map(|id| MessageId::parse(id));
    parsed.collect::<Result<_, _>>().map_err(D::Error::custom)
}

fn addresses<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Address>, D::Error> {
    let addresses = Vec::<Address>::deserialize(input)?;
    match (1..=MOST_ADDRESSES).contains(&addresses.len()) {
        true => Ok(addresses),
        false => Err(D::Error::custom(format!(
            "must hold 1 to {MOST_ADDRESSES} addresses"
        ))),
    }
}

/// The `ref` of a frame, for its answer.
pub(crate) type Ref = Option<String>;

/// An agent and whether it is connected.
#[derive(Debug, Serialize)]
pub(crate) struct PresenceView {
    pub(crate) address: String,
    pub(crate) connected: bool,
    pub(crate) sessions: u64,
}

/// What a gateway says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ServerFrame {
    /// The session is open.
    Welcome {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Ref,
        session: Uuid,
        resume: String,
        resumed: bool,
        address: String,
        inbox: String,
        /// Seconds.
        heartbeat: f64,
        credit: u32,
        /// Bytes.
        max_frame: usize,
    },
    /// Mail.
    Message {
        redelivered: bool,
        message: Box<RawValue>,
    },
    /// A message was taken.
    Receipt {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Ref,
        #[serde(flatten)]
        receipt: ReceiptView,
        /// The number it got in its topic.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<i64>,
    },
    /// The reply to a request.
    Reply {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Ref,
        message_id: String,
        message: Box<RawValue>,
    },
    /// What was asked for was done; only where the frame had a `ref`.
    Done {
        #[serde(rename = "ref")]
        reference: String,
    },
    /// Copies will come.
    Subscribed {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Ref,
        topic: String,
        subscription: String,
        state: &'static str,
    },
    /// Which agents are connected.
    Presence {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Ref,
        agents: Vec<PresenceView>,
    },
    /// The answer to a ping.
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Ref,
    },
    /// Something was not done.
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Ref,
        code: ErrorCode,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<Value>,
        /// Seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<f64>,
    },
}

#[cfg(test)]
mod tests;
