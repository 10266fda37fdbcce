//! The other end of a conversation: what a program of ours uses that talks to a gateway.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

use super::close::{self, Close};
use super::conversation::Manner;
use super::outbox::{Outbox, Rest};
use super::pulse::{Beat, Pulse};
use super::source::{End, Memory, Source};
use super::wire::{Decoder, Event};
use crate::clock::Clock;

/// The largest frame that is taken.
const LARGEST: usize = 64 * 1024 * 1024;
/// Until the gateway says how often both sides show that they live.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long the last frame may take.
const LAST: Duration = Duration::from_secs(2);

/// A client of a gateway.
pub struct Client<S> {
    source: Source<ReadHalf<S>>,
    outbox: Outbox<WriteHalf<S>>,
    pulse: Pulse,
    clock: Clock,
}

/// What a gateway said.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A frame.
    Frame(Value),
    /// It ended the connection.
    Closed {
        /// The code, where it gave one.
        code: Option<u16>,
        /// The reason, which may be empty.
        reason: String,
    },
    /// The connection is lost.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client on a connection whose handshake is done.
    pub fn new(stream: S, manner: Manner, clock: Clock) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let decoder = Decoder::new(manner.end, manner.deflate, LARGEST);
        let memory = (Memory::new(2 * LARGEST), clock.clone());
        Self {
            source: Source::new(reader, decoder, memory),
            outbox: Outbox::new(writer, manner.end, manner.deflate, clock.clone()),
            pulse: Pulse::new(HEARTBEAT, clock.monotonic()),
            clock,
        }
    }

    /// Says something; it leaves while [`Client::hear`] waits.
    pub fn say(&mut self, frame: &Value) {
        self.outbox.text(frame.to_string());
    }

    /// Both sides show so often that they live.
    pub fn beat_every(&mut self, heartbeat: Duration) {
        self.pulse = Pulse::new(heartbeat, self.clock.monotonic());
    }

    /// Waits for the next frame, and sends what was said meanwhile. May be dropped at any time and
    /// called again.
    pub async fn hear(&mut self) -> Heard {
        loop {
            let now = self.clock.monotonic();
            self.pulse.heard(self.source.moved());
            match self.pulse.beat(now) {
                Beat::Dead => return Heard::Gone,
                Beat::Ping => self.outbox.ping(),
                Beat::Rest => {}
            }
            let wait = self.pulse.due().saturating_sub(now);
            let came = tokio::select! {
                written = self.outbox.drain(), if !self.outbox.is_empty() => match written {
                    Ok(()) => continue,
                    Err(_) => return Heard::Gone,
                },
                came = self.source.next() => came,
                () = self.clock.wait(wait) => continue,
            };
            match came {
                Ok(Event::Text(text)) => match serde_json::from_slice(&text) {
                    Ok(frame) => return Heard::Frame(frame),
                    Err(_) => return self.leave(Close::of(close::DATA, "no JSON")).await,
                },
                Ok(Event::Ping(payload)) => self.outbox.pong(payload),
                Ok(Event::Pong) => {}
                Ok(Event::Closed(answer)) => {
                    let heard = Heard::Closed {
                        code: answer.code,
                        reason: answer.reason.clone().into_owned(),
                    };
                    self.leave(answer).await;
                    return heard;
                }
                Err(End::Close(close)) => return self.leave(close).await,
                Err(End::Gone) => return Heard::Gone,
            }
        }
    }

    /// Ends the connection for good.
    pub async fn close(mut self) {
        self.leave(Close::of(1000, "")).await;
    }

    async fn leave(&mut self, close: Close) -> Heard {
        self.outbox.close(&close, Rest::Written);
        let goodbye = async {
            if self.outbox.drain().await.is_ok() {
                drop(self.outbox.shutdown().await);
            }
        };
        self.clock.within(LAST, goodbye).await;
        Heard::Gone
    }
}
