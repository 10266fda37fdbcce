//! The content of a mail on its way in: after DATA up to the final dot, or chunk by chunk.

use bytes::Bytes;

use super::Reply;
use super::line::Input;

/// The longest line of content, far over the 1,000 bytes that RFC 5321 allows.
const LONGEST_LINE: usize = 64 * 1024;

/// The content of a mail.
pub(super) struct Content {
    bytes: Vec<u8>,
    limit: usize,
    by: By,
    refusal: Option<Reply>,
}

enum By {
    Dot(Dots),
    Chunk { left: u64, last: bool },
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    /// A chunk is there, and more are to come.
    Chunk,
    Whole,
}

impl Content {
    /// Content that ends with a dot.
    pub(super) fn by_dot(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            by: By::Dot(Dots::default()),
            refusal: None,
        }
    }

    /// Content in chunks of known size, with what came before.
    pub(super) fn by_chunk(before: Option<Self>, limit: usize, (size, last): (u64, bool)) -> Self {
        Self {
            bytes: before.map_or_else(Vec::new, |it| it.bytes),
            limit,
            by: By::Chunk { left: size, last },
            refusal: None,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Why it is not taken, as far as that is known.
    pub(super) fn refusal(&self) -> Option<Reply> {
        self.refusal.clone()
    }

    /// Keeps nothing any more; the first reason stays.
    pub(super) fn give_up(&mut self, refusal: Reply) {
        self.bytes = Vec::new();
        self.refusal.get_or_insert(refusal);
    }

    /// Takes what is there.
    pub(super) fn take(&mut self, input: &mut Input) -> Progress {
        let bytes = &mut self.bytes;
        let keeps = self.refusal.is_none();
        let sink = |part: &[u8]| {
            if keeps {
                bytes.extend_from_slice(part);
            }
        };
        let progress = match &mut self.by {
            By::Dot(dots) => {
                let (read, whole) = dots.take(input.rest(), sink);
                input.advance(read);
                match whole {
                    true => Progress::Whole,
                    false => Progress::More,
                }
            }
            By::Chunk { left, last } => take_chunk(input, left, *last, sink),
        };
        if self.bytes.len() > self.limit {
            self.give_up(too_large());
        }
        progress
    }

    /// The content, if it can be taken.
    pub(super) fn finish(self) -> Result<Bytes, Reply> {
        match (self.refusal, fault(&self.bytes)) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(text)) => Err(Reply::new(550, "5.6.0", text)),
            (None, None) => Ok(Bytes::from(self.bytes)),
        }
    }
}

pub(super) fn too_large() -> Reply {
    Reply::new(552, "5.3.4", "The mail is larger than this server takes")
}

fn take_chunk(
    input: &mut Input,
    left: &mut u64,
    last: bool,
    mut sink: impl FnMut(&[u8]),
) -> Progress {
    let there = input.rest();
    let taken = usize::try_from(*left).map_or(there.len(), |left| left.min(there.len()));
    sink(&there[..taken]);
    input.advance(taken);
    *left -= u64::try_from(taken).unwrap_or(*left);
    match (*left, last) {
        (0, true) => Progress::Whole,
        (0, false) => Progress::Chunk,
        _ => Progress::More,
    }
}

/// Looks for the end, and takes off the dots that hide dots (RFC 5321, section 4.5.2). A line ends
/// with CRLF alone, and the end is CRLF.CRLF to the byte.
#[derive(Default)]
struct Dots {
    at: At,
    /// The last byte within a line.
    last: u8,
}

#[derive(Default, Clone, Copy)]
enum At {
    #[default]
    Start,
    /// After the dot that begins a line.
    Dot,
    /// After that and CR.
    DotReturn,
    Within,
}

