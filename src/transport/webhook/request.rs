//! The request to a webhook: body, headers, signature.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use ring::hmac;

use crate::protocol::wire::Body;
use crate::protocol::{Address, Message, Timestamp};
use crate::store::{Agent, Sealer};
use crate::transport::Parcel;

/// What the headers of a webhook are sealed for.
pub const HEADERS_PURPOSE: &str = "webhook-headers";

/// Members that are shown as they were received, and as `null` where they are absent.
const MEMBERS: [&str; 9] = [
    "subject",
    "schema",
    "headers",
    "payload",
    "attachments",
    "in_reply_to",
    "workflow_id",
    "response_type",
    "message_type",
];

/// The body: the message as its sender wrote it, with what we know of it.
pub(super) fn body(parcel: &Parcel, recipient: &Address) -> Vec<u8> {
    let (stored, message) = (&parcel.stored, &parcel.message);
    let mut body = Body::with_capacity(stored.body.len() + 512);
    body.string("message_id", stored.message_id.as_str());
    if let Ok(key) = stored.idempotency_key(message) {
        body.string("idempotency_key", key.as_str());
    }
    body.string("sender", message.sender().as_str());
    body.string("recipient", recipient.as_str());
    body.member("recipients", message.member("recipients").unwrap_or("[]"));
    let timestamp = message.timestamp().unwrap_or(stored.accepted_at);
    body.string("timestamp", &timestamp.to_string());
    for name in MEMBERS {
        match own(parcel, name) {
            Some(id) => body.string(name, id),
            None => body.member(name, present(message, name).unwrap_or("null")),
        }
    }
    if let Some(coordination) = message.coordination() {
        body.member("coordination", coordination);
        let required = message.plan().is_some_and(|plan| plan.requires(recipient));
        body.member("requires_response", if required { "true" } else { "false" });
    }
    let verification = serde_json::to_string(&stored.notes.verification)
        .expect("a verification is strings under string names");
    body.member("sender_verification", &verification);
    body.finish()
}

/// The own id of the message this one answers, where it names another it travelled under.
fn own<'p>(parcel: &'p Parcel, name: &str) -> Option<&'p str> {
    parcel
        .stored
        .notes
        .answers
        .as_deref()
        .filter(|_| name == "in_reply_to")
}

fn present<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    message.member(name).filter(|value| *value != "\"\"")
}

/// The whole request.
pub(super) fn build(
    agent: &Agent,
    sealer: &Sealer,
    (parcel, body): (&Parcel, Vec<u8>),
    now: Timestamp,
) -> Result<Request<Full<Bytes>>, String> {
    let target = agent
        .settings
        .push_target
        .as_deref()
        .ok_or("the agent has no webhook")?;
    let id = parcel.stored.message_id.as_str();
    let seconds = now.as_millis().div_euclid(1_000).to_string();
    let secret = sealer.webhook_secret(agent.id, agent.settings.secret_generation);
    let mut request = Request::post(target)
        .header("content-type", "application/json")
        .header(
            "user-agent",
            concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), ")"),
        )
        .header("x-amtp-local-delivery", "true")
        .header("webhook-id", id)
        .header("webhook-timestamp", &seconds)
        .header(
            "webhook-signature",
            signature(&secret, (id, &seconds), &body),
        );
    if let Some(sealed) = &agent.sealed_headers {
        let opened = sealer
            .open(HEADERS_PURPOSE, sealed)
            .map_err(|fault| format!("the agent's headers: {fault}"))?;
        let headers: BTreeMap<String, String> = serde_json::from_slice(&opened)
            .map_err(|_| "the agent's headers cannot be read".to_owned())?;
        for (name, value) in headers {
            request = request.header(name, value);
        }
    }
    request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| format!("the webhook cannot be called: {error}"))
}

/// `v1,` and the HMAC-SHA256 over `id.timestamp.body`.
fn signature(secret: &[u8], (id, seconds): (&str, &str), body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{id}.{seconds}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of the specification of Standard Webhooks.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            signature(
                &secret,
                ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"),
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
