//! What a mail server answers (RFC 5321, section 4.2; RFC 2034): pure.

use std::fmt;

use crate::transport::text::clean;

/// The longest line of an answer, in bytes; the standard allows 512.
pub(super) const LONGEST_LINE: usize = 2_048;
/// The most lines of one answer.
pub(super) const MOST_LINES: usize = 128;
/// How much of an answer is shown, in bytes.
const SHOWN: usize = 300;

/// An enhanced status code, such as 5.1.1 (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Enhanced {
    pub(super) class: u16,
    pub(super) subject: u16,
    pub(super) detail: u16,
}

impl Enhanced {
    /// Reads the first word of a text. One whose class is not that of the reply says nothing.
    fn read(text: &str, code: u16) -> Option<Self> {
        let word = text.split([' ', '\t']).next()?;
        let mut numbers = word.split('.').map(|part| {
            let digits =
                (1..=3).contains(&part.len()) && part.bytes().all(|it| it.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        });
        let enhanced = Self {
            class: numbers.next()??,
            subject: numbers.next()??,
            detail: numbers.next()??,
        };
        let ends = numbers.next().is_none();
        (ends && enhanced.class == code / 100).then_some(enhanced)
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) enhanced: Option<Enhanced>,
    /// The texts of its lines, without the enhanced code.
    pub(super) lines: Vec<String>,
}

impl Reply {
    pub(super) const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    pub(super) const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// As it is shown to operators and senders: one line, bounded.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        let text = clean(self.lines.join(" ").trim(), SHOWN);
        if text.is_empty() {
            return Ok(());
        }
        write!(f, " {text}")
    }
}

/// An answer line by line.
#[derive(Debug, Default)]
pub(super) struct Reading {
    code: Option<u16>,
    enhanced: Option<Enhanced>,
    lines: Vec<String>,
}

/// What is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Reading {
    /// Takes one line without its end; gives the answer with its last line.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, Malformed> {
        let text = String::from_utf8_lossy(line);
        let digits = text.get(..3).ok_or(Malformed)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed);
        }
        let code: u16 = digits.parse().map_err(|_| Malformed)?;
        let known = (200..600).contains(&code) && *self.code.get_or_insert(code) == code;
        if !known || self.lines.len() >= MOST_LINES {
            return Err(Malformed);
        }
        let (is_last, rest) = match text.as_bytes().get(3) {
            None => (true, ""),
            Some(b' ') => (true, text.get(4..).unwrap_or_default()),
            Some(b'-') => (false, text.get(4..).unwrap_or_default()),
            Some(_) => return Err(Malformed),
        };
        let enhanced = Enhanced::read(rest, code);
        let words = match enhanced {
            Some(_) => rest.split_once(' ').map_or("", |(_, rest)| rest),
            None => rest,
        };
        self.enhanced = self.enhanced.or(enhanced);
        self.lines.push(words.to_owned());
        Ok(is_last.then(|| Reply {
            code,
            enhanced: self.enhanced,
            lines: std::mem::take(&mut self.lines),
        }))
    }
}

/// What a server says it can do, in its answer to EHLO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    pub(super) start_tls: bool,
    pub(super) eight_bit: bool,
    /// The largest mail it takes; nothing where it does not say.
    pub(super) size: Option<u64>,
    pub(super) plain: bool,
    pub(super) login: bool,
}

impl Abilities {
    /// Reads the lines behind the greeting.
    pub(super) fn read(reply: &Reply) -> Self {
        let mut able = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split([' ', '=']);
            let name = words.next().unwrap_or_default().to_ascii_uppercase();
            match name.as_str() {
                "STARTTLS" => able.start_tls = true,
                "8BITMIME" => able.eight_bit = true,
                // 0 says that there is no fixed limit (RFC 1870).
                "SIZE" => {
                    let size = words.next().and_then(|word| word.parse().ok());
                    able.size = size.filter(|size| *size > 0);
                }
                "AUTH" => {
                    for word in words {
                        able.plain |= word.eq_ignore_ascii_case("PLAIN");
                        able.login |= word.eq_ignore_ascii_case("LOGIN");
                    }
                }
                _ => {}
            }
        }
        able
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Reply>, Malformed> {
        let mut reading = Reading::default();
        let mut last = Ok(None);
        for line in lines {
            last = reading.line(line.as_bytes());
        }
        last
    }

    #[test]
    fn answers_of_one_line_and_of_several_are_read() {
        for (lines, shown) in [
            (&["250 2.1.5 OK"][..], "250 2.1.5 OK"),
            (&["250"], "250"),
            (&["250 "], "250"),
            (&["550 5.7.26 no"], "550 5.7.26 no"),
            // A class of its own says nothing.
            (&["450 5.1.1 later"], "450 5.1.1 later"),
            (
                &["550-5.1.1 no", "550 5.1.1 such user"],
                "550 5.1.1 no such user",
            ),
            (&["550-first", "550 5.2.1 last"], "550 5.2.1 first last"),
            (&["250 2.0.0"], "250 2.0.0"),
            (&["554 a\u{1b}[31mb"], "554 a [31mb"),
        ] {
            let reply = read(lines).unwrap().unwrap();
            assert_eq!(reply.to_string(), shown);
        }
        assert_eq!(read(&["450 5.1.1 later"]).unwrap().unwrap().enhanced, None);
        assert_eq!(read(&["250-more"]), Ok(None));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for lines in [
            &["hello"][..],
            &[""],
            &["25"],
            &["2a0 x"],
            &["250x"],
            &["199 x"],
            &["600 x"],
            &["250-a", "251 b"],
            &["äöü"],
        ] {
            assert_eq!(read(lines), Err(Malformed), "{lines:?}");
        }
        let endless = vec!["250-x"; MOST_LINES + 1];
        assert_eq!(read(&endless), Err(Malformed));
        let long = format!("554 {}", "x".repeat(4_000));
        assert!(read(&[long.as_str()]).unwrap().unwrap().to_string().len() < 400);
    }

    #[test]
    fn abilities_are_read_in_any_case() {
        let lines = [
            "250-mx.example greets",
            "250-starttls",
            "250-SIZE 1000",
            "250-AUTH=LOGIN plain",
            "250 8BITMIME",
        ];
        let able = Abilities::read(&read(&lines).unwrap().unwrap());
        let all = Abilities {
            start_tls: true,
            eight_bit: true,
            size: Some(1_000),
            plain: true,
            login: true,
        };
        assert_eq!(able, all);
        // The greeting itself names nothing.
        let greeting = read(&["250 STARTTLS SIZE"]).unwrap().unwrap();
        assert_eq!(Abilities::read(&greeting), Abilities::default());
    }
}
