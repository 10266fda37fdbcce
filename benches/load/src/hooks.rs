//! Webhooks that answer at once, and check what they get: each message once, each lane in order.
//!
//! Plain HTTP/1.1 by hand, because they share the machine with what is measured. A gate can keep
//! all answers back until a queue is full.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{now, pause};
use crate::h2::{Mark, find};
use crate::ledger::Found;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// How long nothing may arrive.
const STALLED: Duration = Duration::from_secs(30);

/// Running webhooks, each with a port of its own. They end with this value.
pub(crate) struct Hooks {
    targets: Vec<String>,
    shared: Arc<Shared>,
    gate: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    found: Mutex<Found>,
    fault: Mutex<Option<String>>,
}

impl Hooks {
    pub(crate) async fn start(count: usize) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (gate, is_open) = watch::channel(true);
        let mut tasks = JoinSet::new();
        let mut targets = Vec::new();
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            targets.push(format!("http://{}/in", listener.local_addr()?));
            tasks.spawn(serve(listener, shared.clone(), is_open.clone()));
        }
        Ok(Self {
            targets,
            shared,
            gate,
            _tasks: tasks,
        })
    }

    pub(crate) fn targets(&self) -> &[String] {
        &self.targets
    }

    /// Whether answers are given.
    pub(crate) fn open(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// How many messages came.
    pub(crate) fn total(&self) -> u64 {
        lock(&self.shared.found).total()
    }

    /// Waits until so many messages came in all.
    ///
    /// # Errors
    ///
    /// When something came twice or out of order, or nothing comes any more.
    pub(crate) async fn arrived(&self, wanted: u64) -> Result<()> {
        let (mut most, mut since) = (0, now());
        loop {
            self.fault()?;
            let total = self.total();
            if total >= wanted {
                return Ok(());
            }
            if total > most {
                (most, since) = (total, now());
            }
            ensure!(
                since.elapsed() < STALLED,
                "{total} of {wanted} messages came to the webhooks, and no more for {} s",
                STALLED.as_secs()
            );
            pause(1).await;
        }
    }

    fn fault(&self) -> Result<()> {
        match lock(&self.shared.fault).as_ref() {
            Some(fault) => bail!("at a webhook: {fault}"),
            None => Ok(()),
        }
    }

    /// What came is exactly this.
    pub(crate) fn check(&self, ledger: &crate::ledger::Ledger) -> Result<()> {
        self.fault()?;
        ledger.compare(&lock(&self.shared.found))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, gate: watch::Receiver<bool>) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, gate) = (shared.clone(), gate.clone());
        open.spawn(async move {
            if let Err(error) = converse(stream, &shared, gate).await {
                lock(&shared.fault).get_or_insert(format!("{error:#}"));
            }
        });
        while open.try_join_next().is_some() {}
    }
}

async fn converse(
    mut stream: TcpStream,
    shared: &Shared,
    mut gate: watch::Receiver<bool>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(16 << 10);
    loop {
        // A gateway that ends or is killed breaks its connections.
        match stream.read_buf(&mut input).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        while let Some((length, mark)) = request(&input)? {
            if gate.wait_for(|open| *open).await.is_err() {
                return Ok(());
            }
            lock(&shared.found).take(mark)?;
            if stream.write_all(ANSWER).await.is_err() {
                return Ok(());
            }
            input.drain(..length);
        }
    }
}

/// The length of the request these bytes begin with, and its mark, if all of it is there.
fn request(input: &[u8]) -> Result<Option<(usize, Mark)>> {
    let Some(end) = input.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut length = None;
    for line in input[..end].split(|byte| *byte == b'\n') {
        let name = b"content-length:";
        if line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name) {
            length = Some(
                std::str::from_utf8(&line[name.len()..])?
                    .trim()
                    .parse::<usize>()?,
            );
        }
    }
    let Some(length) = length else {
        bail!("a request has no length");
    };
    let Some(body) = input.get(end + 4..end + 4 + length) else {
        return Ok(None);
    };
    let mark = find(body).and_then(|at| Mark::read(&body[at..]));
    match mark {
        Some(mark) => Ok(Some((end + 4 + length, mark))),
        None => bail!("a message has no mark"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::MARK;

    #[test]
    fn a_request_is_read_when_all_of_it_is_there() {
        let body = format!("{{{MARK}}}");
        let text = format!(
            "POST /in HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}POST",
            body.len()
        );
        let bytes = text.as_bytes();
        let (length, mark) = request(bytes).unwrap().unwrap();
        assert_eq!(&bytes[length..], b"POST");
        assert_eq!((mark.run, mark.lane, mark.number), (0, 0, 0));
        assert!(request(&bytes[..length - 1]).unwrap().is_none());
        assert!(request(b"POST / HTTP/1.1\r\n\r\n").is_err());
    }
}
