//! Replies, with enhanced status codes (RFC 3463).

use std::borrow::Cow;

/// A reply of the server. Its text is ours: nothing a client said stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: &'static str,
    lines: Vec<Cow<'static, str>>,
    /// How many recipients get it.
    times: usize,
}

impl Reply {
    /// A reply of one line; `enhanced` is empty where RFC 2034 wants none.
    #[must_use]
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            enhanced,
            lines: vec![text.into()],
            times: 1,
        }
    }

    pub(super) fn greeting(host: &str) -> Self {
        Self::new(220, "", format!("{host} ESMTP"))
    }

    pub(super) fn of_lines(code: u16, lines: Vec<Cow<'static, str>>) -> Self {
        Self {
            code,
            enhanced: "",
            lines,
            times: 1,
        }
    }

    /// The same for so many recipients, once for each (LMTP).
    pub(super) fn for_each_of(self, recipients: usize) -> Self {
        Self {
            times: recipients.max(1),
            ..self
        }
    }

    /// The three digits.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// Whether it says that the same thing will never work.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// What goes over the wire.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            let last = number + 1 == self.lines.len();
            text += &self.code.to_string();
            text.push(if last { ' ' } else { '-' });
            if !self.enhanced.is_empty() {
                text += self.enhanced;
                text.push(' ');
            }
            text += line;
            text += "\r\n";
        }
        text.repeat(self.times)
    }
}
