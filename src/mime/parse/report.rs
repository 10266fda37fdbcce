//! Reports about mails: of deliveries (RFC 3464) and complaints (RFC 5965).

use super::super::mail::{Action, Complaint, DeliveryReport, ReportedRecipient};
use super::super::mapping::read_address;
use super::collect::Piece;
use super::fields::{self, Fields, split};
use crate::protocol::Address;

/// The most recipients of a report that are kept.
const RECIPIENTS: usize = 1_000;
/// The most header fields of the original mail that are kept.
const ORIGINAL_FIELDS: usize = 200;
/// The longest value of such a field, in characters, and the longest text of a server.
const TEXT: usize = 1_000;

/// What the pieces of a `multipart/report` say.
pub(super) fn read(pieces: &[Piece]) -> (Option<DeliveryReport>, Option<Complaint>) {
    let find = |kinds: &[&str]| pieces.iter().find(|it| kinds.contains(&it.kind.as_str()));
    let original = find(&[
        "message/rfc822",
        "text/rfc822-headers",
        "message/rfc822-headers",
        "message/global",
        "message/global-headers",
    ]);
    let original = original
        .map(|piece| header_of(&piece.bytes))
        .unwrap_or_default();
    let status = find(&["message/delivery-status", "message/global-delivery-status"]);
    let report = status.map(|piece| delivery(&piece.bytes, &original));
    let feedback = find(&["message/feedback-report"]);
    let complaint = feedback.map(|piece| complaint(&piece.bytes, &original));
    (report, complaint)
}

/// The header that bytes begin with, however long.
fn header_of(bytes: &[u8]) -> Fields<'_> {
    split(bytes, usize::MAX).map_or_else(|_| Fields::default(), |(fields, _)| fields)
}

fn message_id(original: &Fields<'_>) -> Option<String> {
    original.all("message-id").flat_map(fields::ids).next()
}

fn delivery(status: &[u8], original: &Fields<'_>) -> DeliveryReport {
    let (about_all, mut rest) = next_group(status);
    let mut recipients = Vec::new();
    // Some mailers leave out the group that speaks of the mail.
    recipients.extend(recipient(&about_all));
    while !rest.is_empty() && recipients.len() < RECIPIENTS {
        let (group, more) = next_group(rest);
        recipients.extend(recipient(&group));
        rest = more;
    }
    let cut = |(name, value): (String, String)| (name, cut(&value));
    DeliveryReport {
        reporting_mta: about_all.text("reporting-mta").map(|it| untyped(&it)),
        envelope_id: about_all.text("original-envelope-id"),
        recipients,
        original_message_id: message_id(original),
        original_headers: original.decoded().take(ORIGINAL_FIELDS).map(cut).collect(),
    }
}

/// The next group of fields, and what follows it.
fn next_group(bytes: &[u8]) -> (Fields<'_>, &[u8]) {
    let begin = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
    let bytes = begin.map_or(&bytes[..0], |at| &bytes[at..]);
    split(bytes, usize::MAX).unwrap_or_default()
}

fn recipient(group: &Fields<'_>) -> Option<ReportedRecipient> {
    let word = group.text("action")?;
    let action = match word.to_ascii_lowercase().as_str() {
        "failed" => Action::Failed,
        "delayed" => Action::Delayed,
        "delivered" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ => return None,
    };
    let address = |name| group.text(name).and_then(|text| typed_address(&text));
    let status = group.text("status").unwrap_or_default();
    let status = status
        .split([' ', '('])
        .next()
        .unwrap_or_default()
        .to_owned();
    Some(ReportedRecipient {
        recipient: address("final-recipient"),
        original: address("original-recipient"),
        action,
        status: Some(status).filter(|status| is_status(status)),
        diagnostic: group.text("diagnostic-code").map(|it| cut(&untyped(&it))),
    })
}

/// The address of `rfc822; user@example.org`.
fn typed_address(text: &str) -> Option<Address> {
    read_address(&untyped(text)).ok()
}

fn untyped(text: &str) -> String {
    let value = text.split_once(';').map_or(text, |(_, value)| value);
    value.trim().to_owned()
}

fn is_status(text: &str) -> bool {
    let numbers: Vec<&str> = text.split('.').collect();
    let is_number =
        |it: &&str| (1..=3).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_digit());
    numbers.len() == 3 && numbers.iter().all(is_number)
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

fn complaint(feedback: &[u8], original: &Fields<'_>) -> Complaint {
    let (fields, _) = next_group(feedback);
    let named = fields.all("original-rcpt-to").map(fields::unstructured);
    Complaint {
        kind: fields
            .text("feedback-type")
            .unwrap_or_default()
            .to_ascii_lowercase(),
        recipients: named
            .filter_map(|it| read_address(&it).ok())
            .take(RECIPIENTS)
            .collect(),
        original_message_id: message_id(original),
    }
}
