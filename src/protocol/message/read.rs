//! Reads the known members of a scanned message and collects every fault. AMTP 1.0, section 4.2.

use std::collections::HashSet;
use std::ops::Range;

use super::super::coordination::Coordination;
use super::super::json::{Entry, items, string_of, unescape};
use super::super::{Address, ErrorCode, IdempotencyKey, MessageId, SchemaId, Timestamp};
use super::attachment::{self, Attachment};
use super::headers::{self, Headers};
use super::{Faults, Limits, MessageFault, Profile, SUPPORTED_VERSIONS, is_absent};

/// The longest subject, in bytes: the longest line of a mail.
const LONGEST_SUBJECT: usize = 998;

/// How often each allowed recipient may be written, on average, before we stop reading.
const MOST_REPEATS: usize = 10;

/// What the known members say. Members that are kept as raw text are places in the message.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) message_id: Option<MessageId>,
    pub(super) idempotency_key: Option<IdempotencyKey>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) sender: Address,
    pub(super) recipients: Box<[Address]>,
    pub(super) subject: Option<Box<str>>,
    pub(super) schema: Option<SchemaId>,
    pub(super) payload: Option<Range<usize>>,
    pub(super) headers: Headers,
    pub(super) in_reply_to: Option<MessageId>,
    pub(super) workflow_id: Option<MessageId>,
    pub(super) response_type: Option<Box<str>>,
    pub(super) coordination: Option<Range<usize>>,
    /// What the coordination says; only read in a submission.
    pub(super) plan: Option<Coordination>,
    pub(super) attachments: Box<[Attachment]>,
    pub(super) signature: Option<Range<usize>>,
}

/// Reads the members of a message; its sender was read already, where it can be.
pub(super) fn fields(
    (text, entries): (&str, &[Entry]),
    sender: Option<Address>,
    profile: Profile,
    limits: &Limits,
) -> Result<Fields, MessageFault> {
    let mut reader = Reader {
        profile,
        limits,
        sender,
        faults: Faults::default(),
        recipient_faults: Faults::default(),
        draft: Draft::default(),
    };
    for entry in entries {
        let name = unescape(entry.name.of(text));
        let value = entry.value.of(text);
        reader.member(&name, value, entry.value.range());
    }
    reader.plan(text);
    reader.finish()
}

/// The sender, where it can be read.
pub(super) fn sender(text: &str, entries: &[Entry]) -> Option<Address> {
    let entry = entries
        .iter()
        .find(|entry| unescape(entry.name.of(text)) == "sender")?;
    string_of(entry.value.of(text)).and_then(|sender| Address::parse(&sender).ok())
}

struct Reader<'a> {
    profile: Profile,
    limits: &'a Limits,
    sender: Option<Address>,
    faults: Faults,
    /// Faults of single recipients: they have a code of their own if nothing else is wrong.
    recipient_faults: Faults,
    draft: Draft,
}

#[derive(Default)]
struct Draft {
    unsupported_version: bool,
    message_id: Option<MessageId>,
    idempotency_key: Option<IdempotencyKey>,
    timestamp: Option<Timestamp>,
    sender: Member<Address>,
    recipients: Member<Vec<Address>>,
    subject: Option<Box<str>>,
    schema: Option<SchemaId>,
    payload: Option<Range<usize>>,
    headers: Headers,
    in_reply_to: Option<MessageId>,
    workflow_id: Option<MessageId>,
    response_type: Option<Box<str>>,
    coordination: Option<Range<usize>>,
    plan: Option<Coordination>,
    attachments: Box<[Attachment]>,
    signature: Option<Range<usize>>,
}

/// A required member: missing, at fault (and noted as such), or there.
#[derive(Default)]
enum Member<T> {
    #[default]
    Missing,
    Faulty,
    Is(T),
}

impl<T> From<Option<T>> for Member<T> {
    fn from(read: Option<T>) -> Self {
        read.map_or(Self::Faulty, Self::Is)
    }
}

