//! A mail server that takes every mail, and refuses those a test wants refused.
//!
//! A recipient whose name begins with `refused` is refused for good (550 5.1.1), one with `later` is
//! asked to come again the first time (451).

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What came, and whom it told to come again.
#[derive(Default)]
pub(crate) struct Sink {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    deferred: HashSet<String>,
}

/// A mail that came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    /// The return path.
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Header and body.
    pub(crate) text: String,
}

impl Mail {
    /// The first field of this name in its header, put on one line.
    pub(crate) fn field(&self, name: &str) -> String {
        let header = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut fields = header.split("\r\n").filter_map(|line| line.split_once(':'));
        let found = fields.find(|(it, _)| it.eq_ignore_ascii_case(name));
        found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    }
}

impl Sink {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mails for a domain, as soon as there are so many.
    pub(crate) async fn mails(
        &self,
        domain: &str,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Mail>> {
        let wait = async {
            loop {
                let came = self.came.notified();
                let mails = self.mails_of(domain);
                if mails.len() >= count {
                    return mails;
                }
                came.await;
            }
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(mails) => Ok(mails),
            Err(_) => bail!(
                "{} mails for {domain} in {} s; awaited: {count}",
                self.mails_of(domain).len(),
                patience.as_secs()
            ),
        }
    }

    /// The mails for a domain so far.
    pub(crate) fn mails_of(&self, domain: &str) -> Vec<Mail> {
        let ending = format!("@{domain}");
        let all = self.state();
        let of = |mail: &&Mail| mail.to.iter().any(|to| to.ends_with(&ending));
        all.mails.iter().filter(of).cloned().collect()
    }

    pub(super) async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let sink = Arc::clone(&self);
            open.spawn(async move {
                // A connection that breaks shows as a mail that did not come.
                let _ = sink.talk(stream).await;
            });
            while open.try_join_next().is_some() {}
        }
    }

    async fn talk(&self, stream: TcpStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        write.write_all(b"220 mail.bench ESMTP\r\n").await?;
        let (mut mail, mut line) = (Mail::default(), String::new());
        loop {
            line.clear();
            if read.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let inside = line.split(['<', '>']).nth(1).unwrap_or_default();
            let answer = match word.as_str() {
                "EHLO" => "250-mail.bench\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES",
                "MAIL" => {
                    mail = Mail::default();
                    inside.clone_into(&mut mail.from);
                    "250 2.1.0 fine"
                }
                "RCPT" => self.rcpt(inside, &mut mail),
                "DATA" if mail.to.is_empty() => "503 5.5.1 nobody to take it",
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    mail.text = content(&mut read).await?;
                    self.state().mails.push(std::mem::take(&mut mail));
                    self.came.notify_waiters();
                    "250 2.0.0 taken"
                }
                "QUIT" => {
                    write.write_all(b"221 2.0.0 bye\r\n").await?;
                    return Ok(());
                }
                "STAR" => "502 5.5.1 no TLS here",
                _ => "250 2.0.0 fine",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
    }

    fn rcpt(&self, to: &str, mail: &mut Mail) -> &'static str {
        if to.starts_with("refused") {
            return "550 5.1.1 no such user";
        }
        if to.starts_with("later") && self.state().deferred.insert(to.to_owned()) {
            return "451 4.7.1 come again";
        }
        mail.to.push(to.to_owned());
        "250 2.1.5 fine"
    }
}

/// The lines until a dot alone.
async fn content(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let mut line = Vec::new();
        if read.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        let stuffed = usize::from(line.starts_with(b"."));
        bytes.extend_from_slice(&line[stuffed..]);
    }
}
