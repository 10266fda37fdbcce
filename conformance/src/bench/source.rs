//! Sends mails to the gateway under test, saying exactly what a test says.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection to a mail server.
pub(crate) struct Source {
    stream: BufReader<TcpStream>,
    patience: Duration,
}

impl Source {
    /// Connects, takes the greeting and says EHLO.
    pub(crate) async fn greeted(server: SocketAddr, patience: Duration) -> Result<Self> {
        let mut source = Self {
            stream: BufReader::new(super::connect(server).await?),
            patience,
        };
        let greeting = source.reply().await?;
        ensure!(greeting.starts_with("220"), "greeted by {greeting:?}");
        let hello = source.say("EHLO client.bench\r\n").await?;
        ensure!(hello.starts_with("250"), "EHLO is answered {hello:?}");
        Ok(source)
    }

    /// The last line of the next reply.
    async fn reply(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            let read = tokio::time::timeout(self.patience, read).await;
            ensure!(read.context("no reply")?? > 0, "the connection has ended");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }

    /// Sends a line and gives the reply.
    pub(crate) async fn say(&mut self, text: &str) -> Result<String> {
        self.stream.get_mut().write_all(text.as_bytes()).await?;
        self.reply().await
    }

    /// Sends a mail; gives the reply that ends it, which is that of the first command refused.
    pub(crate) async fn mail(&mut self, from: &str, to: &str, mail: &str) -> Result<String> {
        for command in [
            format!("MAIL FROM:<{from}>\r\n"),
            format!("RCPT TO:<{to}>\r\n"),
        ] {
            let reply = self.say(&command).await?;
            if !reply.starts_with("250") {
                return Ok(reply);
            }
        }
        let reply = self.say("DATA\r\n").await?;
        if !reply.starts_with("354") {
            return Ok(reply);
        }
        let stuffed = mail.replace("\r\n.", "\r\n..");
        self.say(&format!("{}\r\n.\r\n", stuffed.trim_end())).await
    }
}
