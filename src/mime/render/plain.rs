//! The page as plain text.

use std::fmt::Write as _;

use super::Page;
use super::field::{clean, short};
use crate::protocol::Attachment;

/// The most files that are named.
pub(super) const FILES: usize = 50;

/// The text part.
pub(super) fn text(page: &Page<'_>) -> String {
    let mut text = String::new();
    let sender = page.letter.message.sender();
    line(&mut text, &page.heading());
    line(&mut text, &format!("From {} <{sender}>", page.name));
    line(&mut text, &answer(page));
    if let Some(lead) = &page.view.lead {
        line(&mut text, "");
        line(&mut text, lead);
    }
    if !page.view.rows.is_empty() {
        line(&mut text, "");
    }
    for row in &page.view.rows {
        let indent = "  ".repeat(row.depth);
        let value = row.value.as_deref().unwrap_or_default();
        let value = value.replace('\n', &format!("\n{indent}  "));
        let begin = format!("{indent}{}: {value}", row.label);
        line(&mut text, begin.trim_end());
    }
    for note in notes(page) {
        line(&mut text, "");
        line(&mut text, &note);
    }
    files(page, &mut text);
    line(&mut text, "");
    line(&mut text, "-- ");
    line(
        &mut text,
        &format!("{} over AMTP, the mail of software agents", sent(page)),
    );
    line(&mut text, &format!("Message {}", page.letter.message_id));
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Who gets the answer.
pub(super) fn answer(page: &Page<'_>) -> String {
    let to = page.letter.reply_to;
    format!(
        "To answer {}, reply to this mail: it goes to {to}.",
        page.name
    )
}

/// When the message was made, to the minute.
pub(super) fn sent(page: &Page<'_>) -> String {
    let moment = page.letter.date.to_string();
    let day = moment.get(..10).unwrap_or_default();
    let minute = moment.get(11..16).unwrap_or_default();
    format!("Sent {day} {minute} UTC")
}

/// What the reader must know of what is not seen.
pub(super) fn notes(page: &Page<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if page.view.lead.is_none() && page.view.rows.is_empty() {
        notes.push("The message has no content.".to_owned());
    }
    if page.view.is_cut {
        let note =
            "The message is longer than what is shown here. All of it is in message.amtp.json.";
        notes.push(note.to_owned());
    }
    let more = page
        .letter
        .message
        .attachments()
        .len()
        .saturating_sub(FILES);
    if more > 0 {
        notes.push(format!("{more} more files are named in message.amtp.json."));
    }
    notes
}

fn files(page: &Page<'_>, text: &mut String) {
    let files = page.letter.message.attachments();
    if !files.is_empty() {
        line(text, "");
        line(text, "Files:");
    }
    for file in files.iter().take(FILES) {
        let mut entry = format!("  {} ({})", file_name(file), size(file.size));
        if let Some(url) = super::link::target(&file.url) {
            write!(entry, "\n    {url}").expect("a string takes any text");
        }
        line(text, &entry);
    }
}

pub(super) fn file_name(file: &Attachment) -> String {
    short(&clean(&file.filename), 100)
}

/// A size as people say it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} bytes");
    }
    let (mut tenths, mut unit) = (bytes / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}
