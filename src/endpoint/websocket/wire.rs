//! Frames of RFC 6455 out of bytes: what came is put together here, whatever pieces it came in.
//!
//! Pure: bytes in, events out, no I/O. Promises:
//! - Memory grows with the bytes that came, never with a length that was only announced.
//! - A message has at most `limit` bytes, compressed and expanded; it has so many fragments and no
//!   more.
//! - Whatever breaks the rules ends in a [`Close`] with the code of the RFC.

use bytes::{Buf as _, Bytes, BytesMut};
use soketto::Parsing;
use soketto::base::{Codec, Error as FrameError, Header, OpCode};

use super::close::{self, Close};
use super::deflate::{Deflate, Inflated};

/// One message may come in so many fragments.
const MOST_FRAGMENTS: u32 = 65_536;

/// Which end of the connection this is: clients mask what they send, gateways do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The one that was connected to.
    Server,
    /// The one that connected.
    Client,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole text message: UTF-8.
    Text(Bytes),
    /// A ping with what is to be sent back.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The other side ends the conversation; the answer to send.
    Closed(Close),
}

/// What one frame after the other makes.
#[derive(Debug)]
pub(crate) struct Decoder {
    end: End,
    codec: Codec,
    deflate: Option<Deflate>,
    limit: usize,
    buffer: BytesMut,
    /// The frame whose payload is coming, and how much of it is still to come.
    open: Option<(Header, usize)>,
    message: Message,
    control: BytesMut,
}

/// The message whose fragments are coming.
#[derive(Debug, Default)]
struct Message {
    begun: bool,
    compressed: bool,
    fragments: u32,
    content: Vec<u8>,
}

impl Decoder {
    /// Takes messages of at most `limit` bytes.
    pub(crate) fn new(end: End, deflate: Option<Deflate>, limit: usize) -> Self {
        let mut codec = Codec::new();
        if deflate.is_some() {
            codec.add_reserved_bits((true, false, false));
        }
        Self {
            end,
            codec,
            deflate,
            limit,
            buffer: BytesMut::new(),
            open: None,
            message: Message::default(),
            control: BytesMut::new(),
        }
    }

    /// Takes messages of at most `limit` bytes from now on.
    pub(crate) fn allow(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Where bytes that came are put.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// What is kept of a message that is not whole yet, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.message.content.len()
    }

    /// Whether a message has begun and is not whole yet.
    pub(crate) fn is_amid(&self) -> bool {
        self.message.begun || self.open.is_some()
    }

    /// The next event in what has come; nothing where more must come first.
    ///
    /// # Errors
    /// The rules are broken: the connection ends with this.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Close> {
        loop {
            let (header, left) = match self.open.take() {
                Some(open) => open,
                None => match self.header()? {
                    Some(header) => {
                        let length = header.payload_len();
                        (header, length)
                    }
                    None => return Ok(None),
                },
            };
            let taken = left.min(self.buffer.len());
            let mut piece = self.buffer.split_to(taken);
            unmask(&header, header.payload_len() - left, &mut piece);
            match header.opcode().is_control() {
                true => self.control.extend_from_slice(&piece),
                false => self.message.content.extend_from_slice(&piece),
            }
            if taken < left {
                self.open = Some((header, left - taken));
                return Ok(None);
            }
            let event = match header.opcode().is_control() {
                true => Some(self.control(&header)?),
                false if header.is_fin() => Some(self.whole()?),
                false => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The head of the next frame, if it is there and allowed.
    fn header(&mut self) -> Result<Option<Header>, Close> {
        self.codec.set_max_data_size(self.limit);
        let header = match self.codec.decode_header(&self.buffer) {
            Ok(Parsing::Done { value, offset }) => {
                self.buffer.advance(offset);
                value
            }
            Ok(Parsing::NeedMore(_)) => return Ok(None),
            Err(FrameError::PayloadTooLarge { .. }) => return Err(self.too_big()),
            Err(_) => return Err(close::protocol("the frame is malformed")),
        };
        if header.is_masked() != (self.end == End::Server) {
            return Err(close::protocol("clients mask their frames, servers do not"));
        }
        if header.is_rsv1() && !matches!(header.opcode(), OpCode::Text | OpCode::Binary) {
            return Err(close::protocol(
                "only the first frame says it is compressed",
            ));
        }
        if !header.opcode().is_control() {
            self.begin(&header)?;
        }
        Ok(Some(header))
    }

    /// Judges a frame of data before its payload is taken.
    fn begin(&mut self, header: &Header) -> Result<(), Close> {
        let message = &mut self.message;
        match (header.opcode(), message.begun) {
            (OpCode::Binary, _) => {
                return Err(Close::of(close::UNSUPPORTED, "frames are text, not binary"));
            }
            (OpCode::Continue, false) => {
                return Err(close::protocol("there is no message to continue"));
            }
            (OpCode::Continue, true) => {}
            (_, true) => return Err(close::protocol("the message before is not complete")),
            (_, false) => {
                message.begun = true;
                message.compressed = header.is_rsv1();
            }
        }
        message.fragments += 1;
        if message.fragments > MOST_FRAGMENTS {
            return Err(Close::of(close::POLICY, "too many fragments"));
        }
        if header.payload_len() > self.limit - message.content.len().min(self.limit) {
            return Err(self.too_big());
        }
        Ok(())
    }

    fn whole(&mut self) -> Result<Event, Close> {
        let message = std::mem::take(&mut self.message);
        let content = match (&self.deflate, message.compressed) {
            (Some(deflate), true) => match deflate.expand(message.content, self.limit) {
                Inflated::Whole(content) => content,
                Inflated::TooBig => return Err(self.too_big()),
                Inflated::Broken => {
                    return Err(Close::of(close::DATA, "the compressed data is broken"));
                }
            },
            _ => message.content,
        };
        match String::from_utf8(content) {
            Ok(text) => Ok(Event::Text(text.into())),
            Err(_) => Err(Close::of(close::DATA, "the text is not UTF-8")),
        }
    }

    fn control(&mut self, header: &Header) -> Result<Event, Close> {
        let payload = self.control.split().freeze();
        match header.opcode() {
            OpCode::Ping => Ok(Event::Ping(payload)),
            OpCode::Pong => Ok(Event::Pong),
            _ => close::answer(&payload).map(Event::Closed),
        }
    }

    fn too_big(&self) -> Close {
        let reason = format!("a message has at most {} bytes here", self.limit);
        Close::of(close::TOO_BIG, reason)
    }
}

/// Takes the mask off a piece of a payload that begins `offset` bytes into it.
fn unmask(header: &Header, offset: usize, piece: &mut [u8]) {
    if !header.is_masked() {
        return;
    }
    let mut mask = header.mask().to_be_bytes();
    mask.rotate_left(offset % 4);
    let mut words = piece.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, key) in word.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
