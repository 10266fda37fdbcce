//! What comes on a connection, event after event.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::close::{self, Close};
use super::wire::{Decoder, Event};
use crate::clock::Clock;

/// What is read at once: little of who is idle, more of who is amid a large message.
const LITTLE: usize = 2 * 1024;
const MUCH: usize = 64 * 1024;
/// So much of a message that is coming takes no part in [`Memory`].
const FREE: usize = 64 * 1024;
/// One permit of [`Memory`].
const UNIT: usize = 1024;

/// What messages that are coming may take of memory, over all connections. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Semaphore>);

impl Memory {
    /// So many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }
}

/// Why nothing more comes.
#[derive(Debug)]
pub(crate) enum End {
    /// The rules were broken, or there is no room: close with this.
    Close(Close),
    /// The connection is gone.
    Gone,
}

/// The events of a connection.
pub(crate) struct Source<R> {
    reader: R,
    decoder: Decoder,
    memory: Memory,
    held: Option<OwnedSemaphorePermit>,
    clock: Clock,
    /// When bytes last came.
    moved: Duration,
    /// Since when a message has been coming.
    amid: Option<Duration>,
}

impl<R: AsyncRead + Unpin> Source<R> {
    pub(crate) fn new(reader: R, decoder: Decoder, (memory, clock): (Memory, Clock)) -> Self {
        Self {
            reader,
            decoder,
            memory,
            held: None,
            moved: clock.monotonic(),
            clock,
            amid: None,
        }
    }

    /// When bytes last came.
    pub(crate) const fn moved(&self) -> Duration {
        self.moved
    }

    /// Since when a message has been coming that is not whole yet.
    pub(crate) const fn amid(&self) -> Option<Duration> {
        self.amid
    }

    /// The decoder, to ask and to tell it.
    pub(crate) const fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// An event that is here already.
    ///
    /// # Errors
    /// See [`End`].
    pub(crate) fn ready(&mut self) -> Result<Option<Event>, End> {
        let event = self.decoder.next().map_err(End::Close)?;
        self.account()?;
        self.amid = match self.decoder.is_amid() {
            true if event.is_none() => self.amid.or(Some(self.moved)),
            _ => None,
        };
        Ok(event)
    }

    /// The next event. May be dropped at any time and called again.
    ///
    /// # Errors
    /// See [`End`].
    pub(crate) async fn next(&mut self) -> Result<Event, End> {
        loop {
            if let Some(event) = self.ready()? {
                return Ok(event);
            }
            let amid = self.decoder.is_amid();
            let buffer = self.decoder.buffer();
            if buffer.is_empty() && !amid {
                // What a large message needed is given back.
                *buffer = bytes::BytesMut::new();
            }
            buffer.reserve(if amid { MUCH } else { LITTLE });
            match self.reader.read_buf(buffer).await {
                Ok(1..) => self.moved = self.clock.monotonic(),
                Ok(0) | Err(_) => return Err(End::Gone),
            }
        }
    }

    /// Takes as much of the memory as the message that is coming has.
    fn account(&mut self) -> Result<(), End> {
        let held = self.decoder.held();
        if held <= FREE {
            self.held = None;
            return Ok(());
        }
        let units = held.div_ceil(UNIT);
        let taken = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(units.saturating_sub(taken)).unwrap_or(u32::MAX);
        let more = self.memory.0.clone().try_acquire_many_owned(missing);
        match (more, &mut self.held) {
            (Ok(more), Some(held)) => held.merge(more),
            (Ok(more), held @ None) => *held = Some(more),
            (Err(_), _) => {
                let reason = "too many large messages at a time: come again";
                return Err(End::Close(Close::of(close::LATER, reason)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
