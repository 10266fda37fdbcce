//! A mail server that greeted us: connected, protected as it must be, logged in.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::dialogue::{Dialogue, Fault, Line, Sending};
use super::reply::Reply;
use super::route::{Protection, Stop};
use super::{MailTransport, Step};
use crate::net::MailCertificate;
use crate::transport::text::clean;

/// Why a server cannot be used, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreached(pub(super) String);

/// How far it came with one address.
enum Missed {
    /// The handshake failed: without TLS it may go.
    Handshake(String),
    Other(String),
}

/// A server that takes mail.
pub(super) struct Connection {
    dialogue: Dialogue<Box<dyn Line>>,
    host: String,
    remote: SocketAddr,
}

impl Connection {
    /// As it is named in texts.
    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.host, self.remote.ip())
    }

    pub(super) const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Hands over one mail to one recipient.
    pub(super) async fn send(&mut self, sending: &Sending<'_>) -> Result<Reply, Fault> {
        self.dialogue.send(sending).await
    }

    /// Forgets a transaction; says whether the connection can be used on.
    pub(super) async fn reset(&mut self) -> bool {
        self.dialogue.reset().await.is_ok()
    }

    pub(super) async fn quit(self) {
        self.dialogue.quit().await;
    }
}

impl MailTransport {
    /// Reaches a server at one of its addresses.
    pub(super) async fn reach(&self, stop: &Stop) -> Result<Connection, Unreached> {
        let addresses = self.lines.addresses(&stop.host).await;
        let addresses = addresses.map_err(|fault| Unreached(clean(&fault.to_string(), 300)))?;
        let mut last = String::new();
        for address in addresses {
            let remote = SocketAddr::new(address, stop.port);
            let mut reached = self.reach_at(stop, remote, stop.protection).await;
            if let Err(Missed::Handshake(cause)) = &reached
                && stop.protection == Protection::Offered
            {
                tracing::info!(server = %remote, error = cause, "mail goes without TLS");
                reached = self.reach_at(stop, remote, Protection::None).await;
            }
            match reached {
                Ok(dialogue) => {
                    return Ok(Connection {
                        dialogue,
                        host: stop.host.clone(),
                        remote,
                    });
                }
                Err(Missed::Handshake(cause) | Missed::Other(cause)) => last = cause,
            }
        }
        Err(Unreached(clean(&last, 300)))
    }

    async fn reach_at(
        &self,
        stop: &Stop,
        remote: SocketAddr,
        protection: Protection,
    ) -> Result<Dialogue<Box<dyn Line>>, Missed> {
        let tcp = self.lines.connect(&stop.host, remote).await;
        let tcp = tcp.map_err(|fault| Missed::Other(fault.to_string()))?;
        let said = |fault: Fault| Missed::Other(words(&stop.host, remote, &fault));
        if protection == Protection::Implicit {
            let tls = self.encrypted(tcp, stop, protection).await?;
            let mut dialogue = Dialogue::over(tls, self.clock.clone());
            dialogue.greeting().await.map_err(said)?;
            return self.ready(dialogue, stop, said).await;
        }
        let host = self.settings.host.as_str();
        let mut plain = Dialogue::over(tcp, self.clock.clone());
        plain.greeting().await.map_err(said)?;
        plain.hello(host).await.map_err(said)?;
        let offered = plain.able.start_tls;
        match protection {
            Protection::Demanded if !offered => {
                let text = format!("{} ({remote}) offers no TLS, which it must", stop.host);
                return Err(Missed::Other(text));
            }
            Protection::Demanded | Protection::Offered if offered => {}
            _ => return Ok(plain.boxed()),
        }
        let tcp = plain.start_tls().await.map_err(said)?;
        let tls = self.encrypted(tcp, stop, protection).await?;
        let dialogue = Dialogue::over(tls, self.clock.clone());
        self.ready(dialogue, stop, said).await
    }

    async fn encrypted(
        &self,
        tcp: TcpStream,
        stop: &Stop,
        protection: Protection,
    ) -> Result<Box<dyn Line>, Missed> {
        let certificate = match protection {
            Protection::Demanded | Protection::Implicit => MailCertificate::Valid,
            Protection::None | Protection::Offered => MailCertificate::Any,
        };
        match self.lines.encrypt(tcp, (&stop.host, certificate)).await {
            Ok(tls) => Ok(Box::new(tls)),
            Err(fault) => Err(Missed::Handshake(fault.to_string())),
        }
    }

    /// Introduces us over a protected connection, and logs in.
    async fn ready(
        &self,
        mut dialogue: Dialogue<Box<dyn Line>>,
        stop: &Stop,
        said: impl Fn(Fault) -> Missed,
    ) -> Result<Dialogue<Box<dyn Line>>, Missed> {
        let host = self.settings.host.as_str();
        dialogue.hello(host).await.map_err(&said)?;
        if let Some(login) = &stop.login {
            let logged_in = dialogue.log_in(&login.user, login.password.reveal()).await;
            logged_in.map_err(&said)?;
        }
        Ok(dialogue)
    }
}

fn words(host: &str, remote: SocketAddr, fault: &Fault) -> String {
    let server = format!("{host} ({remote})");
    match fault {
        Fault::Refused(step, reply) => {
            format!("{server} answers to {}: {reply}", step.as_str())
        }
        Fault::Broken(step, cause) => format!("{server} at {}: {cause}", step.as_str()),
        Fault::TooLarge { .. } => format!("{server} at {}", Step::Sender.as_str()),
    }
}
