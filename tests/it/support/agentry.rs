//! Today's Go gateway as others see it, with its habits that are not in the specification.
//!
//! - Its table of duplicates knows the idempotency key alone. For a day it answers a known key with
//!   the first request's status, id and recipients, failures included, and delivers nothing.
//! - It refuses what does not look like its own: ids that are no UUIDv7, keys that are no UUIDv4,
//!   schemas other than `agntcy:d.e.vN`, messages without `timestamp`.
//! - A message that could not be delivered to all its recipients is a 400 without an `error` object;
//!   those that got it keep it.
//! - Its mailboxes look messages up by id: a second message under an old id takes the place of the
//!   first, also in the mailbox of another recipient.
//! - It has no batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use uuid::Uuid;

use super::background::lock;
use super::server::Seen;

/// Such a gateway for one domain. Clones share what they hold.
#[derive(Debug, Clone)]
pub struct Agentry(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    domain: String,
    known: HashMap<String, (u16, String)>,
    inbox: Vec<Delivered>,
    faults: Vec<Fault>,
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    pub message_id: String,
    pub idempotency_key: String,
    pub sender: String,
    pub recipient: String,
    pub payload: Value,
}

/// What goes wrong with a request that is not a known duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It cannot deliver: 400 without `error`, remembered under the key.
    Undelivered,
    /// It cannot deliver to this recipient only.
    UndeliveredTo(String),
    /// 503, not remembered.
    Unavailable,
}

impl Agentry {
    /// A gateway for this domain, compared byte for byte; every local part there is an agent.
    pub fn new(domain: &str) -> Self {
        Self(Arc::new(Mutex::new(Table {
            domain: domain.to_owned(),
            known: HashMap::new(),
            inbox: Vec::new(),
            faults: Vec::new(),
        })))
    }

    /// All mailboxes, in order of arrival.
    pub fn inbox(&self) -> Vec<Delivered> {
        lock(&self.0).inbox.clone()
    }

    /// Lets the next requests fail, as many as that; duplicates do not count.
    pub fn fail_next(&self, count: usize, fault: &Fault) {
        let faults = std::iter::repeat_n(fault.clone(), count);
        lock(&self.0).faults.extend(faults);
    }

    /// Forgets its table of duplicates.
    pub fn a_day_passes(&self) {
        lock(&self.0).known.clear();
    }

    /// Status, content type and body for a request.
    pub fn answer(&self, seen: &Seen) -> (u16, &'static str, String) {
        if seen.method != "POST" || !seen.path.ends_with("/v1/messages") {
            return (404, "text/plain", "404 page not found".to_owned());
        }
        let (code, body) = lock(&self.0).take(&seen.json);
        (code, "application/json", body)
    }
}

impl Table {
    fn take(&mut self, message: &Value) -> (u16, String) {
        if let Err(why) = check(message) {
            return refusal(400, "VALIDATION_FAILED", why);
        }
        let key = text(message, "idempotency_key").to_owned();
        if let Some((code, body)) = self.known.get(&key) {
            return (*code, body.clone());
        }
        let fault = (!self.faults.is_empty()).then(|| self.faults.remove(0));
        if fault == Some(Fault::Unavailable) {
            return refusal(503, "TEMPORARY_FAILURE", "scripted");
        }
        let answer = self.deliver(message, fault.as_ref());
        self.known.insert(key, answer.clone());
        answer
    }

    fn deliver(&mut self, message: &Value, fault: Option<&Fault>) -> (u16, String) {
        let id = text(message, "message_id");
        self.inbox.retain(|old| old.message_id != id);
        let mut recipients = Vec::new();
        let mut all = true;
        for recipient in addresses(message) {
            let taken = self.takes(recipient, fault);
            all &= taken;
            recipients.push(if taken {
                json!({ "address": recipient, "status": "delivered", "attempts": 1 })
            } else {
                json!({ "address": recipient, "status": "failed", "attempts": 1,
                        "error_code": "DELIVERY_FAILED", "error_message": "scripted" })
            });
            if taken {
                self.inbox.push(Delivered {
                    message_id: id.to_owned(),
                    idempotency_key: text(message, "idempotency_key").to_owned(),
                    sender: text(message, "sender").to_owned(),
                    recipient: recipient.to_owned(),
                    payload: message["payload"].clone(),
                });
            }
        }
        let (code, status) = if all {
            (200, "delivered")
        } else {
            (400, "failed")
        };
        let body = json!({ "message_id": id, "status": status, "recipients": recipients });
        (code, body.to_string())
    }

    fn takes(&self, recipient: &str, fault: Option<&Fault>) -> bool {
        let domain = recipient.rsplit_once('@').map(|(_, domain)| domain);
        let spoiled = match fault {
            Some(Fault::UndeliveredTo(unlucky)) => unlucky == recipient,
            Some(_) => true,
            None => false,
        };
        domain == Some(self.domain.as_str()) && !spoiled
    }
}

fn check(message: &Value) -> Result<(), &'static str> {
    let reply = text(message, "in_reply_to");
    let schema = text(message, "schema");
    let timeout = &message["coordination"]["timeout"];
    let rules = [
        (
            is_uuid(text(message, "message_id"), 7),
            "message_id must be UUIDv7",
        ),
        (
            is_uuid(text(message, "idempotency_key"), 4),
            "idempotency_key must be UUIDv4",
        ),
        (
            !text(message, "timestamp").is_empty(),
            "timestamp is required",
        ),
        (text(message, "sender").contains('@'), "sender is required"),
        (
            addresses(message).next().is_some(),
            "at least one recipient is required",
        ),
        (
            reply.is_empty() || is_uuid(reply, 7),
            "in_reply_to must be UUIDv7",
        ),
        (
            schema.is_empty() || is_schema(schema),
            "schema must be agntcy:domain.entity.version",
        ),
        (
            message["coordination"].is_null() || timeout.as_f64().is_some_and(|time| time > 0.0),
            "coordination timeout must be positive",
        ),
    ];
    match rules.into_iter().find(|(kept, _)| !kept) {
        Some((_, broken)) => Err(broken),
        None => Ok(()),
    }
}

fn text<'a>(message: &'a Value, member: &str) -> &'a str {
    message[member].as_str().unwrap_or_default()
}

fn addresses(message: &Value) -> impl Iterator<Item = &str> {
    let recipients = message["recipients"].as_array();
    recipients.into_iter().flatten().filter_map(Value::as_str)
}

fn is_uuid(text: &str, version: usize) -> bool {
    text.len() == 36 && Uuid::parse_str(text).is_ok_and(|id| id.get_version_num() == version)
}

/// `agntcy:domain.entity.vN`
fn is_schema(text: &str) -> bool {
    let word = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        !part.is_empty() && part.chars().all(fits)
    };
    let parts: Vec<&str> = text
        .strip_prefix("agntcy:")
        .unwrap_or_default()
        .split('.')
        .collect();
    match parts[..] {
        [domain, entity, version] => {
            let number = version.strip_prefix('v').unwrap_or_default();
            let digits = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
            word(domain) && word(entity) && digits
        }
        _ => false,
    }
}

fn refusal(status: u16, code: &str, message: &str) -> (u16, String) {
    let error = json!({ "code": code, "message": message, "request_id": "agentry" });
    (status, json!({ "error": error }).to_string())
}
