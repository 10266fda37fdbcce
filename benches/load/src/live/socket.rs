//! A WebSocket of an agent, as far as the benchmark needs it.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use rustls::RootCertStore;
use serde_json::Value;
use soketto::handshake::{Client, ServerResponse, client::Header};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::client::tls;
use crate::daemon::Agent;

type Stream = Compat<TlsStream<TcpStream>>;

/// The end that speaks.
pub(crate) struct Sender(soketto::Sender<Stream>);

/// The end that hears.
pub(crate) struct Receiver {
    inner: soketto::Receiver<Stream>,
    bytes: Vec<u8>,
}

/// Opens a session of an agent that takes so many messages at a time, and waits until it is there.
pub(crate) async fn open(
    roots: &RootCertStore,
    server: SocketAddr,
    (agent, credit): (&Agent, u32),
) -> Result<(Sender, Receiver)> {
    let stream = tls(roots, server, b"http/1.1").await?.compat();
    let resource = format!("/v1/ws?credit={credit}");
    let mut client = Client::new(stream, "localhost", &resource);
    let headers = [Header {
        name: "authorization",
        value: agent.authorization.as_bytes(),
    }];
    client.set_headers(&headers).add_protocol("amtp.v1");
    match client.handshake().await? {
        ServerResponse::Accepted { .. } => {}
        ServerResponse::Rejected { status_code } => bail!("refused with {status_code}"),
        ServerResponse::Redirect { status_code, .. } => bail!("redirected with {status_code}"),
    }
    let (sender, inner) = client.into_builder().finish();
    let mut receiver = Receiver {
        inner,
        bytes: Vec::new(),
    };
    let welcome = receiver.next().await?;
    if welcome["type"] != "welcome" {
        bail!("no welcome but {welcome}");
    }
    Ok((Sender(sender), receiver))
}

impl Sender {
    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: &Value) -> Result<()> {
        self.0.send_text(frame.to_string()).await?;
        Ok(self.0.flush().await?)
    }
}

impl Receiver {
    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        self.bytes.clear();
        self.inner.receive_data(&mut self.bytes).await?;
        Ok(serde_json::from_slice(&self.bytes)?)
    }
}
