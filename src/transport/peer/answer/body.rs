//! The body of an answer, as far as it is understood.

use std::borrow::Cow;

use crate::protocol::Address;
use crate::protocol::json::{items, scan_object, string_of};

/// More recipients than a request can have.
const MOST_REPORTS: usize = 1_000;

/// What an answer says. A body that is no JSON object says nothing.
#[derive(Debug, Default)]
pub(super) struct Answered<'a> {
    /// The message it is about.
    pub(super) message_id: Option<Cow<'a, str>>,
    /// The recipients it lists; `None` when there is no list.
    pub(super) recipients: Option<Vec<Report<'a>>>,
    /// The AMTP error: an object with a code.
    pub(super) error: Option<Complaint<'a>>,
    /// The reply, a raw JSON object.
    pub(super) reply: Option<&'a [u8]>,
}

/// What is said about one recipient.
#[derive(Debug)]
pub(super) struct Report<'a> {
    address: Cow<'a, str>,
    /// Whether it was not taken.
    pub(super) failed: bool,
    /// Why not.
    pub(super) code: Option<Cow<'a, str>>,
}

/// An AMTP error.
#[derive(Debug)]
pub(super) struct Complaint<'a> {
    /// Any word, also one outside the closed set.
    pub(super) code: Cow<'a, str>,
    /// The sentence.
    pub(super) message: Cow<'a, str>,
    recipients: Vec<Report<'a>>,
}

impl<'a> Answered<'a> {
    /// Reads a body.
    pub(super) fn read(body: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(body) else {
            return Self::default();
        };
        let mut said = Self::default();
        for (name, value) in members(text) {
            match &*name {
                "message_id" => said.message_id = word(value),
                "recipients" => said.recipients = reports(value),
                "error" => said.error = Complaint::read(value),
                "reply" => said.reply = value.starts_with('{').then_some(value.as_bytes()),
                _ => {}
            }
        }
        said
    }
}

impl<'a> Complaint<'a> {
    fn read(value: &'a str) -> Option<Self> {
        let (mut code, mut message, mut recipients) = (None, None, None);
        for (name, value) in members(value) {
            match &*name {
                "code" => code = word(value),
                "message" => message = word(value),
                "details" => {
                    let details = members(value);
                    let list = details.into_iter().find(|(name, _)| name == "recipients");
                    recipients = list.and_then(|(_, value)| reports(value));
                }
                _ => {}
            }
        }
        Some(Self {
            code: code?,
            message: message.unwrap_or_default(),
            recipients: recipients.unwrap_or_default(),
        })
    }

    /// Whether it says something about this recipient.
    pub(super) fn names(&self, recipient: &Address) -> bool {
        Report::find(&self.recipients, recipient).is_some()
    }

    /// The code it has for this recipient alone.
    pub(super) fn code_for(&self, recipient: &Address) -> Option<&str> {
        Report::find(&self.recipients, recipient)?.code.as_deref()
    }
}

impl<'a> Report<'a> {
    /// What a list says about a recipient.
    pub(super) fn find<'r>(reports: &'r [Self], recipient: &Address) -> Option<&'r Self> {
        let names = |report: &&Self| {
            report.address.eq_ignore_ascii_case(recipient.as_str())
                || Address::parse(&report.address).is_ok_and(|address| address == *recipient)
        };
        reports.iter().find(names)
    }

    fn read(value: &'a str) -> Option<Self> {
        if let Some(address) = string_of(value) {
            return Some(Self {
                address,
                failed: false,
                code: None,
            });
        }
        let (mut address, mut status, mut code) = (None, None, None);
        for (name, value) in members(value) {
            match &*name {
                "address" => address = word(value),
                "status" => status = word(value),
                "error_code" => code = word(value),
                _ => {}
            }
        }
        Some(Self {
            address: address?,
            failed: status.is_some_and(|status| status.eq_ignore_ascii_case("failed")),
            code,
        })
    }
}

/// The list of recipients; `None` for `null`. Anything else than an array lists nobody.
fn reports(value: &str) -> Option<Vec<Report<'_>>> {
    if value == "null" {
        return None;
    }
    let listed = items(value).into_iter().flatten().take(MOST_REPORTS);
    Some(listed.filter_map(Report::read).collect())
}

/// The members of an object; none for another value.
fn members(value: &str) -> Vec<(Cow<'_, str>, &str)> {
    let members = scan_object(value.as_bytes()).unwrap_or_default();
    members
        .into_iter()
        .map(|(name, place)| (name, &value[place]))
        .collect()
}

/// A text that is not empty.
fn word(value: &str) -> Option<Cow<'_, str>> {
    string_of(value).filter(|text| !text.is_empty())
}
