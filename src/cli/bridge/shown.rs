//! A mail as JSON for programs.

use serde_json::{Map, Value, json};

use crate::mime::{Complaint, DeliveryReport, Mail, Mailbox, Part, ReportedRecipient};

/// Everything a mail says; of the files their hash instead of their content.
pub(super) fn mail(mail: &Mail) -> Value {
    let mut shown = Map::new();
    let mut add = |name: &str, value: Value| {
        let is_nothing = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !is_nothing {
            shown.insert(name.to_owned(), value);
        }
    };
    add("from", mail.from.as_ref().map_or(Value::Null, mailbox));
    if mail.from_count > 1 {
        add("from_count", json!(mail.from_count));
    }
    add("sender", mail.sender.as_ref().map_or(Value::Null, mailbox));
    for (name, list) in [
        ("reply_to", &mail.reply_to),
        ("to", &mail.to),
        ("cc", &mail.cc),
    ] {
        add(name, list.iter().map(mailbox).collect());
    }
    add("subject", json!(mail.subject));
    add("date", json!(mail.date));
    add("message_id", json!(mail.message_id));
    add("in_reply_to", json!(mail.in_reply_to));
    add("references", json!(mail.references));
    add("text", json!(mail.text));
    add("quoted", json!(mail.quoted));
    add("html", json!(mail.html));
    add("attachments", mail.attachments.iter().map(part).collect());
    if mail.received_count > 0 {
        add("received", json!(mail.received_count));
    }
    add("auto", json!(mail.auto.as_str()));
    add("report", mail.report.as_ref().map_or(Value::Null, report));
    add(
        "complaint",
        mail.complaint.as_ref().map_or(Value::Null, complaint),
    );
    add("amtp", amtp(mail));
    Value::Object(shown)
}

fn mailbox(found: &Mailbox) -> Value {
    json!({ "name": found.name, "written": found.written, "address": found.address })
}

fn part(part: &Part) -> Value {
    json!({
        "name": part.name,
        "content_type": part.content_type,
        "kind": part.kind.as_str(),
        "content_id": part.content_id,
        "size": part.bytes.len(),
        "hash": part.hash(),
    })
}

fn report(report: &DeliveryReport) -> Value {
    json!({
        "reporting_mta": report.reporting_mta,
        "envelope_id": report.envelope_id,
        "recipients": report.recipients.iter().map(reported).collect::<Vec<_>>(),
        "original_message_id": report.original_message_id,
        "original_headers": report.original_headers,
    })
}

fn reported(found: &ReportedRecipient) -> Value {
    json!({
        "recipient": found.recipient,
        "original": found.original,
        "action": found.action.as_str(),
        "status": found.status,
        "diagnostic": found.diagnostic,
    })
}

fn complaint(complaint: &Complaint) -> Value {
    json!({
        "kind": complaint.kind,
        "recipients": complaint.recipients,
        "original_message_id": complaint.original_message_id,
    })
}

/// What a bridge put into the mail.
fn amtp(mail: &Mail) -> Value {
    let Some(part) = &mail.amtp else {
        return Value::Null;
    };
    json!({
        "message_id": part.message_id,
        "sender": part.sender,
        "schema": part.schema,
        "size": part.json.len(),
        "hops": mail.amtp_hops,
        "bridges": mail.bridges,
    })
}
