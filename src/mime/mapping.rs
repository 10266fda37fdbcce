//! Which addresses and ids of mail are which of AMTP.
//!
//! An AMTP address is a mail address as it stands: the local part a dot-atom, `+tags` included. The
//! other way, what AMTP cannot name is refused with the reason: quoted local parts, local parts
//! outside ASCII, address literals. The domain of a mail address may be written in any script.
//!
//! The `Message-ID` of a mail that carries a message is `<id@domain>`. The few characters that a
//! message id may hold where a `Message-ID` may not (`:`, and dots at the edge or in a row) are
//! written as `=` and two hex digits; `=` stands in no message id, so that every id reads back.

use std::fmt::Write as _;

use crate::protocol::{Address, AddressFault, Domain, MessageId};

/// Why a mail address cannot be an AMTP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapFault {
    /// The local part stands in quotes.
    #[error("a quoted local part cannot be an AMTP address")]
    Quoted,
    /// The local part has characters outside ASCII.
    #[error("a local part outside ASCII cannot be an AMTP address")]
    NotAscii,
    /// The domain is an address literal such as `[192.0.2.1]`.
    #[error("an address literal cannot be an AMTP address")]
    Literal,
    /// It is no address at all.
    #[error("is no address: {0}")]
    Malformed(AddressFault),
}

/// The AMTP address that a mail address is. Angle brackets and blanks around it are ignored.
///
/// # Errors
/// AMTP cannot name it; the fault says why.
pub fn read_address(written: &str) -> Result<Address, MapFault> {
    let text = written.trim();
    let inner = text.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    let text = inner.unwrap_or(text);
    let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    if local.starts_with('"') {
        return Err(MapFault::Quoted);
    }
    if !local.is_ascii() {
        return Err(MapFault::NotAscii);
    }
    if domain.starts_with('[') {
        return Err(MapFault::Literal);
    }
    Address::parse(text).map_err(MapFault::Malformed)
}

/// The `Message-ID`, without angle brackets, of the mail that carries a message.
#[must_use]
pub fn write_message_id(id: &MessageId, domain: &Domain) -> String {
    let text = id.as_str();
    let mut written = String::with_capacity(text.len() + 1 + domain.as_str().len());
    let mut before = b'.';
    for (at, byte) in text.bytes().enumerate() {
        let is_bad_dot = byte == b'.' && (before == b'.' || at + 1 == text.len());
        if byte == b':' || is_bad_dot {
            write!(written, "={byte:02X}").expect("a string takes any text");
        } else {
            written.push(char::from(byte));
        }
        before = byte;
    }
    written.push('@');
    written.push_str(domain.as_str());
    written
}

/// The message behind a `Message-ID` that [`write_message_id`] wrote for one of our domains; angle
/// brackets around it are ignored. `None` for any other id.
pub fn read_message_id(written: &str, is_ours: impl FnOnce(&Domain) -> bool) -> Option<MessageId> {
    let text = written.trim().trim_matches(['<', '>']);
    let (id, domain) = text.rsplit_once('@')?;
    let domain = Domain::parse(domain).ok()?;
    if !is_ours(&domain) {
        return None;
    }
    let id = MessageId::parse(&unescape(id)?).ok()?;
    Some(id)
}

/// Reads `=` and two hex digits back.
fn unescape(text: &str) -> Option<String> {
    let mut pieces = text.split('=');
    let mut plain = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        plain.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests;
