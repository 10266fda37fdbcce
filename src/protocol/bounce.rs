//! The notice that a delivery failed for good: a message of type `delivery_failure`. AMTP 1.0, section 8.2.2.
//!
//! A gateway sends it from its `postmaster` to the sender of the message that failed. A bounce
//! never bounces. What a received one says is only a claim: whether its sender may speak for the
//! failed recipients is for the caller to judge.

use super::json::{items, scan_object, string_of};
use super::message::{Message, SUPPORTED_VERSIONS, is_absent};
use super::wire::Body;
use super::{Address, IdempotencyKey, MessageId, Timestamp};

/// What a bounce says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounce {
    /// The message that failed, by the id it travelled under.
    pub original_message_id: MessageId,
    /// Who did not get it; at least one.
    pub failed_recipients: Vec<Address>,
    /// Why: a word of [`super::ErrorCode`], or whatever another gateway writes.
    pub error_code: String,
    /// The reason in a sentence for people.
    pub error_message: String,
    /// How many attempts followed the first one.
    pub retry_count: u32,
    /// When the last attempt was made; another gateway may not say.
    pub final_attempt: Option<Timestamp>,
}

/// Which notice it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BounceKind {
    /// The delivery failed for good.
    Failure,
    /// It is late and still tried: no bounce in the sense of the protocol.
    Delay,
}

/// What the message that carries a bounce needs beside it.
#[derive(Debug, Clone, Copy)]
pub struct Heading<'a> {
    /// A fresh id.
    pub message_id: &'a MessageId,
    /// A fresh key.
    pub idempotency_key: &'a IdempotencyKey,
    /// Now.
    pub timestamp: Timestamp,
    /// Our postmaster.
    pub sender: &'a Address,
    /// The sender of the message that failed.
    pub recipient: &'a Address,
    /// The hops of the message that failed and one more.
    pub hops: u32,
}

impl Bounce {
    /// The message to send, as JSON.
    #[must_use]
    pub fn message(&self, kind: BounceKind, heading: &Heading<'_>) -> Vec<u8> {
        let mut body = Body::with_capacity(1_024);
        body.string("version", SUPPORTED_VERSIONS[0]);
        body.string("message_id", heading.message_id.as_str());
        body.string("idempotency_key", heading.idempotency_key.as_str());
        body.string("timestamp", &heading.timestamp.to_string());
        body.string("sender", heading.sender.as_str());
        body.addresses("recipients", std::slice::from_ref(heading.recipient));
        let (word, subject, auto) = match kind {
            BounceKind::Failure => ("delivery_failure", "Delivery failed", "bounce"),
            BounceKind::Delay => ("delivery_delay", "Delivery is delayed", "notice"),
        };
        body.string("message_type", word);
        body.string("in_reply_to", self.original_message_id.as_str());
        body.string("subject", subject);
        let headers = format!(
            "{{\"x-amtp-auto\":\"{auto}\",\"x-amtp-hops\":{}}}",
            heading.hops
        );
        body.member("headers", &headers);
        body.member("payload", &self.payload());
        body.finish()
    }

    fn payload(&self) -> String {
        let mut payload = Body::with_capacity(512);
        payload.string("original_message_id", self.original_message_id.as_str());
        payload.addresses("failed_recipients", &self.failed_recipients);
        payload.string("error_code", &self.error_code);
        payload.string("error_message", &self.error_message);
        payload.member("retry_count", &self.retry_count.to_string());
        match self.final_attempt {
            Some(moment) => payload.string("final_attempt", &moment.to_string()),
            None => payload.member("final_attempt", "null"),
        }
        String::from_utf8(payload.finish()).expect("built from strings")
    }

    /// What a bounce says; `None` if the message is no bounce, or one that names no message or no
    /// failed recipients. The facts may stand in the payload or, as the draft shows them, beside it.
    #[must_use]
    pub fn from_message(message: &Message) -> Option<Self> {
        if !message.is_bounce() {
            return None;
        }
        let payload = message.payload();
        let members = scan_object(payload.as_bytes()).unwrap_or_default();
        let within = |wanted: &str| {
            let (_, place) = members.iter().find(|(name, _)| name == wanted)?;
            Some(&payload[place.clone()]).filter(|value| !is_absent(value))
        };
        if within("original_message_id").is_some() {
            Self::read(within)
        } else {
            Self::read(|wanted| message.member(wanted))
        }
    }

    fn read<'m>(find: impl Fn(&str) -> Option<&'m str>) -> Option<Self> {
        let text = |name| find(name).and_then(string_of);
        let failed_recipients = addresses(find("failed_recipients")?)?;
        Some(Self {
            original_message_id: MessageId::parse(&text("original_message_id")?).ok()?,
            failed_recipients,
            error_code: text("error_code").unwrap_or_default().into_owned(),
            error_message: text("error_message").unwrap_or_default().into_owned(),
            retry_count: find("retry_count")
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            final_attempt: text("final_attempt")
                .and_then(|moment| Timestamp::parse_rfc3339(&moment).ok()),
        })
    }
}

