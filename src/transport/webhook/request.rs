//! The request to a webhook: body, headers, signature.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use ring::hmac;

use crate::protocol::wire::Body;
use crate::protocol::{Address, Coordination, Limits, Message, MessageId, Timestamp};
use crate::store::{Agent, Sealer, StoredMessage, WEBHOOK_HEADERS};
use crate::transport::Parcel;

/// A request that is ready to be sent.
pub(super) type Letter = Request<Full<Bytes>>;

/// For so long after a rotation the old secret signs too.
const BOTH: Duration = Duration::from_secs(86_400);

/// Members shown as they were received; `null` where they are absent.
const KEPT: [&str; 4] = ["subject", "schema", "headers", "attachments"];

/// The whole request, or why there can be none.
pub(super) fn write(
    agent: &Agent,
    sealer: &Sealer,
    (parcel, recipient): (&Parcel, &Address),
    now: Timestamp,
) -> Result<Letter, &'static str> {
    let target = agent.settings.push_target.as_deref().unwrap_or_default();
    let target: Uri = target.parse().map_err(|_| "the webhook is no URL")?;
    let body = body(parcel, recipient);
    let id = parcel.stored.message_id.as_str();
    let seconds = now.as_millis().div_euclid(1_000).to_string();
    let signed = Signed {
        id,
        seconds: &seconds,
        body: &body,
    };
    let signature = signed.by(agent, sealer, now)?;
    let mut headers = own_headers(agent, sealer)?;
    let agent_string = concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), ")");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent_string));
    for (name, value) in [
        ("x-amtp-local-delivery", "true"),
        ("webhook-id", id),
        ("webhook-timestamp", &seconds),
        ("webhook-signature", &signature),
    ] {
        let value = HeaderValue::from_str(value).map_err(|_| "the message's id is no header")?;
        headers.insert(HeaderName::from_static(name), value);
    }
    let mut letter = Request::post(target)
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| "the webhook is no URL")?;
    *letter.headers_mut() = headers;
    Ok(letter)
}

/// The headers with which a connection to an agent is opened: those it asks for, and a signature as
/// over an empty body. `id` is that of the attempt.
///
/// # Errors
/// Why there can be none, in words for the log.
pub fn greeting(
    agent: &Agent,
    sealer: &Sealer,
    id: &str,
    now: Timestamp,
) -> Result<HeaderMap, &'static str> {
    let seconds = now.as_millis().div_euclid(1_000).to_string();
    let signed = Signed {
        id,
        seconds: &seconds,
        body: b"",
    };
    let signature = signed.by(agent, sealer, now)?;
    let mut headers = own_headers(agent, sealer)?;
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", &seconds),
        ("webhook-signature", &signature),
    ] {
        let value = HeaderValue::from_str(value).map_err(|_| "the id is no header")?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

/// The headers the agent asks for, as it gave them.
/// What the operator lets be shown to an agent.
pub(in crate::transport) fn own_headers(
    agent: &Agent,
    sealer: &Sealer,
) -> Result<HeaderMap, &'static str> {
    const LOST: &str = "the agent's headers cannot be opened with the key of `secrets.key_file`";
    let Some(sealed) = &agent.sealed_headers else {
        return Ok(HeaderMap::new());
    };
    let plain = sealer.open(WEBHOOK_HEADERS, sealed).map_err(|_| LOST)?;
    let given: BTreeMap<String, String> = serde_json::from_slice(&plain).map_err(|_| LOST)?;
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name = HeaderName::try_from(name).map_err(|_| LOST)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| LOST)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// What Standard Webhooks sign.
struct Signed<'a> {
    id: &'a str,
    seconds: &'a str,
    body: &'a [u8],
}

