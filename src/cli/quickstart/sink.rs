//! The mail server of `people.test`: it takes every mail, shows it and keeps it in a folder.
//!
//! Just enough SMTP for the gateways of a quickstart on this machine; no mail server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Mails that nobody has looked at yet; more are kept in the folder only.
const NOTED: usize = 64;
/// The largest mail, in bytes.
const LARGEST: u64 = 32 * 1024 * 1024;
const CONNECTIONS: usize = 8;

/// A mail that came.
#[derive(Debug)]
pub(super) struct Caught {
    /// The envelope sender.
    pub(super) from: String,
    /// Header and body.
    pub(super) bytes: Vec<u8>,
    /// Where it is kept.
    pub(super) file: PathBuf,
}

/// A server on its socket.
pub(super) struct Sink {
    listener: TcpListener,
    folder: PathBuf,
    caught: mpsc::Sender<Caught>,
}

impl Sink {
    /// Takes the socket over; mails go into `folder`.
    pub(super) fn new(
        listener: std::net::TcpListener,
        folder: PathBuf,
    ) -> io::Result<(Self, mpsc::Receiver<Caught>)> {
        listener.set_nonblocking(true)?;
        let (caught, came) = mpsc::channel(NOTED);
        let listener = TcpListener::from_std(listener)?;
        let sink = Self {
            listener,
            folder,
            caught,
        };
        Ok((sink, came))
    }

    /// Takes mail until it is stopped.
    pub(super) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = self.connections() => ended,
        }
    }

    async fn connections(&self) -> io::Result<()> {
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        let mut open = JoinSet::new();
        let mut number = 0_u32;
        loop {
            while open.try_join_next().is_some() {}
            let seat = seats.clone().acquire_owned().await;
            let (stream, _) = self.listener.accept().await?;
            number += 1;
            let talk = Talk {
                folder: self.folder.clone(),
                caught: self.caught.clone(),
                number,
            };
            open.spawn(async move {
                let _seat = seat;
                drop(talk.run(stream).await);
            });
        }
    }
}

/// One connection.
struct Talk {
    folder: PathBuf,
    caught: mpsc::Sender<Caught>,
    number: u32,
}

impl Talk {
    async fn run(&self, stream: TcpStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read.take(LARGEST));
        write.write_all(b"220 mail.people.test ESMTP\r\n").await?;
        let (mut from, mut mails, mut line) = (String::new(), 0, String::new());
        loop {
            line.clear();
            if read.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let answer = match word.as_str() {
                "EHLO" => "250-mail.people.test\r\n250 8BITMIME",
                "MAIL" => {
                    let inside = line.split(['<', '>']).nth(1);
                    inside.unwrap_or_default().clone_into(&mut from);
                    "250 2.1.0 fine"
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let bytes = content(&mut read).await?;
                    mails += 1;
                    self.keep(&from, bytes, mails)?;
                    "250 2.0.0 taken"
                }
                "QUIT" => {
                    write.write_all(b"221 2.0.0 bye\r\n").await?;
                    return Ok(());
                }
                _ => "250 2.0.0 fine",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
    }

    fn keep(&self, from: &str, bytes: Vec<u8>, mails: u32) -> io::Result<()> {
        let name = format!("{}-{}-{mails}.eml", std::process::id(), self.number);
        let file = self.folder.join(name);
        std::fs::write(&file, &bytes)?;
        // Full when nobody looks any more.
        drop(self.caught.try_send(Caught {
            from: from.to_owned(),
            bytes,
            file,
        }));
        Ok(())
    }
}

/// The lines until a dot alone.
async fn content(read: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut line = Vec::new();
        if read.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(bytes);
        }
        let stuffed = usize::from(line.starts_with(b"."));
        bytes.extend_from_slice(&line[stuffed..]);
    }
}
