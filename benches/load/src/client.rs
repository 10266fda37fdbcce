//! The load: many requests in flight over a few HTTP/2 connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::clock::now;
use crate::daemon::Agent;
use crate::report::to_float;

const CONNECTIONS: usize = 4;

/// How much load for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) in_flight: usize,
    pub(crate) time: Duration,
    pub(crate) payload: usize,
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) answered: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) body_bytes: f64,
}

impl Measured {
    pub(crate) fn latencies(&self) -> String {
        format!("{:.1}/{:.1}/{:.1}", self.p50_ms, self.p95_ms, self.p99_ms)
    }
}

/// Sends messages until the time is over, then waits for the answers that are missing.
pub(crate) async fn run(
    load: &Load,
    roots: &RootCertStore,
    server: SocketAddr,
    senders: &[Agent],
) -> Result<Measured> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(connect(roots, server).await?);
    }
    let began = now();
    let mut workers = JoinSet::new();
    for number in 0..load.in_flight {
        let connection = connections[number % CONNECTIONS].clone();
        let sender = senders[number % senders.len()].clone();
        let recipient = senders[(number / senders.len()) % senders.len()]
            .address
            .clone();
        let body: Bytes = format!(
            r#"{{"version":"1.0","sender":"{}","recipients":["{recipient}"],"payload":"{}"}}"#,
            sender.address,
            "x".repeat(load.payload),
        )
        .into();
        let until = began + load.time;
        workers.spawn(async move {
            let mut latencies = Histogram::<u64>::new(3)?;
            while now() < until {
                let sent = now();
                post(connection.clone(), &sender, body.clone()).await?;
                latencies.record(u64::try_from(sent.elapsed().as_micros())?)?;
            }
            anyhow::Ok((latencies, body.len()))
        });
    }
    let mut all = Histogram::<u64>::new(3)?;
    let mut body_bytes = 0;
    while let Some(worker) = workers.join_next().await {
        let (latencies, bytes) = worker??;
        all.add(latencies)?;
        body_bytes = bytes;
    }
    let took = began.elapsed();
    let at = |quantile: f64| to_float(all.value_at_quantile(quantile)) / 1_000.0;
    Ok(Measured {
        rate: to_float(all.len()) / took.as_secs_f64(),
        answered: all.len(),
        p50_ms: at(0.50),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        body_bytes: to_float(u64::try_from(body_bytes)?),
    })
}

async fn post(connection: SendRequest<Full<Bytes>>, sender: &Agent, body: Bytes) -> Result<()> {
    let request = Request::post("https://localhost/v1/messages")
        .header("authorization", &sender.authorization)
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    exchange(connection, request, StatusCode::ACCEPTED).await?;
    Ok(())
}

/// Sends a request and gives the body of the answer, whose status must be this one.
pub(crate) async fn exchange(
    mut connection: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    wanted: StatusCode,
) -> Result<Bytes> {
    connection.ready().await?;
    let answer = connection.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(
        status == wanted,
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(body)
}

/// An HTTP/2 connection to a gateway of this machine.
#[allow(
    clippy::disallowed_methods,
    reason = "the load comes from outside the gateway"
)]
pub(crate) async fn connect(
    roots: &RootCertStore,
    server: SocketAddr,
) -> Result<SendRequest<Full<Bytes>>> {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(server).await?;
    tcp.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(ServerName::try_from("localhost")?, tcp)
        .await?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
