//! A long way on one machine: a TCP relay that delays every byte by a fixed time.
//!
//! Each direction is a queue of what was read and when it is due, so the delay does not limit the
//! throughput. Opening a connection takes a round trip, as over a real distance.
#![allow(
    clippy::disallowed_methods,
    reason = "the distance is made of real time, and outside the gateways"
)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

const CHUNK: usize = 128 << 10;

/// A running relay. It takes no more connections after its end, and those it has end too.
pub(crate) struct Relay {
    address: SocketAddr,
    task: AbortHandle,
}

impl Relay {
    /// Relays from a free port to `to`, with this delay each way.
    pub(crate) async fn start(to: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self {
            address: listener.local_addr()?,
            task: tokio::spawn(serve(listener, to, delay)).abort_handle(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, delay: Duration) {
    let mut open = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        open.spawn(async move { drop(join(near, to, delay).await) });
        while open.try_join_next().is_some() {}
    }
}

async fn join(near: TcpStream, to: SocketAddr, delay: Duration) -> io::Result<()> {
    sleep(delay).await;
    let far = TcpStream::connect(to).await?;
    sleep(delay).await;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_reader, near_writer) = near.into_split();
    let (far_reader, far_writer) = far.into_split();
    tokio::try_join!(
        carry(near_reader, far_writer, delay),
        carry(far_reader, near_writer, delay)
    )?;
    Ok(())
}

/// One direction, until its end has arrived or the connection is broken.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, delay: Duration) -> io::Result<()> {
    let (queue, due) = mpsc::unbounded_channel();
    tokio::try_join!(take(from, queue, delay), give(to, due))?;
    Ok(())
}

/// When something arrives (at once if not said), and what; nothing is the end.
type Queued = (Option<Instant>, Bytes);

async fn take(
    mut from: OwnedReadHalf,
    queue: mpsc::UnboundedSender<Queued>,
    delay: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        let part = Bytes::copy_from_slice(&buffer[..length]);
        // The timer rounds up to a millisecond: without a delay there is none to wait for.
        let due = (!delay.is_zero()).then(|| Instant::now() + delay);
        if queue.send((due, part)).is_err() || length == 0 {
            return Ok(());
        }
    }
}

async fn give(
    mut to: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Queued>,
) -> io::Result<()> {
    while let Some((due, part)) = queue.recv().await {
        if let Some(due) = due {
            sleep_until(due).await;
        }
        if part.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&part).await?;
    }
    Ok(())
}