impl Signed<'_> {
    /// The signatures in force, apart by spaces: a receiver takes the one its secret makes.
    fn by(&self, agent: &Agent, sealer: &Sealer, now: Timestamp) -> Result<String, &'static str> {
        const LOST: &str = "the webhook's secret comes from a key that is not configured";
        let settings = &agent.settings;
        let (keys, generation) = (settings.secret_keys, settings.secret_generation);
        let signature = |key, generation| {
            let sealer = sealer.by(key)?;
            Some(self.with(&sealer.webhook_secret(agent.id, generation)))
        };
        let present = signature(keys.present, generation).ok_or(LOST)?;
        let rotated = settings.secret_rotated_at;
        let rotated = rotated.filter(|at| now.since(*at) < BOTH);
        let former = rotated.and_then(|_| signature(keys.former, generation.wrapping_sub(1)));
        Ok(match former {
            None => present,
            Some(former) => format!("{present} {former}"),
        })
    }

    /// `v1,` and the HMAC-SHA256 of `id.timestamp.body`.
    fn with(&self, secret: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
        context.update(format!("{}.{}.", self.id, self.seconds).as_bytes());
        context.update(self.body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// The body: the message as its sender wrote it, and what we know of it.
fn body(parcel: &Parcel, recipient: &Address) -> Vec<u8> {
    let (stored, message) = (&*parcel.stored, &parcel.message);
    let mut body = Body::with_capacity(stored.body.len() + 1_024);
    body.string("message_id", stored.message_id.as_str());
    match stored.idempotency_key(message) {
        Ok(key) => body.string("idempotency_key", key.as_str()),
        Err(_) => body.member("idempotency_key", "null"),
    }
    body.member("sender", shown(message, "sender"));
    body.string("recipient", recipient.as_str());
    body.member("recipients", shown(message, "recipients"));
    match message.timestamp() {
        Some(_) => body.member("timestamp", shown(message, "timestamp")),
        None => body.string("timestamp", &stored.accepted_at.to_string()),
    }
    for name in KEPT {
        body.member(name, shown(message, name));
    }
    body.member("payload", message.payload());
    relations(stored, message, recipient, &mut body);
    let verification = serde_json::to_string(&stored.notes.verification)
        .expect("a verification is strings under string names");
    body.member("sender_verification", &verification);
    body.finish()
}

/// What the message has to do with others.
fn relations(stored: &StoredMessage, message: &Message, recipient: &Address, body: &mut Body) {
    match &stored.notes.answers {
        Some(own) => body.string("in_reply_to", own),
        None => body.member("in_reply_to", shown(message, "in_reply_to")),
    }
    match workflow_of(stored, message) {
        Some(id) => body.string("workflow_id", id.as_str()),
        None => body.member("workflow_id", "null"),
    }
    body.member("response_type", shown(message, "response_type"));
    if let Some(coordination) = message.coordination() {
        body.member("coordination", coordination);
        let required = requires_response(coordination, message, recipient);
        body.member("requires_response", if required { "true" } else { "false" });
    }
    if message.is_bounce() {
        body.member("message_type", shown(message, "message_type"));
    }
}

/// The raw text of a member; `null` where it is absent.
fn shown<'m>(message: &'m Message, name: &str) -> &'m str {
    let member = message.member(name).filter(|value| *value != "\"\"");
    member.unwrap_or("null")
}

/// The workflow the message belongs to; one that begins a workflow gives it its id.
fn workflow_of<'a>(stored: &'a StoredMessage, message: &'a Message) -> Option<&'a MessageId> {
    let begun = || message.coordination().map(|_| &stored.message_id);
    message.workflow_id().or_else(begun)
}

/// Whether the workflow waits for this recipient's answer.
fn requires_response(coordination: &str, message: &Message, recipient: &Address) -> bool {
    let limits = Limits {
        message_size: usize::MAX,
        recipients: usize::MAX,
    };
    match Coordination::parse(coordination, message.recipients(), &limits) {
        Ok(Coordination::Parallel(parallel)) => parallel.required.contains(recipient),
        Ok(Coordination::Sequential(_) | Coordination::Conditional(_)) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