impl Dots {
    /// Gives what belongs to the content to `sink`. Answers how much is read, and whether that was all.
    fn take(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> (usize, bool) {
        let mut read = 0;
        while let Some(byte) = bytes.get(read) {
            match (self.at, byte) {
                (At::Start, b'.') => {
                    self.at = At::Dot;
                    read += 1;
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotReturn;
                    read += 1;
                }
                (At::DotReturn, b'\n') => return (read + 1, true),
                (At::DotReturn, _) => {
                    sink(b"\r");
                    self.within(b'\r');
                }
                (At::Start | At::Dot, _) => self.within(0),
                (At::Within, _) => read += self.line(&bytes[read..], &mut sink),
            }
        }
        (read, false)
    }

    fn within(&mut self, last: u8) {
        self.at = At::Within;
        self.last = last;
    }

    /// Reads up to the next LF, or all there is.
    fn line(&mut self, bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> usize {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let line = &bytes[..end.map_or(bytes.len(), |end| end + 1)];
        let before = match line {
            [.., before, b'\n'] => *before,
            _ => self.last,
        };
        if end.is_some() && before == b'\r' {
            self.at = At::Start;
        }
        self.last = line.last().copied().unwrap_or(self.last);
        sink(line);
        line.len()
    }
}

/// What is wrong with the lines of a content.
fn fault(content: &[u8]) -> Option<&'static str> {
    let (mut before, mut length) = (b'\n', 0);
    for byte in content {
        let bare = (*byte == b'\n') != (before == b'\r');
        match byte {
            0 => return Some("The mail has a NUL in it"),
            b'\n' if bare => return Some("The mail has a bare LF in it"),
            _ if bare => return Some("The mail has a bare CR in it"),
            b'\n' => length = 0,
            _ => length += 1,
        }
        if length > LONGEST_LINE {
            return Some("The mail has a line that is too long");
        }
        before = *byte;
    }
    (before == b'\r').then_some("The mail has a bare CR in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(pieces: &[&[u8]]) -> Option<(Result<Bytes, Reply>, Vec<u8>)> {
        let mut content = Content::by_dot(10_000);
        let mut input = Input::default();
        for (number, piece) in pieces.iter().enumerate() {
            input.push(piece);
            if content.take(&mut input) == Progress::Whole {
                let left = [input.rest(), &pieces[number + 1..].concat()].concat();
                return Some((content.finish(), left));
            }
        }
        None
    }

    #[test]
    fn dots_are_taken_off_and_the_end_is_found_wherever_the_bytes_are_cut() {
        let table: [(&[u8], &[u8]); 7] = [
            (b".\r\n", b""),
            (b"\r\n.\r\n", b"\r\n"),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"..a\r\n..b\r\n.\r\n", b".a\r\n.b\r\n"),
            (b".a\r\n.\r\n", b"a\r\n"),
            (b"a\r\n..\r\n...\r\n.\r\n", b"a\r\n.\r\n..\r\n"),
        ];
        for (sent, expected) in table {
            let sent = [sent, b"NEXT"].concat();
            let single: Vec<&[u8]> = sent.chunks(1).collect();
            for pieces in [vec![sent.as_slice()], single, sent.chunks(2).collect()] {
                let (content, left) = received(&pieces).unwrap();
                assert_eq!(content.unwrap(), expected, "{}", sent.escape_ascii());
                assert_eq!(left, b"NEXT");
            }
        }
    }

    #[test]
    fn no_other_end_of_line_makes_an_end_and_none_is_taken() {
        let ends = [
            "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\r", "\0\r\n", "\r\0\n",
        ];
        let mut seen = 0;
        for before in ends {
            for after in ends {
                // CR LF . CR LF CR is a true end with something behind it.
                if before.ends_with("\r\n") && after.starts_with("\r\n") {
                    continue;
                }
                let smuggled = format!("a{before}.{after}MAIL FROM:<x@y>\r\n").into_bytes();
                let single: Vec<&[u8]> = smuggled.chunks(1).collect();
                for pieces in [vec![smuggled.as_slice()], single] {
                    assert!(received(&pieces).is_none(), "{}", smuggled.escape_ascii());
                    let whole = [pieces.as_slice(), &[b".\r\n"]].concat();
                    let (content, left) = received(&whole).unwrap();
                    assert_eq!(
                        content.unwrap_err().code(),
                        550,
                        "{}",
                        smuggled.escape_ascii()
                    );
                    assert!(left.is_empty());
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 58);
    }

    #[test]
    fn a_line_may_be_long_but_not_endless() {
        for (length, taken) in [(998, true), (60_000, true), (70_000, false)] {
            let line = [vec![b'x'; length], b"\r\n".to_vec()].concat();
            assert_eq!(fault(&line).is_none(), taken, "{length}");
        }
    }
}
