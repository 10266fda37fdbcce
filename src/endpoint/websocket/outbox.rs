//! What waits to be written to a connection, in order.
//!
//! Writing can be left at any point and taken up again: nothing is lost and no frame is torn. Who
//! fills it looks at how much waits; it has no limit of its own.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use soketto::base::{Codec, Header, OpCode};
use tokio::io::AsyncWrite;
use uuid::Uuid;

use super::close::Close;
use super::deflate::Deflate;
use super::wire::End;
use crate::clock::Clock;

/// At most so much is offered at once: a slow reader shows that it reads at all.
const PIECE: usize = 16 * 1024;

/// What waits to be written.
pub(crate) struct Outbox<W> {
    writer: W,
    end: End,
    codec: Codec,
    deflate: Option<Deflate>,
    clock: Clock,
    waiting: VecDeque<Bytes>,
    /// Bytes of all that waits.
    bytes: usize,
    /// Entries of the frame that was begun to be written.
    begun: usize,
    /// Whether the writer may hold what it was given.
    unflushed: bool,
    /// Whether a pong waits: one answers all pings.
    pong: Option<Bytes>,
    /// When the other side last took something, or had taken all.
    moved: Duration,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(crate) fn new(writer: W, end: End, deflate: Option<Deflate>, clock: Clock) -> Self {
        Self {
            writer,
            end,
            codec: Codec::new(),
            deflate,
            moved: clock.monotonic(),
            clock,
            waiting: VecDeque::new(),
            bytes: 0,
            begun: 0,
            unflushed: false,
            pong: None,
        }
    }

    /// Adds a text message.
    pub(crate) fn text(&mut self, text: String) {
        let packed = self.deflate.and_then(|it| it.compress(text.as_bytes()));
        let mut header = Header::new(OpCode::Text);
        header.set_rsv1(packed.is_some());
        self.frame(header, packed.unwrap_or_else(|| text.into_bytes()));
    }

    /// Adds a ping.
    pub(crate) fn ping(&mut self) {
        self.frame(Header::new(OpCode::Ping), b"amtp".to_vec());
    }

    /// Answers a ping. Of pings that came before the answer left only the last is answered.
    pub(crate) fn pong(&mut self, payload: Bytes) {
        self.pong = Some(payload);
        if self.waiting.is_empty() {
            self.place_pong();
        }
    }

    /// Adds the last frame; what waits is given up but for what was begun.
    pub(crate) fn close(&mut self, close: &Close, rest: Rest) {
        if rest == Rest::GivenUp {
            self.waiting.truncate(self.begun);
            self.bytes = self.waiting.iter().map(Bytes::len).sum();
        }
        self.frame(Header::new(OpCode::Close), close.payload());
    }

    /// Bytes that wait.
    pub(crate) const fn waiting(&self) -> usize {
        self.bytes
    }

    /// Whether all was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.unflushed && self.pong.is_none()
    }

    /// Since when the other side has taken nothing of what waits.
    pub(crate) const fn moved(&self) -> Duration {
        self.moved
    }

    /// Writes what waits. May be dropped at any time and called again.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_drain(context)).await
    }

    /// Ends the connection.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| Pin::new(&mut self.writer).poll_shutdown(context)).await
    }

    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(front) = self.waiting.front_mut() else {
                if self.pong.is_some() {
                    self.place_pong();
                    continue;
                }
                ready!(Pin::new(&mut self.writer).poll_flush(context))?;
                self.unflushed = false;
                return Poll::Ready(Ok(()));
            };
            if front.is_empty() {
                self.waiting.pop_front();
                self.begun = self.begun.saturating_sub(1);
                self.place_pong();
                continue;
            }
            let piece = &front[..front.len().min(PIECE)];
            let written = ready!(Pin::new(&mut self.writer).poll_write(context, piece))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let _ = front.split_to(written);
            // A header and its payload.
            self.begun = match self.begun {
                0 => 2,
                begun => begun,
            };
            self.bytes -= written;
            self.unflushed = true;
            self.moved = self.clock.monotonic();
        }
    }

    /// Puts the pong before what was not begun.
    fn place_pong(&mut self) {
        if self.begun > 0 {
            return;
        }
        if let Some(payload) = self.pong.take() {
            let behind = std::mem::take(&mut self.waiting);
            self.frame(Header::new(OpCode::Pong), payload.to_vec());
            self.waiting.extend(behind);
        }
    }

    /// Adds a frame: its header and its payload, each an entry.
    fn frame(&mut self, mut header: Header, mut payload: Vec<u8>) {
        if self.is_empty() {
            self.moved = self.clock.monotonic();
        }
        header.set_payload_len(payload.len());
        if self.end == End::Client {
            let random = Uuid::new_v4().into_bytes();
            header.set_masked(true);
            header.set_mask(u32::from_be_bytes([
                random[0], random[1], random[2], random[3],
            ]));
            Codec::apply_mask(&header, &mut payload);
        }
        let head = Bytes::copy_from_slice(self.codec.encode_header(&header));
        self.bytes += head.len() + payload.len();
        self.waiting.push_back(head);
        self.waiting.push_back(payload.into());
    }
}

/// What becomes of what waits when the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It is written first.
    Written,
    /// It is not written any more.
    GivenUp,
}

#[cfg(test)]
mod tests;
