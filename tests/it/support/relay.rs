//! A long way between two ends: a TCP relay that delays every byte by a fixed time, and can be cut.
//!
//! - Each direction is a queue of what was read and when it is due, so the delay does not limit the
//!   throughput. A queue holds 256 MiB; then the sender waits.
//! - Opening a connection takes a round trip, as over a real distance. The end of a stream travels
//!   as its bytes do.
//! - A cut holds everything where it is, as TCP does while a link is down; restored, it goes on.

#![allow(
    clippy::disallowed_methods,
    reason = "the distance is made of real time"
)]

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::background::{self, Task};

/// How much one direction holds, in bytes.
const QUEUE: usize = 256 << 20;
const CHUNK: usize = 128 << 10;

/// A running relay. Its connections end with it.
pub struct DelayRelay {
    address: SocketAddr,
    link: watch::Sender<bool>,
    _task: Task,
}

impl DelayRelay {
    /// Relays from `listen` (port 0 takes a free one) to `to`, with this delay each way.
    pub fn start(listen: SocketAddr, to: SocketAddr, delay: Duration) -> Self {
        let listener = StdListener::bind(listen)
            .unwrap_or_else(|error| panic!("cannot listen on {listen}: {error}"));
        let address = listener.local_addr().unwrap();
        let (link, up) = watch::channel(true);
        let listener = background::adopt(listener);
        Self {
            address,
            link,
            _task: background::run(serve(listener, to, Way { delay, up })),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through any more.
    pub fn cut(&self) {
        self.link.send_replace(false);
    }

    /// Lets everything through again, first what was held.
    pub fn restore(&self) {
        self.link.send_replace(true);
    }
}

/// The distance itself.
#[derive(Clone)]
struct Way {
    delay: Duration,
    up: watch::Receiver<bool>,
}

impl Way {
    /// Waits while the link is cut.
    async fn open(&mut self) {
        drop(self.up.wait_for(|up| *up).await);
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, way: Way) {
    let mut open = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else {
            continue;
        };
        let way = way.clone();
        open.spawn(async move { drop(join(near, to, way).await) });
        while open.try_join_next().is_some() {}
    }
}

async fn join(near: TcpStream, to: SocketAddr, mut way: Way) -> io::Result<()> {
    sleep(way.delay).await;
    way.open().await;
    let far = TcpStream::connect(to).await?;
    sleep(way.delay).await;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_reader, near_writer) = near.into_split();
    let (far_reader, far_writer) = far.into_split();
    let there = carry(near_reader, far_writer, way.clone());
    let back = carry(far_reader, near_writer, way);
    tokio::try_join!(there, back)?;
    Ok(())
}

/// One direction, until its end has arrived or the connection is broken.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, way: Way) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(QUEUE));
    let (queue, due) = mpsc::unbounded_channel();
    let taking = take(from, queue, Arc::clone(&room), way.delay);
    let giving = give(to, due, room, way);
    tokio::try_join!(taking, giving)?;
    Ok(())
}

type Queued = (Instant, Bytes);

async fn take(
    mut from: OwnedReadHalf,
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    delay: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        let part = Bytes::copy_from_slice(&buffer[..length]);
        let due = Instant::now() + delay;
        let wanted = u32::try_from(length).expect("a chunk is small");
        let permit = room.acquire_many(wanted).await.map_err(io::Error::other)?;
        permit.forget();
        // Nothing read is the end, and travels too.
        if queue.send((due, part)).is_err() || length == 0 {
            return Ok(());
        }
    }
}

async fn give(
    mut to: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Queued>,
    room: Arc<Semaphore>,
    mut way: Way,
) -> io::Result<()> {
    while let Some((due, part)) = queue.recv().await {
        sleep_until(due).await;
        way.open().await;
        if part.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&part).await?;
        room.add_permits(part.len());
    }
    Ok(())
}
