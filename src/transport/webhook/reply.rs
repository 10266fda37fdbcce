//! Whether what a webhook answers becomes a reply message, and which.
//!
//! The answer must hold a member `response` that is not `null`. A notice or an automatic message is
//! never answered, so that two webhooks cannot answer each other for ever; a sender that cannot be
//! believed is not answered either, because the reply would reach whoever was named. What an A2A client
//! asks comes from an address of the gateway's own, so its task is always answered.

use bytes::Bytes;

use crate::envelope::{Origin, Trust};
use crate::protocol::json::scan_object;
use crate::protocol::wire::Body;
use crate::protocol::{Address, IdempotencyKey, Message, MessageId, Timestamp};
use crate::store::{Replies, StoredMessage};

/// The longest subject, in bytes.
const LONGEST_SUBJECT: usize = 998;

/// The raw JSON of the member `response` of a webhook's answer.
pub(super) fn response(body: &Bytes) -> Option<Bytes> {
    let members = scan_object(body).ok()?;
    let (_, place) = members.into_iter().find(|(name, _)| name == "response")?;
    let value = body.slice(place);
    (value.as_ref() != b"null").then_some(value)
}

/// Whether a webhook's answer becomes a reply, by the agent's setting.
#[must_use]
pub fn may_reply(replies: Replies, stored: &StoredMessage, message: &Message) -> bool {
    let is_answerable = !message.is_bounce()
        && !message.is_automatic()
        && (matches!(stored.trust, Trust::Local | Trust::Trusted) || stored.origin == Origin::A2a);
    is_answerable
        && match replies {
            Replies::Auto => true,
            Replies::Requested => asks_for_reply(message),
            Replies::Never => false,
        }
}

/// Whether the sender asks for a reply: by `coordination`, by a `workflow_id` on what is no answer
/// itself, or by the header `x-amtp-reply-requested` with the value `true`.
fn asks_for_reply(message: &Message) -> bool {
    let is_answer = message.in_reply_to().is_some() || message.response_type().is_some();
    let header = message.header("x-amtp-reply-requested");
    message.coordination().is_some()
        || (message.workflow_id().is_some() && !is_answer)
        || matches!(header, Some("true" | "\"true\""))
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
        body.string("subject", &answering(subject));
    }
    let headers = format!(
        r#"{{"x-amtp-auto":"reply","x-amtp-hops":{}}}"#,
        message.hops().saturating_add(1)
    );
    body.member("headers", &headers);
    body.member("payload", &String::from_utf8_lossy(payload));
    body.finish()
}

/// `Re: ` and the subject, once and within what a subject may have.
fn answering(subject: &str) -> String {
    let is_answer = subject
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    let mut answer = if is_answer {
        subject.to_owned()
    } else {
        format!("Re: {subject}")
    };
    answer.truncate(answer.floor_char_boundary(LONGEST_SUBJECT));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Limits, Profile};

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
            notes: serde_json::from_str(
                r#"{"v":{"result":"unsigned","method":"none","domain":"one.test"},"k":"k","r":""}"#,
            )
            .unwrap(),
            body,
        };
        (stored, message)
    }

    #[test]
    fn a_reply_is_made_only_where_it_cannot_start_a_loop_or_reach_a_stranger() {
        let auto = r#","headers":{"x-amtp-auto":"reply"}"#;
        let bounce = r#","message_type":"delivery_failure""#;
        let asks = r#","headers":{"x-amtp-reply-requested":true}"#;
        let asks_not = r#","headers":{"x-amtp-reply-requested":false}"#;
        let workflow = r#","workflow_id":"w""#;
        let answers = r#","workflow_id":"w","in_reply_to":"m-0""#;
        let responds = r#","workflow_id":"w","response_type":"workflow_response""#;
        let coordinates = r#","coordination":{"type":"parallel","timeout":9}"#;
        for (replies, trust, more, may) in [
            (Replies::Auto, Trust::Local, "", true),
            (Replies::Auto, Trust::Trusted, "", true),
            (Replies::Auto, Trust::Unverified, "", false),
            (Replies::Auto, Trust::Local, auto, false),
            (Replies::Auto, Trust::Local, bounce, false),
            (Replies::Never, Trust::Local, "", false),
            (Replies::Requested, Trust::Local, "", false),
            (Replies::Requested, Trust::Local, asks, true),
            (Replies::Requested, Trust::Unverified, asks, false),
            (Replies::Requested, Trust::Local, asks_not, false),
            (Replies::Requested, Trust::Local, workflow, true),
            (Replies::Requested, Trust::Local, answers, false),
            (Replies::Requested, Trust::Local, responds, false),
            (Replies::Requested, Trust::Trusted, coordinates, true),
            (Replies::Auto, Trust::Local, responds, true),
            (Replies::Never, Trust::Local, asks, false),
        ] {
            let (stored, message) = stored(trust, more);
            let found = may_reply(replies, &stored, &message);
            assert_eq!(found, may, "{replies:?} {trust:?} {more}");
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

    #[test]
    fn a_subject_is_answered_once_and_stays_within_its_limit() {
        let long = "é".repeat(499);
        for (subject, answer) in [
            ("Order", "Re: Order".to_owned()),
            ("re: Order", "re: Order".to_owned()),
            ("RE:Order", "RE:Order".to_owned()),
            ("Rework", "Re: Rework".to_owned()),
            ("é", "Re: é".to_owned()),
            (&long, format!("Re: {}", "é".repeat(497))),
        ] {
            assert_eq!(answering(subject), answer);
        }
    }

    #[test]
    fn hops_that_a_peer_makes_up_do_no_harm() {
        let (stored, message) = stored(
            Trust::Trusted,
            r#","workflow_id":"w","headers":{"x-amtp-hops":4294967295}"#,
        );
        let (id, key) = (
            MessageId::parse("r-1").unwrap(),
            IdempotencyKey::parse("k-1").unwrap(),
        );
        let raw = reply_message(
            (&id, &key, Timestamp::from_millis(0)),
            (&stored, &message),
            &message.recipients()[0],
            &Bytes::from_static(b"null"),
        );
        let reply = Message::parse(raw.into(), Profile::Relay, &Limits::default()).unwrap();
        assert_eq!(reply.hops(), u32::MAX);
        assert_eq!(reply.workflow_id().unwrap().as_str(), "w");
        assert_eq!(reply.subject(), None);
    }
}
