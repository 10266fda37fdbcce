//! Whether what a webhook answers becomes a reply message, and which.
//!
//! The answer must hold a member `response` that is not `null`. A notice or an automatic message is
//! never answered, so that two webhooks cannot answer each other for ever; a sender that cannot be
//! believed is not answered either, because the reply would reach whoever was named.

use bytes::Bytes;

use crate::envelope::Trust;
use crate::protocol::json::scan_object;
use crate::protocol::wire::Body;
use crate::protocol::{Address, IdempotencyKey, Message, MessageId, Timestamp};
use crate::store::{Replies, StoredMessage};

/// The raw JSON of the member `response` of a webhook's answer.
pub(super) fn response(body: &Bytes) -> Option<Bytes> {
    let members = scan_object(body).ok()?;
    let (_, place) = members.into_iter().find(|(name, _)| name == "response")?;
    let value = body.slice(place);
    (value.as_ref() != b"null").then_some(value)
}

/// Whether an answer becomes a reply. `requested` replies only to messages that ask for one: with
/// `coordination`, a `workflow_id`, or the header `x-amtp-reply-requested` set to `true`.
#[must_use]
pub fn may_reply(replies: Replies, stored: &StoredMessage, message: &Message) -> bool {
    let answerable = !message.is_bounce()
        && !message.is_automatic()
        && matches!(stored.trust, Trust::Local | Trust::Trusted);
    answerable
        && match replies {
            Replies::Auto => true,
            Replies::Never => false,
            Replies::Requested => {
                message.coordination().is_some()
                    || message.workflow_id().is_some()
                    || message.header("x-amtp-reply-requested") == Some("true")
            }
        }
}

/// The reply, from the address the message was delivered to, to its sender.
#[must_use]
pub fn reply_message(
    (id, key, now): (&MessageId, &IdempotencyKey, Timestamp),
    (stored, message): (&StoredMessage, &Message),
    recipient: &Address,
    payload: &Bytes,
) -> Vec<u8> {
    let mut body = Body::with_capacity(payload.len() + 1_024);
    body.string("version", "1.0");
    body.string("message_id", id.as_str());
    body.string("idempotency_key", key.as_str());
    body.string("timestamp", &now.to_string());
    body.string("sender", recipient.as_str());
    body.addresses("recipients", std::slice::from_ref(message.sender()));
    body.string("in_reply_to", stored.message_id.as_str());
    if let Some(workflow) = message.workflow_id() {
        body.string("workflow_id", workflow.as_str());
    }
    if let Some(subject) = message.subject() {
        let subject = match subject.get(..3) {
            Some(prefix) if prefix.eq_ignore_ascii_case("re:") => subject.to_owned(),
            _ => format!("Re: {subject}"),
        };
        // A subject has at most 998 bytes.
        let end = (0..=subject.len().min(998))
            .rev()
            .find(|at| subject.is_char_boundary(*at));
        body.string("subject", &subject[..end.unwrap_or(0)]);
    }
    let headers = format!(
        r#"{{"x-amtp-auto":"reply","x-amtp-hops":{}}}"#,
        message.hops() + 1
    );
    body.member("headers", &headers);
    body.member("payload", &String::from_utf8_lossy(payload));
    body.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Notes, Origin, Verification};
    use crate::protocol::{Domain, Limits, Profile};

    fn stored(trust: Trust, more: &str) -> (StoredMessage, Message) {
        let raw =
            format!(r#"{{"sender":"a@one.test","recipients":["b@two.test"],"payload":1{more}}}"#);
        let body = Bytes::from(raw);
        let message = Message::parse(body.clone(), Profile::Relay, &Limits::default()).unwrap();
        let stored = StoredMessage {
            mid: 1,
            message_id: MessageId::parse("m-1").unwrap(),
            sender: "a@one.test".to_owned(),
            trust,
            origin: Origin::Peer,
            accepted_at: Timestamp::from_millis(0),
            notes: Notes {
                verification: Verification::unsigned(&Domain::parse("one.test").unwrap()),
                minted_key: Some("k".to_owned()),
                request_id: String::new(),
                remote: None,
                answers: None,
            },
            body,
        };
        (stored, message)
    }

    #[test]
    fn a_reply_is_made_only_where_it_cannot_start_a_loop_or_reach_a_stranger() {
        let auto = r#","headers":{"x-amtp-auto":"reply"}"#;
        let bounce = r#","message_type":"delivery_failure""#;
        let asks = r#","headers":{"x-amtp-reply-requested":true}"#;
        for (replies, trust, more, may) in [
            (Replies::Auto, Trust::Local, "", true),
            (Replies::Auto, Trust::Trusted, "", true),
            (Replies::Auto, Trust::Unverified, "", false),
            (Replies::Auto, Trust::Local, auto, false),
            (Replies::Auto, Trust::Local, bounce, false),
            (Replies::Never, Trust::Local, "", false),
            (Replies::Requested, Trust::Local, "", false),
            (Replies::Requested, Trust::Local, asks, true),
            (
                Replies::Requested,
                Trust::Local,
                r#","workflow_id":"w""#,
                true,
            ),
        ] {
            let (stored, message) = stored(trust, more);
            assert_eq!(may_reply(replies, &stored, &message), may, "{more}");
        }
    }

    #[test]
    fn a_reply_keeps_its_payload_to_the_digit() {
        let answer = Bytes::from_static(br#"{"response": {"total": 9007199254740993.10}, "x": 1}"#);
        let payload = response(&answer).unwrap();
        assert_eq!(response(&Bytes::from_static(br#"{"response":null}"#)), None);
        assert_eq!(response(&Bytes::from_static(b"<html>")), None);
        let (stored, message) = stored(
            Trust::Local,
            r#","subject":"Order","headers":{"x-amtp-hops":4}"#,
        );
        let (id, key) = (
            MessageId::parse("r-1").unwrap(),
            IdempotencyKey::parse("k-1").unwrap(),
        );
        let raw = reply_message(
            (&id, &key, Timestamp::from_millis(0)),
            (&stored, &message),
            &message.recipients()[0],
            &payload,
        );
        let reply = Message::parse(raw.into(), Profile::Relay, &Limits::default()).unwrap();
        assert_eq!(reply.payload(), r#"{"total": 9007199254740993.10}"#);
        assert_eq!(reply.subject(), Some("Re: Order"));
        assert_eq!(reply.hops(), 5);
        assert!(reply.is_automatic());
        assert_eq!(reply.in_reply_to().unwrap().as_str(), "m-1");
        assert_eq!(reply.sender().as_str(), "b@two.test");
        assert_eq!(reply.recipients()[0].as_str(), "a@one.test");
    }
}
