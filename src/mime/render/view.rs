//! The payload as people see it: a text to read, and rows of a label and a value.
//!
//! Bounded: at most 300 rows, 30,000 characters and 8 levels. What is left out is told, and stands in
//! the JSON. Numbers keep their exact text.

use super::super::convert::EMAIL_SCHEMA;
use super::field::is_hidden;
use crate::protocol::Message;
use crate::protocol::json::{items, scan_object, string_of};

const ROWS: usize = 300;
const CHARACTERS: usize = 30_000;
const DEPTH: usize = 8;
/// The longest text of one value, in characters.
const VALUE: usize = 8_000;
/// The longest label, in characters.
const LABEL: usize = 80;
/// So many short values of a list stand on one row.
const SHORT_LIST: usize = 8;
/// What a short value is, in bytes of JSON.
const SHORT_VALUE: usize = 40;

/// Members that hold what a message says in words.
const LEADS: [&str; 3] = ["text", "message", "body"];

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// How many rows it lies below others.
    pub(super) depth: usize,
    pub(super) label: String,
    /// `None` for the heading of the rows below it.
    pub(super) value: Option<String>,
}

/// What is seen of a payload.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The text to read.
    pub(super) lead: Option<String>,
    pub(super) rows: Vec<Row>,
    /// Whether the payload says more than is seen here.
    pub(super) is_cut: bool,
    left: usize,
}

impl View {
    pub(super) fn of(message: &Message) -> Self {
        let mut view = Self {
            left: CHARACTERS,
            ..Self::default()
        };
        let payload = message.payload().trim();
        if let Some(text) = string_of(payload) {
            view.lead = view.text(&text);
        } else if payload.starts_with('{') {
            let is_mail = message
                .schema()
                .is_some_and(|it| it.as_str() == EMAIL_SCHEMA);
            view.object(payload, is_mail);
        } else if payload.starts_with('[') {
            view.list(payload, 0);
        } else if payload != "null" {
            view.lead = Some(word(payload));
        }
        view
    }

    /// A payload that is an object: its text first, the rest as rows.
    fn object(&mut self, payload: &str, is_mail: bool) {
        let members = scan_object(payload.as_bytes()).unwrap_or_default();
        let lead = LEADS.iter().find_map(|lead| {
            let member = members.iter().find(|(name, _)| name == lead)?;
            Some((*lead, string_of(&payload[member.1.clone()])?))
        });
        if let Some((_, text)) = &lead {
            self.lead = self.text(text);
        }
        let lead = lead.map(|(name, _)| name);
        for (name, place) in &members {
            // A mail's other members say what its header fields say.
            if Some(name.as_ref()) != lead && !(is_mail && lead.is_some()) {
                self.value(&label(name), &payload[place.clone()], 0);
            }
        }
    }

    fn value(&mut self, label: &str, json: &str, depth: usize) {
        if self.is_full() {
            self.is_cut = true;
            return;
        }
        let json = json.trim();
        match json.as_bytes().first() {
            Some(b'{' | b'[') if depth >= DEPTH => {
                self.is_cut = true;
                self.push(label, Some("…".to_owned()), depth);
            }
            Some(b'{') => {
                let members = scan_object(json.as_bytes()).unwrap_or_default();
                if members.is_empty() {
                    return self.push(label, Some("(empty)".to_owned()), depth);
                }
                self.push(label, None, depth);
                for (name, place) in members {
                    self.value(&self::label(&name), &json[place], depth + 1);
                }
            }
            Some(b'[') => match short_list(json) {
                Some(line) => self.push(label, Some(line), depth),
                None => {
                    self.push(label, None, depth);
                    self.list(json, depth + 1);
                }
            },
            _ => {
                let text =
                    string_of(json).map_or_else(|| Some(word(json)), |text| self.text(&text));
                self.push(
                    label,
                    Some(text.unwrap_or_else(|| "(empty)".to_owned())),
                    depth,
                );
            }
        }
    }

    fn list(&mut self, json: &str, depth: usize) {
        for (index, item) in items(json).into_iter().flatten().enumerate() {
            if self.is_full() {
                self.is_cut = true;
                return;
            }
            self.value(&(index + 1).to_string(), item, depth);
        }
    }

    const fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.left == 0
    }

    fn push(&mut self, label: &str, value: Option<String>, depth: usize) {
        self.left = self.left.saturating_sub(label.len());
        self.rows.push(Row {
            depth,
            label: label.to_owned(),
            value,
        });
    }

    /// A text that can be shown, within what is left; `None` if nothing can be seen of it.
    fn text(&mut self, text: &str) -> Option<String> {
        let most = VALUE.min(self.left);
        let shown = |c: &char| !is_hidden(*c) && (!c.is_control() || matches!(c, '\n' | '\t'));
        let mut visible = text.chars().filter(shown);
        let mut cut: String = visible.by_ref().take(most).collect();
        self.left -= cut.chars().count();
        if visible.next().is_some() {
            self.is_cut = true;
            cut.push('…');
        }
        let cut = cut.trim_end().to_owned();
        Some(cut).filter(|cut| !cut.trim().is_empty())
    }
}

/// A value that is no text, object or list.
fn word(json: &str) -> String {
    match json {
        "true" => "yes".to_owned(),
        "false" => "no".to_owned(),
        "null" => "–".to_owned(),
        // A number of a thousand digits is a number still, but nothing to look at.
        number => super::field::short(number, 60),
    }
}

/// A few short values on one line.
fn short_list(json: &str) -> Option<String> {
    let mut line = Vec::new();
    for item in items(json)? {
        let item = item.trim();
        let is_short = item.len() <= SHORT_VALUE && !item.starts_with(['{', '[']);
        if !is_short || line.len() == SHORT_LIST {
            return None;
        }
        line.push(string_of(item).map_or_else(|| word(item), |text| super::field::clean(&text)));
    }
    if line.is_empty() {
        return Some("(empty)".to_owned());
    }
    Some(line.join(", "))
}

/// A member's name as people write: `order_id` is `Order id`.
fn label(name: &str) -> String {
    let name = super::field::short(&super::field::clean(name), LABEL);
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !name.bytes().all(is_word) || name.is_empty() {
        return name;
    }
    let spaced = name.replace(['_', '-'], " ");
    let spaced = spaced.trim();
    let mut letters = spaced.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
