//! A message as a mail: for people a text and a page, for programs the message itself.
//!
//! `multipart/mixed` of `multipart/alternative` (text, HTML) and `message.amtp.json`. Everything that
//! comes from the message is cleaned before it stands in a header field (no control characters, so
//! nothing can begin a field of its own) and escaped before it stands in HTML. The mail is 7-bit, its
//! lines are shorter than 998 bytes, it loads nothing from anywhere. What people read is bounded
//! ([`view`]); the JSON is whole.

mod field;
mod link;
mod page;
mod plain;
mod view;

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentDisposition, ContentTransferEncoding, ContentType};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart};
use ring::digest::{Context, SHA256};

use super::letter::{Face, Letter, RenderFault, Rendered};
use super::mail::AmtpPart;
use super::mapping::write_message_id;
use crate::protocol::{Address, Timestamp};
use field::{clean, id_list, raw, short};
use view::View;

/// The mark that a subject begins with.
const MARK: &str = "[AMTP]";
/// The longest name of a sender, in characters.
const NAME: usize = 60;
/// The local part of the bridge's own address.
const BRIDGE: &str = "amtp-bridge";

/// Makes the mail that carries a message.
///
/// # Errors
/// An address cannot stand in a mail.
pub fn render(letter: &Letter<'_>) -> Result<Rendered, RenderFault> {
    let page = Page::of(letter);
    let message_id = write_message_id(letter.message_id, letter.from_domain);
    let subject = subject(letter, &page.name);
    let builder = header(letter, &page.name)?
        .raw_header(raw("Subject", &subject))
        .raw_header(raw("Message-ID", &format!("<{message_id}>")));
    let mail = builder
        .multipart(parts(letter, &page))
        .map_err(|fault| RenderFault::Build(fault.to_string()))?;
    Ok(Rendered {
        bytes: mail.formatted(),
        subject,
        message_id,
    })
}

/// What a person reads.
struct Page<'a> {
    letter: &'a Letter<'a>,
    /// The name of the sender.
    name: String,
    /// The subject, without a mark; nothing where there is none.
    title: Option<String>,
    view: View,
}

impl<'a> Page<'a> {
    fn of(letter: &'a Letter<'a>) -> Self {
        let name = letter.sender_name.map(|name| short(&clean(name), NAME));
        let name = name.filter(|name| !name.is_empty());
        let title = letter.message.subject().map(clean);
        Self {
            letter,
            name: name.unwrap_or_else(|| letter.message.sender().local().to_owned()),
            title: title.filter(|title| !title.is_empty()),
            view: View::of(letter.message),
        }
    }

    /// The title, also where the message has no subject.
    fn heading(&self) -> String {
        let title = self.title.clone();
        title.unwrap_or_else(|| format!("Message from {}", self.name))
    }
}

/// The subject with its mark, which an answer may have already.
fn subject(letter: &Letter<'_>, name: &str) -> String {
    match letter.message.subject().map(clean) {
        Some(text) if text.contains(MARK) => text,
        Some(text) if !text.is_empty() => format!("{MARK} {text}"),
        _ => format!("{MARK} Message from {name}"),
    }
}

fn header(letter: &Letter<'_>, name: &str) -> Result<MessageBuilder, RenderFault> {
    let message = letter.message;
    let bridge = Address::parse(&format!("{BRIDGE}@{}", letter.from_domain))
        .map_err(|fault| RenderFault::Build(fault.to_string()))?;
    let from = match letter.face {
        Face::Bridge => mailbox(&bridge, Some(format!("{name} via AMTP")))?,
        Face::Agent => mailbox(message.sender(), Some(name.to_owned()))?,
    };
    let mut builder = lettre::Message::builder()
        .from(from)
        .to(mailbox(letter.recipient, None)?)
        .reply_to(mailbox(letter.reply_to, Some(name.to_owned()))?)
        .date(moment(letter.date));
    let threads = [
        ("In-Reply-To", id_list(letter.in_reply_to.into_iter())),
        (
            "References",
            id_list(letter.references.iter().map(String::as_str)),
        ),
    ];
    for (field, ids) in threads {
        if let Some(ids) = ids {
            builder = builder.raw_header(raw(field, &ids));
        }
    }
    let schema = message.schema().map_or("", |schema| schema.as_str());
    let hops = message.hops().saturating_add(1).to_string();
    for (field, value) in [
        ("X-AMTP-Version", "1.0"),
        ("X-AMTP-Message-ID", letter.message_id.as_str()),
        ("X-AMTP-Sender", message.sender().as_str()),
        ("X-AMTP-Schema", schema),
        ("X-AMTP-Hops", &hops),
        ("X-AMTP-Via", letter.from_domain.as_str()),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "OOF, AutoReply"),
    ] {
        if !value.is_empty() {
            builder = builder.raw_header(raw(field, &clean(value)));
        }
    }
    Ok(builder)
}

fn mailbox(address: &Address, name: Option<String>) -> Result<Mailbox, RenderFault> {
    let known = lettre::Address::new(address.local(), address.domain().as_str());
    let known = known.map_err(|_| RenderFault::Address(address.clone()))?;
    Ok(Mailbox::new(name, known))
}

/// A moment that a `Date` field can say.
fn moment(date: Timestamp) -> SystemTime {
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(date.as_millis() / 1_000).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))
}

fn parts(letter: &Letter<'_>, page: &Page<'_>) -> MultiPart {
    let boundary = boundary(letter);
    let readable = |kind: ContentType, text: String| {
        let part = SinglePart::builder().header(kind);
        // Quoted-printable keeps lines short and blanks at their ends, whatever the text.
        let part = part.header(ContentTransferEncoding::QuotedPrintable);
        part.body(text.replace('\n', "\r\n"))
    };
    let alternative = MultiPart::alternative()
        .boundary(format!("text-{boundary}"))
        .singlepart(readable(ContentType::TEXT_PLAIN, plain::text(page)))
        .singlepart(readable(ContentType::TEXT_HTML, page::html(page)));
    let json = ContentType::parse("application/json").expect("a media type");
    // Base64 keeps every byte, so that a signature over the message still holds.
    let whole = SinglePart::builder()
        .header(json)
        .header(ContentDisposition::attachment(AmtpPart::FILE_NAME))
        .header(ContentTransferEncoding::Base64)
        .body(letter.body.to_vec());
    MultiPart::mixed()
        .boundary(format!("mixed-{boundary}"))
        .multipart(alternative)
        .singlepart(whole)
}

/// A line that cannot stand in the parts: it is made of their hash.
fn boundary(letter: &Letter<'_>) -> String {
    let mut hash = Context::new(&SHA256);
    for piece in [letter.message_id.as_str(), letter.recipient.as_str()] {
        hash.update(piece.as_bytes());
        hash.update(b"\0");
    }
    hash.update(letter.body);
    let hash = hash.finish();
    let hex = hash.as_ref().iter().take(16);
    hex.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
