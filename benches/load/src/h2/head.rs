//! The heads of requests and answers in HPACK (RFC 7541).
//!
//! Of the server the smallest table is asked, none, so each of its heads stands for itself.

use anyhow::{Context as _, Result, bail};

/// The last entry of the static table.
const STATIC: usize = 61;
/// The bytes the server's table holds at least.
const TABLE: usize = 4_096;

/// The table that our requests have filled on a connection.
#[derive(Default)]
pub(super) struct Heads {
    known: Vec<(usize, String)>,
    bytes: usize,
}

/// Numbers of names in the static table.
const AUTHORITY: (usize, &str) = (1, ":authority");
const PATH: (usize, &str) = (4, ":path");
const AUTHORIZATION: (usize, &str) = (23, "authorization");
const CONTENT_LENGTH: (usize, &str) = (28, "content-length");
const CONTENT_TYPE: (usize, &str) = (31, "content-type");

impl Heads {
    /// Changes when something encoded before is encoded differently now.
    pub(super) fn generation(&self) -> usize {
        self.known.len()
    }

    /// Writes the head of a request with a JSON body of this length.
    pub(super) fn encode(&mut self, authorization: &str, length: usize, output: &mut Vec<u8>) {
        // `:method: POST` and `:scheme: https`
        output.extend_from_slice(&[0x83, 0x87]);
        self.field(PATH, "/v1/messages", output);
        self.field(AUTHORITY, "localhost", output);
        self.field(CONTENT_TYPE, "application/json", output);
        self.field(CONTENT_LENGTH, &length.to_string(), output);
        self.field(AUTHORIZATION, authorization, output);
    }

    fn field(&mut self, (number, name): (usize, &str), value: &str, output: &mut Vec<u8>) {
        let known = self.known.iter().rev();
        if let Some(place) = known
            .into_iter()
            .position(|(n, v)| *n == number && v == value)
        {
            return integer(0x80, 7, STATIC + 1 + place, output);
        }
        let bytes = name.len() + value.len() + 32;
        let kept = self.bytes + bytes <= TABLE;
        match kept {
            true => integer(0x40, 6, number, output),
            false => integer(0x00, 4, number, output),
        }
        integer(0x00, 7, value.len(), output);
        output.extend_from_slice(value.as_bytes());
        if kept {
            self.bytes += bytes;
            self.known.push((number, value.to_owned()));
        }
    }
}

/// An integer with a prefix of `bits` bits, the others being those of `first`.
fn integer(first: u8, bits: u32, value: usize, output: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if value < most {
        return output.push(first | byte(value));
    }
    output.push(first | byte(most));
    let mut rest = value - most;
    while rest >= 128 {
        output.push(byte(rest % 128) | 0x80);
        rest /= 128;
    }
    output.push(byte(rest));
}

/// The status of an answer: the first field of its head.
pub(super) fn status(mut block: &[u8]) -> Result<u16> {
    // What the table holds from now on: nothing.
    while let Some((first, rest)) = block.split_first()
        && first & 0xe0 == 0x20
    {
        block = rest;
    }
    let (first, rest) = block.split_first().context("a head is empty")?;
    let of_table = [200, 204, 206, 304, 400, 404, 500];
    match first {
        0x88..=0x8e => Ok(of_table[usize::from(first - 0x88)]),
        // A literal whose name is `:status`, kept in the table, not kept, or never kept.
        0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => digits(rest),
        other => bail!("the head of an answer begins with {other:#x}"),
    }
}

/// Three digits, as they are or in Huffman's code, in which 0, 1 and 2 have five bits and the others six.
fn digits(value: &[u8]) -> Result<u16> {
    let (length, value) = value.split_first().context("a status is missing")?;
    let value = value
        .get(..usize::from(length & 0x7f))
        .context("a status is cut")?;
    if length & 0x80 == 0 {
        return Ok(std::str::from_utf8(value)?.parse()?);
    }
    let bits = value
        .iter()
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = value.len() * 8;
    let mut take = |count: usize| -> Result<u64> {
        left = left.checked_sub(count).context("a status is cut")?;
        Ok(bits >> left & ((1 << count) - 1))
    };
    let mut status = 0;
    for _ in 0..3 {
        let digit = match take(5)? {
            short @ 0..=2 => short,
            long => (long << 1 | take(1)?)
                .checked_sub(0x16)
                .context("no digit")?,
        };
        status = status * 10 + u16::try_from(digit)?;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_request_names_only_the_table() {
        let mut heads = Heads::default();
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        heads.encode("Bearer one", 1_100, &mut first);
        assert_eq!(heads.generation(), 5);
        heads.encode("Bearer one", 1_100, &mut second);
        assert_eq!(second, [0x83, 0x87, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe]);
        heads.encode("Bearer two", 1_100, &mut third);
        assert_eq!(&third[..6], [0x83, 0x87, 0xc2, 0xc1, 0xc0, 0xbf]);
        assert!(third.ends_with(b"Bearer two"));
        assert_eq!(heads.generation(), 6);
    }

    #[test]
    fn integers_are_those_of_the_standard() {
        let mut output = Vec::new();
        integer(0, 5, 10, &mut output);
        integer(0, 5, 1_337, &mut output);
        assert_eq!(output, [10, 31, 154, 10]);
    }

    #[test]
    fn a_status_is_read_in_every_form() {
        assert_eq!(status(&[0x88]).unwrap(), 200);
        assert_eq!(status(&[0x20, 0x8d, 0]).unwrap(), 404);
        // 202 in Huffman's code, then 503: 011011 00000 011001
        assert_eq!(status(&[0x08, 0x82, 0x10, 0x05]).unwrap(), 202);
        assert_eq!(status(&[0x48, 0x83, 0x6c, 0x0c, 0xff]).unwrap(), 503);
        assert_eq!(status(b"\x08\x03429").unwrap(), 429);
        assert!(status(&[0x84]).is_err());
        assert!(status(&[]).is_err());
    }
}
