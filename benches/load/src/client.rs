//! A client for everything that is not measured by the message: agents, batches, inboxes.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Windows that hold a page of an inbox.
const WINDOW: u32 = 32 << 20;

/// A connection that speaks HTTP/2.
pub(crate) type Client = SendRequest<Full<Bytes>>;

/// Sends a request and gives the body of the answer, whose status must be this one.
pub(crate) async fn exchange(
    mut connection: Client,
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
pub(crate) async fn connect(roots: &RootCertStore, server: SocketAddr) -> Result<Client> {
    let stream = tls(roots, server, b"h2").await?;
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A TLS 1.3 connection that will speak this protocol.
#[allow(
    clippy::disallowed_methods,
    reason = "the load comes from outside the gateway"
)]
pub(crate) async fn tls(
    roots: &RootCertStore,
    server: SocketAddr,
    protocol: &[u8],
) -> Result<TlsStream<TcpStream>> {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(server).await?;
    tcp.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::new(tls));
    Ok(connector
        .connect(ServerName::try_from("localhost")?, tcp)
        .await?)
}
