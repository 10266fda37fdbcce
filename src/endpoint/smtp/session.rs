//! One connection of a mail client from its first byte to its last: the dialogue with times and a socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::dialogue::{Dialogue, Reply, Step};
use super::listener::{NAME, Shared, busy};
use super::mailroom::Sent;
use crate::endpoint::proxy_protocol;
use crate::endpoint::seats::Seat;
use crate::telemetry::RefusedConnection;

/// What is read at a time.
const BUFFER: usize = 16 * 1024;
/// After our last byte, the client's are still taken for so long and so far: closing at once would
/// reset the connection and take the reply from a client that is still sending.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;
/// A mail that holds no more than this comes in also while others hold too much.
const SMALL: usize = 256 * 1024;
/// Replies that wait to be sent together take no more than this.
const WAITING: usize = 8 * 1024;

/// Serves one connection.
pub(super) async fn serve(
    shared: Arc<Shared>,
    (mut tcp, peer): (TcpStream, SocketAddr),
    mut seat: Seat,
) {
    match introduced(&shared, &mut tcp, peer, &mut seat).await {
        Ok(client) => {
            let _open = shared.metrics.connection(NAME);
            let mut session = Session::new(&shared, client, Stream::Plain(tcp));
            if let Err(fault) = session.talk().await {
                tracing::debug!(listener = NAME, client.address = %client, error = %fault, "connection lost");
            }
        }
        Err(reason) => {
            shared.metrics.connection_refused(reason);
            if matches!(reason, RefusedConnection::Address | RefusedConnection::Rate) {
                let _ = tcp.try_write(busy().text().as_bytes());
            }
        }
    }
}

/// The client behind the connection, with its seat.
async fn introduced(
    shared: &Shared,
    tcp: &mut TcpStream,
    peer: SocketAddr,
    seat: &mut Seat,
) -> Result<IpAddr, RefusedConnection> {
    let mut client = peer.ip().to_canonical();
    if shared.options.proxy_protocol && shared.options.trusts(client) {
        let reading = proxy_protocol::read_header(tcp);
        let named = shared.clock.within(shared.options.handshake, reading).await;
        let named = named.and_then(Result::ok);
        let named = named.ok_or(RefusedConnection::ProxyHeader)?;
        client = named.map_or(client, |named| named.ip().to_canonical());
    }
    if !shared.options.trusts(client) {
        seat.assign(client)?;
        let paced = shared.connecting.check(client);
        paced.map_err(|_| RefusedConnection::Rate)?;
    }
    Ok(client)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Nothing can be said any more.
    Gone,
}

impl Stream {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer).await,
            Self::Tls(tls) => tls.read(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes).await,
            Self::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => tls.shutdown().await,
            Self::Gone => Ok(()),
        }
    }
}

/// What came of waiting for bytes.
enum Came {
    Bytes(usize),
    Nothing,
    /// It took too long.
    Late,
    Stopped,
}