/// At least one address, and nothing else.
fn addresses(value: &str) -> Option<Vec<Address>> {
    let address = |item| Address::parse(&string_of(item)?).ok();
    let addresses: Option<Vec<Address>> = items(value)?.map(address).collect();
    addresses.filter(|addresses| !addresses.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ErrorCode, Limits, Profile};
    use bytes::Bytes;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    fn parse(body: impl Into<Bytes>) -> Message {
        Message::parse(body.into(), Profile::Relay, &Limits::default()).unwrap()
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn sent(bounce: &Bounce) -> Message {
        let (postmaster, sender) = (address("postmaster@two.example"), address("a@one.example"));
        parse(bounce.message(
            BounceKind::Failure,
            &Heading {
                message_id: &MessageId::parse("b-1").unwrap(),
                idempotency_key: &IdempotencyKey::parse("k-1").unwrap(),
                timestamp: Timestamp::from_millis(1_786_703_400_000),
                sender: &postmaster,
                recipient: &sender,
                hops: 2,
            },
        ))
    }

    #[test]
    fn a_bounce_is_a_message_to_the_sender() {
        let message = sent(&Bounce {
            original_message_id: MessageId::parse("m-1").unwrap(),
            failed_recipients: vec![address("x@two.example")],
            error_code: ErrorCode::RecipientUnavailable.to_string(),
            error_message: "The \"gateway\" did not answer.".to_owned(),
            retry_count: 168,
            final_attempt: Some(Timestamp::from_millis(0)),
        });
        assert!(message.is_bounce());
        assert_eq!(message.sender().as_str(), "postmaster@two.example");
        assert_eq!(message.recipients(), [address("a@one.example")]);
        assert_eq!(message.in_reply_to().unwrap().as_str(), "m-1");
        assert_eq!(message.hops(), 2);
        assert_eq!(
            message.payload(),
            concat!(
                r#"{"original_message_id":"m-1","failed_recipients":["x@two.example"],"#,
                r#""error_code":"RECIPIENT_UNAVAILABLE","error_message":"The \"gateway\" did not answer.","#,
                r#""retry_count":168,"final_attempt":"1970-01-01T00:00:00.000Z"}"#
            )
        );
    }

    #[test]
    fn the_drafts_own_form_is_understood() {
        let message = parse(
            r#"{"sender":"postmaster@two.example","recipients":["a@one.example"],"message_type":"delivery_failure",
            "original_message_id":"m-1","failed_recipients":["X@two.example"],"error_code":"recipient_unavailable"}"#,
        );
        let bounce = Bounce::from_message(&message).unwrap();
        assert_eq!(bounce.original_message_id.as_str(), "m-1");
        assert_eq!(bounce.failed_recipients, [address("x@two.example")]);
        assert_eq!(bounce.error_code, "recipient_unavailable");
        assert_eq!((bounce.retry_count, bounce.final_attempt), (0, None));
    }

    #[test]
    fn what_names_no_message_or_no_recipient_is_no_bounce() {
        let table = [
            r#""message_type":"delivery_failure""#,
            r#""message_type":"other","payload":{"original_message_id":"m","failed_recipients":["x@two.example"]}"#,
            r#""payload":{"original_message_id":"m","failed_recipients":["x@two.example"]}"#,
            r#""message_type":"delivery_failure","payload":{"original_message_id":"","failed_recipients":["x@two.example"]}"#,
            r#""message_type":"delivery_failure","payload":{"original_message_id":"?","failed_recipients":["x@two.example"]}"#,
            r#""message_type":"delivery_failure","payload":{"original_message_id":"m"}"#,
            r#""message_type":"delivery_failure","payload":{"original_message_id":"m","failed_recipients":[]}"#,
            r#""message_type":"delivery_failure","payload":{"original_message_id":"m","failed_recipients":["x@two.example",1]}"#,
            r#""message_type":"delivery_failure","payload":"text""#,
        ];
        for members in table {
            let text = format!(
                r#"{{"sender":"postmaster@two.example","recipients":["a@one.example"],{members}}}"#
            );
            assert_eq!(Bounce::from_message(&parse(text)), None, "{members}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_bounce_reads_back(
            id in "[a-z0-9-]{1,40}",
            locals in proptest::collection::vec("[a-z]{1,9}", 1..5),
            error_code in any::<String>(),
            error_message in any::<String>(),
            retry_count in any::<u32>(),
            final_attempt in proptest::option::of(0_i64..4_000_000_000_000),
        ) {
            let bounce = Bounce {
                original_message_id: MessageId::parse(&id).unwrap(),
                failed_recipients: locals.iter().map(|local| address(&format!("{local}@two.example"))).collect(),
                error_code,
                error_message,
                retry_count,
                final_attempt: final_attempt.map(Timestamp::from_millis),
            };
            prop_assert_eq!(Bounce::from_message(&sent(&bounce)), Some(bounce));
        }
    }
}
