//! What came and is not read yet, cut into lines.

/// The longest command with its end; RFC 5321 asks for 512 and what extensions add.
const LONGEST: usize = 2_048;

/// Bytes that came and are not read yet.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// What of them is read.
    read: usize,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
}

/// A command as far as its form goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Not all of it is there.
    Missing,
    /// With its CRLF; everything before it is printable or a tab, in ASCII or not.
    Whole(Vec<u8>),
    TooLong,
    /// Ended by LF alone.
    BareFeed,
    /// There is a control character in it.
    Faulty,
}

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.read));
        self.bytes.extend_from_slice(bytes);
    }

    /// What is there.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.read == self.bytes.len()
    }

    pub(super) fn advance(&mut self, by: usize) {
        self.read = (self.read + by).min(self.bytes.len());
    }

    /// Passes over at most so many bytes, and says how many.
    pub(super) fn pass_over(&mut self, most: u64) -> u64 {
        let there = u64::try_from(self.rest().len()).unwrap_or(u64::MAX);
        let passed = there.min(most);
        self.advance(usize::try_from(passed).unwrap_or(usize::MAX));
        passed
    }

    /// The next command.
    pub(super) fn line(&mut self) -> Line {
        let rest = self.rest();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            if rest.len() >= LONGEST {
                self.skipping = true;
            }
            if self.skipping {
                // Its end may be a CR that is there already; what follows decides nothing.
                self.advance(usize::MAX - self.read);
            }
            return Line::Missing;
        };
        let line = rest[..=end].to_vec();
        self.advance(end + 1);
        if std::mem::take(&mut self.skipping) || line.len() > LONGEST {
            return Line::TooLong;
        }
        let Some(text) = line.strip_suffix(b"\r\n") else {
            return Line::BareFeed;
        };
        let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        match text.iter().any(control) {
            true => Line::Faulty,
            false => Line::Whole(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_the_bytes_are() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        for pieces in [
            vec!["NOOP\r\nQUIT\r\n"],
            vec!["NOOP\r", "\nQUIT\r\n"],
            vec!["N", "O", "O", "P", "\r", "\n", "QUIT\r\n"],
        ] {
            let mut input = Input::default();
            let mut lines = Vec::new();
            for piece in pieces {
                input.push(piece.as_bytes());
                loop {
                    match input.line() {
                        Line::Missing => break,
                        line => lines.push(line),
                    }
                }
            }
            assert_eq!(lines, [whole("NOOP\r\n"), whole("QUIT\r\n")]);
            assert!(input.is_empty());
        }
    }

    #[test]
    fn a_line_that_never_ends_takes_no_room() {
        let mut input = Input::default();
        for _ in 0..1_000 {
            input.push(&[b'x'; 1_000]);
            assert_eq!(input.line(), Line::Missing);
            assert!(input.bytes.len() <= 2 * LONGEST);
        }
        input.push(b"\r\nNOOP\r\n");
        assert_eq!(input.line(), Line::TooLong);
        assert_eq!(input.line(), Line::Whole(b"NOOP\r\n".to_vec()));
    }

    #[test]
    fn what_is_no_line_is_told_apart() {
        for (text, expected) in [
            (&b"NOOP\n"[..], Line::BareFeed),
            (b"\n", Line::BareFeed),
            (b"NO\0OP\r\n", Line::Faulty),
            (b"NO\rOP\r\n", Line::Faulty),
            (b"NOOP\r\r\n", Line::Faulty),
            (b"\x7f\r\n", Line::Faulty),
            (b"\r\n", Line::Whole(b"\r\n".to_vec())),
        ] {
            let mut input = Input::default();
            input.push(text);
            assert_eq!(input.line(), expected, "{}", text.escape_ascii());
        }
    }
}
