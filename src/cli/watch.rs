//! `amtpd inbox watch`: mail as it arrives, over a WebSocket that is kept open.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use hyper::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Gateway, Target, refusal, with_query};
use crate::clock::Clock;
use crate::endpoint::websocket::{Client, Handshake, Heard};
use crate::net::NetError;

/// Between two attempts to connect, at first and at most.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(30);
/// How long the answer to the last acknowledgement is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Unacknowledged messages that are taken of who does not acknowledge: those that are shown.
const ALL: u32 = 100_000;
/// The same of who does.
const SOME: u32 = 64;

/// Print mail as it arrives, a line of JSON each, until interrupted
#[derive(Debug, Args)]
pub(super) struct WatchCommand {
    /// The inbox to watch, such as that of a group; else the one of the key
    address: Option<String>,
    /// Acknowledge what was printed
    #[arg(long)]
    ack: bool,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    #[command(flatten)]
    target: Target,
}

/// A watch that goes on over several connections.
struct Watch {
    gateway: Gateway,
    inbox: Option<String>,
    acknowledges: bool,
    left: Option<usize>,
    resume: Option<String>,
    clock: Clock,
}

/// Why a connection ended.
enum End {
    /// All that was asked for was printed.
    Enough,
    /// It may be tried again; whether it had been open.
    Lost { was_open: bool, why: String },
}

impl WatchCommand {
    pub(super) async fn run(self) -> Result<()> {
        let gateway = self.target.connect()?;
        let watch = Watch {
            inbox: self.address.or_else(|| gateway.address.clone()),
            gateway,
            acknowledges: self.ack,
            left: self.count,
            resume: None,
            clock: Clock::system(),
        };
        watch.run().await
    }
}

impl Watch {
    async fn run(mut self) -> Result<()> {
        if self.left == Some(0) {
            return Ok(());
        }
        let mut pause = SOON;
        loop {
            let End::Lost { was_open, why } = self.connection().await? else {
                return Ok(());
            };
            if was_open {
                pause = SOON;
            }
            eprintln!("amtpd: {why}; connecting again in {}s", pause.as_secs());
            let half = pause / 2;
            self.clock.wait(half + half.mul_f64(random())).await;
            pause = (pause * 2).min(LATE);
        }
    }

    /// Prints what comes on one connection.
    async fn connection(&mut self) -> Result<End> {
        let mut client = match self.connect().await? {
            Ok(client) => client,
            Err(why) => {
                let was_open = false;
                return Ok(End::Lost { was_open, why });
            }
        };
        let mut was_open = false;
        loop {
            let frame = match client.hear().await {
                Heard::Frame(frame) => frame,
                Heard::Gone => {
                    let why = "the connection was lost".to_owned();
                    return Ok(End::Lost { was_open, why });
                }
                Heard::Closed { code, reason } => {
                    let why = format!("the gateway closed the connection: {reason}");
                    return match code {
                        // What another connection would not change.
                        Some(code @ (4_401 | 4_403 | 4_410 | 4_429)) => bail!("{why} ({code})"),
                        _ => Ok(End::Lost { was_open, why }),
                    };
                }
            };
            match frame["type"].as_str() {
                Some("welcome") => {
                    was_open = true;
                    self.resume = frame["resume"].as_str().map(str::to_owned);
                    if let Some(seconds) = frame["heartbeat"].as_f64() {
                        client.beat_every(Duration::from_secs_f64(seconds.clamp(1.0, 3_600.0)));
                    }
                }
                Some("message") if self.print(&frame["message"], &mut client)? => {
                    self.farewell(client, &frame["message"]["message_id"]).await;
                    return Ok(End::Enough);
                }
                Some("error") if was_open => {
                    eprintln!("amtpd: {}", frame["message"].as_str().unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    async fn connect(&self) -> Result<Result<Client<TokioIo<Upgraded>>, String>> {
        let credit = match self.acknowledges {
            true => SOME,
            false => ALL,
        };
        let credit = credit.to_string();
        let parameters = [
            ("credit", Some(credit.as_str())),
            ("resume", self.resume.as_deref()),
            ("inbox", self.inbox.as_deref()),
        ];
        let path = with_query("/v1/ws", &parameters);
        let offer = Handshake::offer(true);
        let (answer, stream) = match self.gateway.upgrade(&path, &offer).await {
            Ok(opened) => opened,
            Err(NetError::NoUpgrade(answer)) => {
                let status = answer.status();
                let error = refusal(status.as_u16(), answer.body());
                let later = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
                return match later {
                    true => Ok(Err(error.to_string())),
                    false => Err(error),
                };
            }
            Err(error @ NetError::Roots(_)) => return Err(error.into()),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let manner = Handshake::agreed(&offer, &answer).context("this is no gateway")?;
        Ok(Ok(Client::new(stream, manner, self.clock.clone())))
    }

    /// Prints a message; whether it was the last.
    fn print(&mut self, message: &Value, client: &mut Client<TokioIo<Upgraded>>) -> Result<bool> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{message}")?;
        out.flush()?;
        if self.acknowledges
            && let Some(id) = message["message_id"].as_str()
        {
            client.say(&json!({ "type": "ack", "ref": id, "ids": [id] }));
        }
        self.left = self.left.map(|left| left - 1);
        Ok(self.left == Some(0))
    }

    /// Leaves once the last message that was acknowledged is so.
    async fn farewell(&self, mut client: Client<TokioIo<Upgraded>>, last: &Value) {
        if self.acknowledges {
            let heard = async {
                while let Heard::Frame(frame) = client.hear().await {
                    if frame["ref"] == *last {
                        break;
                    }
                }
            };
            self.clock.within(PATIENCE, heard).await;
        }
        client.close().await;
    }
}

/// From 0 to 1.
fn random() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}
