//! permessage-deflate (RFC 7692), bounded in memory and in what it makes.
//!
//! Every message is compressed by itself (`no_context_takeover` both ways): an idle connection
//! keeps no window. What expands beyond the limit is given up as soon as it does.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The name of the extension.
const NAME: &str = "permessage-deflate";
/// Shorter messages are not worth it.
const SHORTEST: usize = 256;
/// What every compressed message ends with and is not sent.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The window of what we compress, unless the other side asks for a smaller one.
const WIDEST: u8 = 15;
/// The smallest window the library can do.
const NARROWEST: u8 = 9;

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deflate {
    /// The window of what we compress, as a power of two.
    bits: u8,
}

/// What became of compressed data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inflated {
    Whole(Vec<u8>),
    /// It expands to more than allowed.
    TooBig,
    /// It is no compressed data.
    Broken,
}

impl Deflate {
    /// What a client offers.
    pub(crate) const OFFER: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// The first offer that can be taken, and the header that says so.
    pub(crate) fn agree<'a>(offers: impl Iterator<Item = &'a str>) -> Option<(Self, String)> {
        offers.flat_map(|line| line.split(',')).find_map(taken)
    }

    /// What a server agreed to, of what was offered in [`Self::OFFER`].
    pub(crate) fn agreed(answer: &str) -> Option<Self> {
        let mut words = answer.split(';').map(str::trim);
        let named = words.next()?.eq_ignore_ascii_case(NAME);
        let alone = words.any(|word| word == "server_no_context_takeover");
        (named && alone).then_some(Self { bits: WIDEST })
    }

    /// A message compressed; nothing where that gains nothing.
    pub(crate) fn compress(self, message: &[u8]) -> Option<Vec<u8>> {
        if message.len() < SHORTEST {
            return None;
        }
        let mut deflate = Compress::new_with_window_bits(Compression::fast(), false, self.bits);
        let mut packed = Vec::with_capacity(message.len() / 2 + 64);
        loop {
            let read = usize::try_from(deflate.total_in()).ok()?;
            let room = packed.capacity() - packed.len();
            deflate
                .compress_vec(&message[read..], &mut packed, FlushCompress::Sync)
                .ok()?;
            let done = usize::try_from(deflate.total_in()) == Ok(message.len());
            if done && packed.len() < packed.capacity() && room > 0 {
                break;
            }
            packed.reserve(4_096);
        }
        packed.ends_with(&TAIL).then_some(())?;
        packed.truncate(packed.len() - TAIL.len());
        (packed.len() < message.len()).then_some(packed)
    }

    /// A message expanded, to at most `limit` bytes.
    pub(crate) fn expand(self, mut packed: Vec<u8>, limit: usize) -> Inflated {
        packed.extend_from_slice(&TAIL);
        let mut inflate = Decompress::new(false);
        let mut whole = Vec::new();
        loop {
            let read = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
            let more = whole.len().clamp(4_096, 1 << 20);
            whole.reserve(more.min(limit + 1 - whole.len()));
            let before = whole.len();
            let rest = packed.get(read..).unwrap_or_default();
            let step = inflate.decompress_vec(rest, &mut whole, FlushDecompress::Sync);
            if whole.len() > limit {
                return Inflated::TooBig;
            }
            let stuck = whole.len() == before
                && usize::try_from(inflate.total_in()).unwrap_or(usize::MAX) == read;
            match step {
                Err(_) => return Inflated::Broken,
                Ok(Status::StreamEnd) => return Inflated::Whole(whole),
                Ok(_) if stuck && rest.is_empty() => return Inflated::Whole(whole),
                Ok(_) if stuck => return Inflated::Broken,
                Ok(_) => {}
            }
        }
    }
}

/// One offer, if we can do what it asks.
fn taken(offer: &str) -> Option<(Deflate, String)> {
    let mut words = offer.split(';').map(str::trim);
    if !words.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut seen = Vec::new();
    let mut bits = None;
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (word, None),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None)
            | ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => drop(window(value, 8)?),
            ("server_max_window_bits", Some(value)) => bits = Some(window(value, NARROWEST)?),
            _ => return None,
        }
    }
    let mut answer = Deflate::OFFER.to_owned();
    if let Some(bits) = bits {
        answer += &format!("; server_max_window_bits={bits}");
    }
    let bits = bits.unwrap_or(WIDEST);
    Some((Deflate { bits }, answer))
}

fn window(value: &str, least: u8) -> Option<u8> {
    let bits = value.parse().ok()?;
    (least..=WIDEST).contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_taken_only_where_they_can_be_kept() {
        let table = [
            ("permessage-deflate", Some(15)),
            ("permessage-deflate; client_max_window_bits", Some(15)),
            (
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
                Some(12),
            ),
            (
                "permessage-deflate; server_max_window_bits=\"10\"",
                Some(10),
            ),
            (
                "permessage-deflate; server_max_window_bits=8, permessage-deflate",
                Some(15),
            ),
            ("x-webkit-deflate-frame, permessage-deflate", Some(15)),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; unknown", None),
            (
                "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
                None,
            ),
            ("permessage-bzip2", None),
            ("", None),
        ];
        for (offer, bits) in table {
            let agreed = Deflate::agree(std::iter::once(offer));
            assert_eq!(agreed.as_ref().map(|(it, _)| it.bits), bits, "{offer}");
            if let Some((_, answer)) = agreed {
                assert!(Deflate::agreed(&answer).is_some(), "{answer}");
            }
        }
    }

    #[test]
    fn what_is_compressed_expands_to_the_same() {
        for bits in NARROWEST..=WIDEST {
            let deflate = Deflate { bits };
            for length in [256, 1_000, 100_000, 1_000_000] {
                let text: Vec<u8> = (0..length)
                    .map(|at: u32| b'a' + u8::try_from((at / 7 + at % 13) % 26).unwrap())
                    .collect();
                let packed = deflate.compress(&text).unwrap();
                assert!(packed.len() < text.len());
                assert_eq!(deflate.expand(packed, text.len()), Inflated::Whole(text));
            }
        }
        let deflate = Deflate { bits: WIDEST };
        assert_eq!(deflate.compress(b"short"), None);
        assert_eq!(deflate.expand(vec![0], 10), Inflated::Whole(Vec::new()));
    }

    #[test]
    fn a_bomb_is_given_up_at_the_limit_and_rubbish_is_broken() {
        let deflate = Deflate { bits: WIDEST };
        let bomb = deflate.compress(&vec![0; 50 << 20]).unwrap();
        assert!(bomb.len() < 300_000);
        assert_eq!(deflate.expand(bomb.clone(), 1 << 20), Inflated::TooBig);
        assert_eq!(deflate.expand(bomb, 0), Inflated::TooBig);
        assert_eq!(deflate.expand(vec![0xff; 100], 1_000), Inflated::Broken);
    }
}
