//! The member `headers`: the few we know, and all the others as they came.

use std::ops::Range;

use super::super::json::{Entry, Keep, Only, scan, string_of, unescape};
use super::super::{Address, Timestamp};
use super::{Faults, Profile, is_absent};

/// How urgent the sender thinks a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// After everything else.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Before most.
    High,
    /// Before everything else.
    Urgent,
}

impl Priority {
    const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Urgent];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }

    /// The priority of a word on the wire; `None` for another word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.as_str() == word)
    }
}

#[derive(Debug, Default)]
pub(super) struct Headers {
    /// Where the object lies in the message.
    pub(super) place: Range<usize>,
    /// Its members, placed within the object.
    entries: Box<[Entry]>,
    pub(super) priority: Priority,
    pub(super) reply_to: Option<Address>,
    pub(super) expires: Option<Timestamp>,
    pub(super) hops: u32,
}

impl Headers {
    /// The raw value of a header; `None` if absent, `null` or `""`. `object` is what lies at `place`.
    pub(super) fn find<'t>(&self, object: &'t str, wanted: &str) -> Option<&'t str> {
        let is_wanted = |entry: &&Entry| unescape(entry.name.of(object)) == wanted;
        let entry = self.entries.iter().find(is_wanted)?;
        Some(entry.value.of(object)).filter(|value| !is_absent(value))
    }
}

/// Reads the member `headers`, which lies at `place`.
pub(super) fn read(
    object: &str,
    place: Range<usize>,
    profile: Profile,
    faults: &mut Faults,
) -> Headers {
    let Ok((_, entries)) = scan(object.as_bytes(), Keep::Top, Only::Object) else {
        faults.add("headers", "must be an object");
        return Headers::default();
    };
    let mut headers = Headers {
        place,
        ..Headers::default()
    };
    let mut own = Faults::default();
    for entry in &entries {
        let value = entry.value.of(object);
        if !is_absent(value) {
            headers.read_one(&unescape(entry.name.of(object)), value, &mut own);
        }
    }
    headers.entries = entries.into();
    // A peer's invalid header is as good as none: its messages are not ours to correct.
    if profile == Profile::Submission {
        faults.append(own.into_violations());
    }
    headers
}

impl Headers {
    fn read_one(&mut self, name: &str, value: &str, faults: &mut Faults) {
        match name {
            "priority" => {
                let parse =
                    |word: &str| Priority::parse(word).ok_or("must be low, normal, high or urgent");
                let priority = faults.parsed("headers.priority", value, parse);
                self.priority = priority.unwrap_or_default();
            }
            "reply-to" => {
                self.reply_to = faults.parsed("headers.reply-to", value, Address::parse);
            }
            "expires" => {
                let parse = Timestamp::parse_rfc3339;
                self.expires = faults.parsed("headers.expires", value, parse);
            }
            "x-amtp-hops" => {
                let text = string_of(value);
                self.hops = text.as_deref().unwrap_or(value).parse().unwrap_or(0);
            }
            _ => {}
        }
    }
}
