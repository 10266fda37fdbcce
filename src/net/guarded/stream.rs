//! An open connection, as the HTTP client uses it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What is known of a connection for as long as it lives. Clones know the same.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// The address it goes to.
    pub(super) remote: SocketAddr,
    alert: Arc<OnceLock<String>>,
}

impl Reached {
    /// What TLS said after the handshake, where that broke the connection.
    pub(super) fn alert(&self) -> Option<String> {
        self.alert.get().cloned()
    }

    /// Keeps what TLS says. The HTTP client tells of a break without its cause.
    fn note(&self, read: &Poll<io::Result<()>>) {
        if let Poll::Ready(Err(error)) = read
            && let Some(inner) = error.get_ref()
            && let Some(fault) = inner.downcast_ref::<rustls::Error>()
        {
            // The first word counts.
            drop(self.alert.set(format!("{}: {fault}", self.remote)));
        }
    }
}

/// An open connection.
pub(super) struct Stream {
    way: Way,
    reached: Reached,
}

enum Way {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream, remote: SocketAddr) -> Self {
        Self::over(Way::Plain(TokioIo::new(tcp)), remote)
    }

    pub(super) fn tls(tls: TlsStream<TcpStream>, remote: SocketAddr) -> Self {
        Self::over(Way::Tls(Box::new(TokioIo::new(tls))), remote)
    }

    fn over(way: Way, remote: SocketAddr) -> Self {
        let reached = Reached {
            remote,
            alert: Arc::default(),
        };
        Self { way, reached }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.reached.clone());
        match &self.way {
            Way::Tls(tls) if tls.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                connected.negotiated_h2()
            }
            _ => connected,
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { way, reached } = self.get_mut();
        let read = match way {
            Way::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Way::Tls(io) => Pin::new(io).poll_read(context, buffer),
        };
        reached.note(&read);
        read
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().way {
            Way::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Way::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Plain(io) => Pin::new(io).poll_flush(context),
            Way::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Plain(io) => Pin::new(io).poll_shutdown(context),
            Way::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}
