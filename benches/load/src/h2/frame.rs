//! The frames of HTTP/2 (RFC 9113, section 6), as far as a client of few words needs them.

use anyhow::{Result, ensure};

/// Bytes before a frame's payload.
pub(super) const HEAD: usize = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The largest window, and what is added to the usual one to have it.
const WINDOW: u32 = (1 << 31) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Reset,
    Settings,
    Ping,
    GoAway,
    Window,
    Other,
}

/// The head of a frame that is here as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) stream: u32,
    flags: u8,
    payload: usize,
}

impl Frame {
    /// The frame these bytes begin with, if all of it is there.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let payload = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
        if rest.len() < payload {
            return Ok(None);
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            4 => Kind::Settings,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::Window,
            _ => Kind::Other,
        };
        let content = matches!(kind, Kind::Data | Kind::Headers);
        ensure!(
            !content || flags & (PADDED | PRIORITY) == 0,
            "the server pads its frames"
        );
        Ok(Some(Self {
            kind,
            stream: u32::from_be_bytes(stream) & WINDOW,
            flags,
            payload,
        }))
    }

    /// Bytes of the frame with its head.
    pub(super) fn length(&self) -> usize {
        HEAD + self.payload
    }

    pub(super) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.flags & END_STREAM != 0
    }
}

fn write(output: &mut Vec<u8>, (kind, flags): (u8, u8), stream: u32, payload: &[u8]) -> usize {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    output.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    output.extend_from_slice(&stream.to_be_bytes());
    let at = output.len();
    output.extend_from_slice(payload);
    at
}

/// How a client begins: no table for the server's heads, no push, windows that never close.
pub(super) fn preface(output: &mut Vec<u8>) {
    output.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut settings = Vec::new();
    for (name, value) in [(1_u16, 0_u32), (2, 0), (4, WINDOW)] {
        settings.extend_from_slice(&name.to_be_bytes());
        settings.extend_from_slice(&value.to_be_bytes());
    }
    write(output, (4, 0), 0, &settings);
    window(output, WINDOW - 65_535);
}

/// The head of a request that has a body.
pub(super) fn head(output: &mut Vec<u8>, stream: u32, block: &[u8]) {
    write(output, (1, END_HEADERS), stream, block);
}

/// The body of a request; gives the place where it begins.
pub(super) fn body(output: &mut Vec<u8>, stream: u32, body: &[u8]) -> usize {
    write(output, (0, END_STREAM), stream, body)
}

pub(super) fn window(output: &mut Vec<u8>, increment: u32) {
    write(output, (8, 0), 0, &increment.to_be_bytes());
}

pub(super) fn settings_ack(output: &mut Vec<u8>) {
    write(output, (4, ACK), 0, &[]);
}

pub(super) fn pong(output: &mut Vec<u8>, payload: &[u8]) {
    write(output, (6, ACK), 0, payload);
}

/// How many requests at a time these settings allow, if they say.
pub(super) fn streams(settings: &[u8]) -> Option<u32> {
    let mut settings = settings.as_chunks::<6>().0.iter();
    settings.find_map(|[a, b, value @ ..]| {
        (u16::from_be_bytes([*a, *b]) == 3).then(|| u32::from_be_bytes(*value))
    })
}

/// What a window update adds.
pub(super) fn increment(payload: &[u8]) -> Result<i64> {
    let bytes: [u8; 4] = payload.try_into()?;
    Ok(i64::from(u32::from_be_bytes(bytes) & WINDOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        head(&mut bytes, 5, b"abc");
        let at = body(&mut bytes, 5, b"the body");
        assert_eq!(&bytes[at..], b"the body");
        let first = Frame::read(&bytes).unwrap().unwrap();
        assert_eq!((first.kind, first.stream), (Kind::Headers, 5));
        assert!(!first.ends_stream());
        let rest = &bytes[first.length()..];
        let second = Frame::read(rest).unwrap().unwrap();
        assert_eq!((second.kind, second.length()), (Kind::Data, rest.len()));
        assert!(second.ends_stream());
        assert!(Frame::read(&rest[..rest.len() - 1]).unwrap().is_none());
    }

    #[test]
    fn the_settings_say_how_many_requests_may_be_open() {
        let settings = [0, 1, 0, 0, 16, 0, 0, 3, 0, 0, 0, 128];
        assert_eq!(streams(&settings), Some(128));
        assert_eq!(streams(&settings[..6]), None);
    }

    #[test]
    fn a_padded_frame_is_refused() {
        assert!(Frame::read(&[0, 0, 1, 0, PADDED, 0, 0, 0, 1, 0]).is_err());
    }
}
