//! The little DER that public keys are written in.
//!
//! Strict: lengths in their shortest form, nothing after the end, integers positive and without
//! needless zeros. Two spellings of one key are not both right.

/// A sequence.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// The algorithm identifier of an RSA key: `rsaEncryption` and NULL.
const RSA: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// What stands before the point of a key on P-256: the whole is 91 bytes.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point on P-256.
const POINT: usize = 65;

/// The point of a key on P-256.
pub(super) fn p256_point(spki: &[u8]) -> Option<&[u8]> {
    let point = spki.strip_prefix(&P256)?;
    (point.len() == POINT && point[0] == 4).then_some(point)
}

/// The key on P-256 that has this point.
pub(super) fn p256_key(point: &[u8]) -> Vec<u8> {
    [&P256, point].concat()
}

/// An RSA key as PKCS#1 writes it, and the bits of its modulus.
pub(super) fn rsa_key(spki: &[u8]) -> Option<(&[u8], usize)> {
    let (inner, rest) = element(SEQUENCE, spki)?;
    let (bits, after) = element(BIT_STRING, inner.strip_prefix(&RSA)?)?;
    let key = bits.strip_prefix(&[0])?;
    let (numbers, behind) = element(SEQUENCE, key)?;
    let (modulus, more) = element(INTEGER, numbers)?;
    let (exponent, end) = element(INTEGER, more)?;
    positive(exponent)?;
    let alone = [rest, after, behind, end].iter().all(|one| one.is_empty());
    alone.then_some((key, size(positive(modulus)?)))
}

/// The whole key of an RSA key as PKCS#1 writes it.
pub(super) fn rsa_spki(key: &[u8]) -> Vec<u8> {
    let bits = wrapped(BIT_STRING, &[&[0], key].concat());
    wrapped(SEQUENCE, &[&RSA, &bits[..]].concat())
}

/// The content of the element that begins here, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length).checked_sub(0x80)? + 0x80, rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            (length.checked_sub(0x100)? + 0x100, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// The digits of a positive integer in its shortest form.
fn positive(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [0, rest @ ..] => rest.first().filter(|first| **first >= 0x80).map(|_| rest),
        [first, ..] if *first < 0x80 => Some(integer),
        _ => None,
    }
}

/// The bits of a number without zeros before it.
fn size(digits: &[u8]) -> usize {
    let zeros = digits.first().map_or(0, |first| first.leading_zeros());
    digits.len() * 8 - zeros as usize
}

fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 0x80 => der.push(short),
        (Ok(byte), _) => der.extend([0x81, byte]),
        (_, Ok(two)) => {
            der.push(0x82);
            der.extend(two.to_be_bytes());
        }
        // No key that ring takes is as long.
        _ => return Vec::new(),
    }
    der.extend_from_slice(content);
    der
}