impl Reader<'_> {
    fn member(&mut self, name: &str, value: &str, place: Range<usize>) {
        if name == "payload" {
            self.draft.payload = Some(place);
            return;
        }
        if is_absent(value) {
            return;
        }
        let (draft, faults) = (&mut self.draft, &mut self.faults);
        match name {
            "version" => self.version(value),
            "message_id" => draft.message_id = faults.parsed(name, value, MessageId::parse),
            "idempotency_key" => {
                draft.idempotency_key = faults.parsed(name, value, IdempotencyKey::parse);
            }
            "timestamp" => {
                let read = faults.parsed(name, value, Timestamp::parse_rfc3339);
                draft.timestamp = read.filter(|moment| !moment.is_year_one());
            }
            "sender" => {
                let read = self.sender.take();
                let read = read.or_else(|| faults.parsed(name, value, Address::parse));
                draft.sender = read.into();
            }
            "recipients" => {
                let recipients = self.recipients(value);
                self.draft.recipients = recipients.into();
            }
            "subject" => draft.subject = faults.parsed(name, value, check_subject),
            "schema" => draft.schema = faults.parsed(name, value, SchemaId::parse),
            "headers" => draft.headers = headers::read(value, place, self.profile, faults),
            "in_reply_to" => draft.in_reply_to = faults.parsed(name, value, MessageId::parse),
            "workflow_id" => draft.workflow_id = faults.parsed(name, value, MessageId::parse),
            "response_type" => {
                draft.response_type = faults.string(name, value).map(Into::into);
            }
            "coordination" => draft.coordination = Some(place),
            "attachments" => draft.attachments = attachment::read(value, self.profile, faults),
            "signature" if self.profile == Profile::Submission => {
                faults.add(name, "must not be set: the gateway signs");
            }
            "signature" => draft.signature = Some(place),
            _ => {}
        }
    }

    fn version(&mut self, value: &str) {
        if let Some(version) = self.faults.string("version", value) {
            let supported = SUPPORTED_VERSIONS.contains(&version.as_ref());
            self.draft.unsupported_version = !supported;
        }
    }

    /// The distinct recipients in order; `None` if there are too few or too many.
    fn recipients(&mut self, value: &str) -> Option<Vec<Address>> {
        let Some(items) = items(value) else {
            self.faults
                .add("recipients", "must be an array of addresses");
            return None;
        };
        let most = self.limits.recipients;
        let mut seen = HashSet::new();
        let mut distinct = Vec::new();
        let mut written = 0;
        for item in items {
            written += 1;
            if let Some(address) = self.recipient(item, written - 1)
                && is_new(&address, &distinct, &mut seen)
            {
                distinct.push(address);
            }
            if distinct.len() > most || written > most.saturating_mul(MOST_REPEATS) {
                let rule = format_args!("must name no more than {most} addresses");
                self.faults.add("recipients", rule);
                return None;
            }
            if self.recipient_faults.is_full() {
                return None;
            }
        }
        if written == 0 {
            self.faults
                .add("recipients", "must name at least one address");
        }
        (!distinct.is_empty()).then_some(distinct)
    }

    fn recipient(&mut self, value: &str, index: usize) -> Option<Address> {
        let field = format_args!("recipients[{index}]");
        self.recipient_faults.parsed(field, value, Address::parse)
    }

    /// Checks the coordination of a local sender. That is only possible when the recipients are known.
    fn plan(&mut self, text: &str) {
        let (Some(place), Member::Is(recipients), Profile::Submission) = (
            &self.draft.coordination,
            &self.draft.recipients,
            self.profile,
        ) else {
            return;
        };
        match Coordination::parse(&text[place.clone()], recipients, self.limits) {
            Ok(plan) => self.draft.plan = Some(plan),
            Err(violations) => self.faults.append(violations),
        }
    }

    fn finish(mut self) -> Result<Fields, MessageFault> {
        if self.draft.unsupported_version {
            let rule = format_args!("must be one of {}", SUPPORTED_VERSIONS.join(", "));
            let code = ErrorCode::UnsupportedVersion;
            return Err(MessageFault::new(code, "version", rule));
        }
        if self.profile == Profile::Submission && self.draft.payload.is_none() {
            self.faults.add("payload", "is required");
        }
        if matches!(self.draft.sender, Member::Missing) {
            self.faults.add("sender", "is required");
        }
        if matches!(self.draft.recipients, Member::Missing) {
            self.faults.add("recipients", "is required");
        }
        let code = if self.faults.is_empty() {
            ErrorCode::InvalidRecipient
        } else {
            ErrorCode::InvalidMessageFormat
        };
        let mut violations = self.faults.into_violations();
        violations.extend(self.recipient_faults.into_violations());
        match self.draft.complete() {
            Some(fields) if violations.is_empty() => Ok(fields),
            _ => Err(MessageFault { code, violations }),
        }
    }
}

impl Draft {
    /// The fields, if no required one is missing or at fault.
    fn complete(self) -> Option<Fields> {
        let (Member::Is(sender), Member::Is(recipients)) = (self.sender, self.recipients) else {
            return None;
        };
        Some(Fields {
            message_id: self.message_id,
            idempotency_key: self.idempotency_key,
            timestamp: self.timestamp,
            sender,
            recipients: recipients.into(),
            subject: self.subject,
            schema: self.schema,
            payload: self.payload,
            headers: self.headers,
            in_reply_to: self.in_reply_to,
            workflow_id: self.workflow_id,
            response_type: self.response_type,
            coordination: self.coordination,
            plan: self.plan,
            attachments: self.attachments,
            signature: self.signature,
        })
    }
}

/// Whether `address` is not among `distinct` yet. A few are compared one by one; then `seen` takes over.
fn is_new(address: &Address, distinct: &[Address], seen: &mut HashSet<Address>) -> bool {
    const FEW: usize = 8;
    if distinct.len() < FEW {
        return !distinct.contains(address);
    }
    if seen.is_empty() {
        seen.extend(distinct.iter().cloned());
    }
    seen.insert(address.clone())
}

fn check_subject(text: &str) -> Result<Box<str>, &'static str> {
    if text.len() > LONGEST_SUBJECT {
        Err("must have no more than 998 bytes")
    } else if text.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else {
        Ok(text.into())
    }
}
