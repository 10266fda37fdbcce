//! Reading a mail: its header, its parts, what they mean.
//!
//! Nothing but the limits refuses a mail. What cannot be understood is kept as it stands: a file of an
//! unknown transfer encoding as the encoded bytes, text of an unknown charset as UTF-8 or else as
//! Windows-1252, a multipart without its boundary as text. A nested mail is kept whole and not looked
//! into. Reading takes time in proportion to the mail's size times the depth of its parts, and a few times
//! its memory: read a large mail where nothing waits.

mod auto;
mod body;
mod collect;
mod fields;
mod quoted;
mod report;
mod tree;

use super::mail::{AmtpPart, Mail, MailFault, MailLimits, Mailbox, Part};
use crate::protocol::{Domain, Timestamp};
use collect::Collected;
use fields::Fields;

/// The most mailboxes of an address field that are kept.
const MAILBOXES: usize = 1_000;
/// The most ids of `References` that are kept.
const REFERENCES: usize = 100;
/// The most bridges that are kept.
const BRIDGES: usize = 100;

/// Reads a mail.
///
/// # Errors
/// It goes over one of the limits, or there is no header field in it.
pub fn parse(raw: &[u8], limits: &MailLimits) -> Result<Mail, MailFault> {
    if raw.len() > limits.size {
        return Err(MailFault::Size(limits.size));
    }
    let (fields, body) = fields::split(raw, limits.header)?;
    if fields.is_empty() {
        return Err(MailFault::NoHeader);
    }
    let mut mail = header_of(&fields);
    let collected = tree::walk(&fields, body, limits)?;
    mail.auto = auto::of(&fields, &collected, mail.from.as_ref());
    finish(&mut mail, &fields, collected);
    Ok(mail)
}

/// What the header says.
fn header_of(fields: &Fields<'_>) -> Mail {
    let mailboxes = |name| -> Vec<Mailbox> {
        let all = fields.all(name).flat_map(fields::mailboxes);
        all.take(MAILBOXES).collect()
    };
    let from = mailboxes("from");
    let mut references: Vec<String> = fields.all("references").flat_map(fields::ids).collect();
    let surplus = references.len().saturating_sub(REFERENCES);
    references.drain(..surplus);
    Mail {
        from_count: from.len(),
        from: from.into_iter().next(),
        sender: mailboxes("sender").into_iter().next(),
        reply_to: mailboxes("reply-to"),
        to: mailboxes("to"),
        cc: mailboxes("cc"),
        subject: fields.text("subject").filter(|text| !text.is_empty()),
        date: fields.all("date").find_map(fields::date),
        message_id: fields.all("message-id").flat_map(fields::ids).next(),
        in_reply_to: fields
            .all("in-reply-to")
            .flat_map(fields::ids)
            .take(REFERENCES)
            .collect(),
        references,
        received_count: fields.all("received").count(),
        amtp_hops: fields
            .text("x-amtp-hops")
            .and_then(|hops| hops.parse().ok())
            .unwrap_or(0),
        bridges: bridges(fields),
        ..Mail::default()
    }
}

fn bridges(fields: &Fields<'_>) -> Vec<Domain> {
    let values = fields.all("x-amtp-via").map(fields::unstructured);
    let domains = values.filter_map(|value| Domain::parse(&value).ok());
    domains.take(BRIDGES).collect()
}

/// Adds what the parts say.
fn finish(mail: &mut Mail, fields: &Fields<'_>, collected: Collected<'_>) {
    let (text, quoted) = quoted::cut(collected.text, collected.text_is_of_html);
    mail.text = text;
    mail.quoted = quoted;
    mail.html = collected.html;
    (mail.report, mail.complaint) = report::read(&collected.report);
    mail.amtp = amtp_part(fields, &collected.parts);
    mail.attachments = collected.parts;
}

fn amtp_part(fields: &Fields<'_>, parts: &[Part]) -> Option<AmtpPart> {
    let is_it = |part: &&Part| part.name.eq_ignore_ascii_case(AmtpPart::FILE_NAME);
    let part = parts.iter().find(is_it)?;
    Some(AmtpPart {
        json: part.bytes.clone(),
        message_id: fields.text("x-amtp-message-id"),
        sender: fields.text("x-amtp-sender"),
        schema: fields.text("x-amtp-schema"),
    })
}

/// A moment of a date field.
fn moment(date: &mail_parser::DateTime) -> Option<Timestamp> {
    // A leap second is the first moment of the next minute.
    let mut date = *date;
    let leap = u8::from(date.second == 60);
    date.second -= leap;
    if !date.is_valid() {
        return None;
    }
    let seconds = date.to_timestamp() + i64::from(leap);
    Some(Timestamp::from_millis(seconds.saturating_mul(1_000)))
}

#[cfg(test)]
mod tests;
