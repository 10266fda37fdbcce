//! Mail over a connection that stays open: a look at the main ways.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use hyper::Uri;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use soketto::connection::{Receiver, Sender};
use soketto::handshake::client::Header;
use soketto::handshake::{Client as Handshake, ServerResponse};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::test;
use crate::context::{Agent, Context, message};
use crate::level::Level::Amtpd;
use crate::runner::Test;
use crate::subject::Capability;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Amtpd,
            "10.2",
            (
                "websocket.welcome",
                "An agent with its key is welcomed to its own inbox",
            ),
            welcome,
        ),
        test(
            Amtpd,
            "10.2",
            (
                "websocket.push",
                "Mail is pushed as it arrives, and gone when it is acknowledged",
            ),
            push,
        ),
        test(
            Amtpd,
            "10.2",
            (
                "websocket.send",
                "What is sent over a connection arrives, with a receipt",
            ),
            send,
        ),
        test(
            Amtpd,
            "10.2",
            ("websocket.no-key", "Who has no good key gets no session"),
            no_key,
        ),
        test(
            Amtpd,
            "10.2",
            (
                "websocket.fault",
                "A frame that means nothing is answered by an error, and the session goes on",
            ),
            fault,
        ),
    ]
}

type Stream = Compat<TlsStream<TcpStream>>;

struct Socket {
    sender: Sender<Stream>,
    receiver: Receiver<Stream>,
}

async fn resolved(context: &Context, host: &str, port: u16) -> Result<SocketAddr> {
    if let Some(ip) = context.subject.resolve {
        return Ok(SocketAddr::new(ip, port));
    }
    let mut found = tokio::net::lookup_host((host, port)).await?;
    found
        .next()
        .with_context(|| format!("{host} has no address"))
}

impl Socket {
    /// A connection with this key; nothing where the gateway does not make it one.
    async fn open(context: &Context, key: &str) -> Result<Option<Self>> {
        context.needs(Capability::Websocket)?;
        let url: Uri = context.subject.url.parse()?;
        let host = url.host().context("the subject's URL has no host")?;
        let port = url.port_u16().unwrap_or(443);
        let tls = TlsConnector::from(Arc::new(crate::client::tls_for_sockets(&context.subject)?));
        let stream = crate::bench::connect(resolved(context, host, port).await?).await?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = tls.connect(name, stream).await?.compat();
        let authority = format!("{host}:{port}");
        let path = format!("{}/v1/ws", url.path().trim_end_matches('/'));
        let mut handshake = Handshake::new(stream, &authority, &path);
        handshake.add_protocol("amtp.v1");
        let bearer = format!("Bearer {key}");
        let headers = [Header {
            name: "authorization",
            value: bearer.as_bytes(),
        }];
        handshake.set_headers(&headers);
        match handshake.handshake().await? {
            ServerResponse::Accepted { .. } => {}
            _ => return Ok(None),
        }
        let (sender, receiver) = handshake.into_builder().finish();
        Ok(Some(Self { sender, receiver }))
    }

    /// The session of an agent, and how it was welcomed.
    async fn session(context: &Context, agent: &Agent) -> Result<(Self, Value)> {
        let opened = Self::open(context, &agent.key).await?;
        let mut socket = opened.context("the handshake was refused")?;
        let welcome = socket.hear(context).await?;
        ensure!(welcome["type"] == "welcome", "{welcome}");
        Ok((socket, welcome))
    }

    async fn say(&mut self, frame: &Value) -> Result<()> {
        self.sender.send_text(frame.to_string()).await?;
        Ok(self.sender.flush().await?)
    }

    async fn hear(&mut self, context: &Context) -> Result<Value> {
        let mut data = Vec::new();
        let next = self.receiver.receive_data(&mut data);
        match tokio::time::timeout(context.subject.patience, next).await {
            Ok(received) => received?,
            Err(_) => bail!("nothing was said"),
        };
        Ok(serde_json::from_slice(&data)?)
    }
}

async fn welcome(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Websocket)?;
    let agent = context.new_agent().await?;
    let (_socket, welcome) = Socket::session(&context, &agent).await?;
    for name in ["address", "inbox"] {
        ensure!(welcome[name] == agent.address.as_str(), "{welcome}");
    }
    ensure!(welcome["session"].is_string(), "{welcome}");
    Ok(())
}

async fn push(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Websocket)?;
    let (from, to) = (context.new_agent().await?, context.new_agent().await?);
    let (mut socket, _) = Socket::session(&context, &to).await?;
    let id = context.submit(&from, &[&to.address], &Value::Null).await?;
    let frame = socket.hear(&context).await?;
    ensure!(frame["type"] == "message", "{frame}");
    ensure!(frame["message"]["message_id"] == id.as_str(), "{frame}");
    let ack = json!({ "type": "ack", "ref": "1", "ids": [id] });
    socket.say(&ack).await?;
    let done = socket.hear(&context).await?;
    ensure!(done["type"] == "done", "{done}");
    let view = context.status(&from, &id).await?;
    ensure!(view["recipients"][0]["acknowledged"] == true, "{view}");
    Ok(())
}

async fn send(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Websocket)?;
    let (from, to) = (context.new_agent().await?, context.new_agent().await?);
    let (mut socket, _) = Socket::session(&context, &from).await?;
    let frame = json!({ "type": "send", "ref": "7", "message": message(&from, &to, &Value::Null) });
    socket.say(&frame).await?;
    let receipt = socket.hear(&context).await?;
    ensure!(
        receipt["type"] == "receipt" && receipt["ref"] == "7",
        "{receipt}"
    );
    let mail = context.mail(&to, 1).await?;
    ensure!(
        mail[0]["message_id"] == receipt["message_id"],
        "{}",
        mail[0]
    );
    Ok(())
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    let Some(mut socket) = Socket::open(&context, "ak_0000000000000000_nobodys").await? else {
        return Ok(());
    };
    // Nothing is said where it was closed.
    if let Ok(frame) = socket.hear(&context).await {
        ensure!(frame["type"] != "welcome", "{frame}");
    }
    Ok(())
}

async fn fault(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Websocket)?;
    let agent = context.new_agent().await?;
    let (mut socket, _) = Socket::session(&context, &agent).await?;
    socket.say(&json!({ "type": "dance", "ref": "1" })).await?;
    let error = socket.hear(&context).await?;
    ensure!(error["type"] == "error", "{error}");
    socket.say(&json!({ "type": "ping", "ref": "2" })).await?;
    let pong = socket.hear(&context).await?;
    ensure!(pong["type"] == "pong", "{pong}");
    Ok(())
}
