//! The addresses that mail comes back to: `bounce+<tag>@<our domain>`.
//!
//! Every mail to every recipient goes out under an address of its own, so that a report says by where
//! it arrives which delivery it is about, whatever its text. The tag holds the numbers of message and
//! recipient and is signed with a key derived from the sealing key: nobody can make one up. It is
//! written so that it survives servers that change the case of local parts.

use ring::{hkdf, hmac};

use super::seal::Sealer;

/// Letters of base32 (RFC 4648) in lower case.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The number of the message, the hash of the recipient, and the signature.
const NUMBERS: usize = 16;
const SIGNED: usize = NUMBERS + 10;
/// What the local part begins with.
const START: &str = "bounce+";

/// Which delivery a mail that comes back is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReturnPath {
    /// The number of the message.
    pub mid: i64,
    /// The hash of the recipient.
    pub party: i64,
}

impl Sealer {
    /// The local part that mail about a delivery comes back to; 49 bytes.
    #[must_use]
    pub fn return_path(&self, path: ReturnPath) -> String {
        let numbers = numbers(path);
        let tag = hmac::sign(&self.present_return_key(), &numbers);
        let mut whole = numbers.to_vec();
        whole.extend_from_slice(&tag.as_ref()[..SIGNED - NUMBERS]);
        format!("{START}{}", write(&whole))
    }

    /// Which delivery a local part is about; nothing where we did not make it.
    #[must_use]
    pub fn read_return_path(&self, local: &str) -> Option<ReturnPath> {
        let start = local.get(..START.len())?;
        let tag = local.get(START.len()..)?;
        let whole = read(tag).filter(|_| start.eq_ignore_ascii_case(START))?;
        let (numbers, signature) = whole.split_at_checked(NUMBERS)?;
        let number = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).ok();
        let path = ReturnPath {
            mid: number(&numbers[..8])?,
            party: number(&numbers[8..])?,
        };
        let is_ours = |key: hmac::Key| {
            let made = hmac::sign(&key, numbers);
            let made = &made.as_ref()[..SIGNED - NUMBERS];
            bool::from(subtle::ConstantTimeEq::ct_eq(made, signature))
        };
        self.return_keys().any(is_ours).then_some(path)
    }

    fn present_return_key(&self) -> hmac::Key {
        let mut keys = self.return_keys();
        keys.next().expect("there is a present key")
    }

    /// The keys that sign, the present one first.
    fn return_keys(&self) -> impl Iterator<Item = hmac::Key> + '_ {
        self.derive(b"mail-return-path", hkdf::HKDF_SHA256)
            .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }
}

fn numbers(path: ReturnPath) -> [u8; NUMBERS] {
    let mut numbers = [0; NUMBERS];
    numbers[..8].copy_from_slice(&path.mid.to_be_bytes());
    numbers[8..].copy_from_slice(&path.party.to_be_bytes());
    numbers
}

fn write(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(held >> bits));
        }
    }
    if bits > 0 {
        text.push(letter(held << (5 - bits)));
    }
    text
}

fn letter(value: u32) -> char {
    char::from(LETTERS[(value & 31) as usize])
}

/// Exactly what [`write`] made of [`SIGNED`] bytes, in any case.
fn read(text: &str) -> Option<Vec<u8>> {
    if text.len() != (SIGNED * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = Vec::with_capacity(SIGNED);
    let (mut held, mut bits) = (0_u32, 0);
    for character in text.bytes() {
        let lower = character.to_ascii_lowercase();
        let value = LETTERS.iter().position(|letter| *letter == lower)?;
        held = (held << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
        }
    }
    // What is left over says nothing, so it must be nothing.
    (held & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const OTHER: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    fn sealer(key: &str) -> Sealer {
        Sealer::new(key).unwrap()
    }

    #[test]
    fn what_was_written_is_read_whatever_the_case() {
        let sealer = sealer(ONE);
        for (mid, party) in [(0, 0), (1, -1), (i64::MAX, i64::MIN), (4_711, 815)] {
            let path = ReturnPath { mid, party };
            let local = sealer.return_path(path);
            assert!(local.len() <= 64, "{local}");
            assert_eq!(sealer.read_return_path(&local), Some(path));
            let loud = local.to_ascii_uppercase();
            assert_eq!(sealer.read_return_path(&loud), Some(path));
        }
    }

    #[test]
    fn a_tag_that_was_changed_or_made_up_is_nobodys() {
        let sealer = sealer(ONE);
        let local = sealer.return_path(ReturnPath { mid: 7, party: 9 });
        for at in START.len()..local.len() {
            let mut other = local.clone().into_bytes();
            other[at] = if other[at] == b'a' { b'b' } else { b'a' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(sealer.read_return_path(&other), None, "{other}");
        }
        for forged in [
            "bounce+",
            "bounce+aaaa",
            "bounce",
            "",
            "bounce+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "bounce+ääääääääääääääääääääää",
            &format!("x{local}"),
            &format!("{local}a"),
            &local[..local.len() - 1],
        ] {
            assert_eq!(sealer.read_return_path(forged), None, "{forged}");
        }
    }

    #[test]
    fn tags_of_a_previous_key_still_count_and_those_of_others_never() {
        let path = ReturnPath { mid: 7, party: 9 };
        let local = sealer(ONE).return_path(path);
        let renewed = sealer(OTHER).with_previous([ONE]).unwrap();
        assert_eq!(renewed.read_return_path(&local), Some(path));
        assert_eq!(sealer(OTHER).read_return_path(&local), None);
    }
}
