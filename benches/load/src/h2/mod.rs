//! A client of HTTP/2 that costs next to nothing, because it shares the machine with what it measures.
//!
//! - A request is written once and then copied: head (all of it from the tables of HPACK after its
//!   first use), body, and a mark in the body that tells the messages apart.
//! - All that one read from the socket allows to be sent goes out in one write.
//! - Of an answer only the status is read; the body only when the status is not the one wanted.
//!
//! One value is one connection and one sequence of reads; requests are bound to slots of the caller.

mod frame;
mod head;
mod mark;

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use frame::{Frame, Kind};
use head::{Heads, status};
pub(crate) use mark::{MARK, Mark, find};

use crate::client::tls;

const READ: usize = 64 << 10;

/// A request that is sent many times, each time with another mark.
pub(crate) struct Template {
    authorization: String,
    body: Vec<u8>,
    /// Where the mark stands in the body.
    mark: usize,
    /// The head as it was encoded last, and for which state of the table.
    head: (usize, Vec<u8>),
}

impl Template {
    /// The body has a mark somewhere, which each request replaces by its own.
    pub(crate) fn new(authorization: &str, body: Vec<u8>) -> Result<Self> {
        let Some(mark) = find(&body) else {
            bail!("the body has no mark");
        };
        ensure!(body.len() <= 16_000, "the body does not fit into one frame");
        Ok(Self {
            authorization: authorization.to_owned(),
            body,
            mark,
            head: (usize::MAX, Vec::new()),
        })
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }
}

/// A connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    input: Vec<u8>,
    /// What of the input is not read yet starts here.
    start: usize,
    output: Vec<u8>,
    heads: Heads,
    next_stream: u32,
    /// Bytes of bodies the server takes at present, and requests at a time.
    window: i64,
    streams: usize,
    /// Bytes of bodies we got and did not give back yet.
    taken: u32,
    open: HashMap<u32, usize>,
    wanted: u16,
    refused: Option<(u32, u16, Vec<u8>)>,
}

impl Connection {
    /// Opens one; every answer must have the status `wanted`.
    pub(crate) async fn open(
        roots: &RootCertStore,
        server: std::net::SocketAddr,
        wanted: u16,
    ) -> Result<Self> {
        let mut connection = Self {
            stream: tls(roots, server, b"h2").await?,
            input: Vec::with_capacity(READ),
            start: 0,
            output: Vec::with_capacity(READ),
            heads: Heads::default(),
            next_stream: 1,
            window: 65_535,
            streams: usize::MAX,
            taken: 0,
            open: HashMap::new(),
            wanted,
            refused: None,
        };
        frame::preface(&mut connection.output);
        connection.flush().await?;
        // The server's settings and window: what it allows counts from the first request on.
        connection.receive(&mut Vec::new()).await?;
        connection.flush().await?;
        Ok(connection)
    }

    /// Requests without an answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Writes a request of this slot with this mark. False if the server takes no more at present:
    /// then nothing is written.
    pub(crate) fn send(&mut self, template: &mut Template, mark: &Mark, slot: usize) -> bool {
        let length = template.body.len();
        let Ok(bytes) = i64::try_from(length) else {
            return false;
        };
        if bytes > self.window || self.open.len() >= self.streams {
            return false;
        }
        self.window -= bytes;
        if template.head.0 != self.heads.generation() {
            template.head.1.clear();
            self.heads
                .encode(&template.authorization, length, &mut template.head.1);
            frame::head(&mut self.output, self.next_stream, &template.head.1);
            // What was put into the table by this request is shorter from the next one on.
            template.head.1.clear();
            self.heads
                .encode(&template.authorization, length, &mut template.head.1);
            template.head.0 = self.heads.generation();
        } else {
            frame::head(&mut self.output, self.next_stream, &template.head.1);
        }
        let at = frame::body(&mut self.output, self.next_stream, &template.body);
        mark.write(&mut self.output[at + template.mark..]);
        self.open.insert(self.next_stream, slot);
        self.next_stream += 2;
        true
    }

    /// Sends what was written.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await?;
            self.output.clear();
        }
        Ok(())
    }

    /// Waits for input and adds the slots whose answers are complete. Nothing is lost when the
    /// future is dropped.
    ///
    /// # Errors
    ///
    /// Where the connection ended, or an answer was not the one wanted.
    pub(crate) async fn receive(&mut self, done: &mut Vec<usize>) -> Result<()> {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        self.input.reserve(READ);
        let length = self.stream.read_buf(&mut self.input).await?;
        ensure!(length > 0, "the server closed the connection");
        while let Some(frame) = Frame::read(&self.input[self.start..])? {
            let payload = self.start + frame::HEAD..self.start + frame.length();
            self.start = payload.end;
            self.take(&frame, payload, done)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        frame: &Frame,
        payload: std::ops::Range<usize>,
        done: &mut Vec<usize>,
    ) -> Result<()> {
        let payload = &self.input[payload];
        match frame.kind {
            Kind::Headers => {
                let status = status(payload)?;
                if status != self.wanted {
                    self.refused = Some((frame.stream, status, Vec::new()));
                }
            }
            Kind::Data => {
                if let Some((stream, _, text)) = &mut self.refused
                    && *stream == frame.stream
                {
                    text.extend_from_slice(payload);
                }
                self.taken += u32::try_from(payload.len())?;
                if self.taken > 1 << 28 {
                    frame::window(&mut self.output, self.taken);
                    self.taken = 0;
                }
            }
            Kind::Reset => bail!("the server reset a request"),
            Kind::GoAway => bail!("the server ends the connection"),
            Kind::Settings if !frame.is_ack() => {
                if let Some(streams) = frame::streams(payload) {
                    self.streams = usize::try_from(streams)?;
                }
                frame::settings_ack(&mut self.output);
            }
            Kind::Ping if !frame.is_ack() => frame::pong(&mut self.output, payload),
            Kind::Window if frame.stream == 0 => self.window += frame::increment(payload)?,
            Kind::Settings | Kind::Ping | Kind::Window | Kind::Other => {}
        }
        if frame.ends_stream() {
            if let Some((stream, status, text)) = &self.refused
                && *stream == frame.stream
            {
                bail!("{status}: {}", String::from_utf8_lossy(text));
            }
            done.extend(self.open.remove(&frame.stream));
        }
        Ok(())
    }
}