struct Session<'a> {
    shared: &'a Shared,
    client: IpAddr,
    stream: Stream,
    secured: bool,
    dialogue: Dialogue,
    /// Replies that are not sent yet.
    waiting: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes of mail that are counted as this connection's.
    held: usize,
    /// When the mail that is coming in has to be there.
    due: Option<Duration>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.hold(0);
    }
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, client: IpAddr, stream: Stream) -> Self {
        let (dialogue, greeting) = Dialogue::new(shared.rules.clone());
        Self {
            shared,
            client,
            stream,
            secured: false,
            dialogue,
            waiting: greeting.text().into_bytes(),
            buffer: vec![0; BUFFER],
            held: 0,
            due: None,
        }
    }

    async fn talk(&mut self) -> io::Result<()> {
        if let Some(delay) = self.shared.options.greeting_delay {
            match self.wait(delay).await? {
                Came::Late => {}
                Came::Bytes(_) => {
                    self.waiting.clear();
                    let early = Reply::new(554, "5.5.1", "Wait for the greeting");
                    return self.close(&early).await;
                }
                Came::Nothing => return Ok(()),
                Came::Stopped => return self.close(&going()).await,
            }
        }
        loop {
            match self.dialogue.step() {
                Step::More => {
                    if !self.take_more().await? {
                        return Ok(());
                    }
                }
                Step::Reply(reply) => self.say(&reply).await?,
                Step::Recipient(address) => {
                    let decision = match self.may_bring() {
                        true => self.shared.mailroom.admits(&address).await,
                        false => Err(too_often()),
                    };
                    let reply = self.dialogue.decide(decision);
                    self.say(&reply).await?;
                }
                Step::Mail(mail) => {
                    self.hold(mail.content.len());
                    self.due = None;
                    let sent = Sent {
                        remote: self.client,
                        secured: self.secured,
                        mail: *mail,
                    };
                    let reply = self.shared.mailroom.take(sent).await;
                    let reply = self.dialogue.answer(reply);
                    self.hold(self.dialogue.held());
                    self.say(&reply).await?;
                }
                Step::Secure(reply) => {
                    self.say(&reply).await?;
                    self.secure().await?;
                }
                Step::Close(reply) => return self.close(&reply).await,
            }
        }
    }

    /// Whether the client may bring a mail now: counted with its first recipient, and with each before
    /// one is taken, so that who tries names is bounded too.
    fn may_bring(&self) -> bool {
        self.dialogue.has_recipients()
            || self.shared.options.trusts(self.client)
            || self.shared.bringing.check(self.client).is_ok()
    }

    /// Lets a reply wait until more is read, as replies to pipelined commands do.
    async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        self.waiting.extend_from_slice(reply.text().as_bytes());
        match self.waiting.len() > WAITING {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let sending = self.stream.write(&waiting);
        let sent = self
            .shared
            .clock
            .within(self.shared.options.silence, sending);
        sent.await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads on. Answers whether there is anything to go on with.
    async fn take_more(&mut self) -> io::Result<bool> {
        self.flush().await?;
        let now = self.shared.clock.monotonic();
        let silence = self.shared.options.silence;
        let left = match self.dialogue.receives() {
            false => {
                self.due = None;
                silence
            }
            true => {
                let due = *self.due.get_or_insert(now + self.shared.options.mail);
                due.saturating_sub(now).min(silence)
            }
        };
        match self.wait(left).await? {
            Came::Nothing => return Ok(false),
            Came::Late => {
                let late = Reply::new(421, "4.4.2", "It took too long");
                self.close(&late).await?;
                return Ok(false);
            }
            Came::Stopped => {
                self.close(&going()).await?;
                return Ok(false);
            }
            Came::Bytes(count) => self.dialogue.feed(&self.buffer[..count]),
        }
        // What comes of it may be a mail, which counts from its first byte.
        self.hold(self.dialogue.held() + BUFFER);
        if self.held > SMALL && self.shared.is_full() {
            self.dialogue.no_room();
        }
        Ok(true)
    }

    async fn wait(&mut self, most: Duration) -> io::Result<Came> {
        tokio::select! {
            read = self.stream.read(&mut self.buffer) => Ok(match read? {
                0 => Came::Nothing,
                count => Came::Bytes(count),
            }),
            () = self.shared.stop.cancelled() => Ok(Came::Stopped),
            () = self.shared.clock.wait(most) => Ok(Came::Late),
        }
    }

    /// Counts what of the mail in memory is this connection's.
    fn hold(&mut self, bytes: usize) {
        let held = &self.shared.held;
        match bytes >= self.held {
            true => held.fetch_add(bytes - self.held, Ordering::Relaxed),
            false => held.fetch_sub(self.held - bytes, Ordering::Relaxed),
        };
        self.held = bytes;
    }

    async fn secure(&mut self) -> io::Result<()> {
        self.flush().await?;
        let (Stream::Plain(tcp), Some(acceptor)) = (
            std::mem::replace(&mut self.stream, Stream::Gone),
            &self.shared.tls,
        ) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let shaking = self
            .shared
            .clock
            .within(self.shared.options.handshake, acceptor.accept(tcp));
        let tls = match shaking.await {
            Some(Ok(tls)) => tls,
            Some(Err(_)) | None => {
                let refused = RefusedConnection::Handshake;
                self.shared.metrics.connection_refused(refused);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        };
        self.stream = Stream::Tls(Box::new(tls));
        self.secured = true;
        self.dialogue.secured();
        Ok(())
    }

    /// Sends a last reply and ends the connection so that it arrives.
    async fn close(&mut self, reply: &Reply) -> io::Result<()> {
        self.say(reply).await?;
        self.flush().await?;
        let (stream, buffer) = (&mut self.stream, &mut self.buffer);
        let lingering = async {
            stream.finish().await?;
            let mut read = 0;
            while read < LINGER_BYTES {
                match stream.read(buffer).await? {
                    0 => break,
                    count => read += count,
                }
            }
            io::Result::Ok(())
        };
        let done = self.shared.clock.within(LINGER, lingering).await;
        done.unwrap_or(Ok(()))
    }
}

fn too_often() -> Reply {
    Reply::new(450, "4.7.1", "Too much mail from your address, come again")
}

fn going() -> Reply {
    Reply::new(421, "4.3.2", "The server is going down, come again")
}
