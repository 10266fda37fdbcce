//! The HTTPS client of the commands that talk to a gateway.
//!
//! A client trusts the system's roots or one given CA file, speaks TLS 1.2 or newer (1.3 with
//! gateways), offers HTTP/2 and HTTP/1.1, follows no redirects and reads bounded answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use super::roots::{self, FileFault};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub enum Roots {
    /// The system's.
    System,
    /// Those of this PEM file only.
    File(PathBuf),
}

/// How to reach the other side.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Connect to this address instead of asking for the host's name.
    pub resolve: Option<IpAddr>,
}

/// What can go wrong with a request.
#[derive(Debug, Error)]
pub enum NetError {
    /// A CA file cannot be used.
    #[error(transparent)]
    Roots(#[from] FileFault),
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// It does not speak another protocol on the connection.
    #[error("the gateway answered {}", .0.status())]
    NoUpgrade(Box<Response<Bytes>>),
    /// The answer is larger than what is read.
    #[error("the answer is larger than {LARGEST_ANSWER} bytes or broke off")]
    Answer,
}

/// Which versions of HTTP are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versions {
    All,
    /// Only on it another protocol can follow.
    Http1,
}

/// A pooled HTTPS client. Cloning is cheap.
#[derive(Clone)]
pub struct HttpsClient {
    client: Pool,
    options: Arc<Options>,
}

type Pool = Client<HttpsConnector<HttpConnector<Names>>, Full<Bytes>>;

impl HttpsClient {
    /// A client with these options.
    ///
    /// # Errors
    /// [`NetError::Roots`] when the trusted certificates cannot be read.
    pub fn new(options: &Options) -> Result<Self, NetError> {
        Ok(Self {
            client: pool(options, Versions::All)?,
            options: Arc::new(options.clone()),
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`NetError::Connection`] with the innermost causes, [`NetError::Answer`].
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, NetError> {
        read(ask(&self.client, request).await?).await
    }

    /// Sends a request that asks for another protocol, and gives the connection once that is spoken.
    ///
    /// # Errors
    /// [`NetError::NoUpgrade`] with the answer where it is another one.
    pub async fn upgrade(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(HeaderMap, TokioIo<Upgraded>), NetError> {
        // Another protocol follows on HTTP/1.1 only.
        let client = pool(&self.options, Versions::Http1)?;
        let mut answer = ask(&client, request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(NetError::NoUpgrade(Box::new(read(answer).await?)));
        }
        let upgraded = hyper::upgrade::on(&mut answer).await;
        let upgraded = upgraded.map_err(|error| NetError::Connection(chain(&error)))?;
        Ok((answer.headers().clone(), TokioIo::new(upgraded)))
    }
}

async fn ask(client: &Pool, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NetError> {
    let answer = client.request(request).await;
    answer.map_err(|error| NetError::Connection(chain(&error)))
}

/// Reads the whole answer.
async fn read(answer: Response<Incoming>) -> Result<Response<Bytes>, NetError> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER)
        .collect()
        .await
        .map_err(|_| NetError::Answer)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// The connections of a client.
fn pool(options: &Options, versions: Versions) -> Result<Pool, NetError> {
    let tls = tls(&options.roots)?;
    let mut connector = HttpConnector::new_with_resolver(Names {
        fixed: options.resolve,
        gai: GaiResolver::new(),
    });
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only();
    let connector = match versions {
        Versions::All => builder.enable_all_versions().wrap_connector(connector),
        Versions::Http1 => builder.enable_http1().wrap_connector(connector),
    };
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn tls(believed: &Roots) -> Result<ClientConfig, FileFault> {
    let mut store = RootCertStore::empty();
    match believed {
        Roots::System => store = roots::of_system(),
        Roots::File(path) => roots::add(&mut store, path)?,
    }
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    roots::config(&versions, store, None)
}

/// The words of an error and all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Turns names into addresses: the system's way, or one fixed address for all.
#[derive(Clone)]
struct Names {
    fixed: Option<IpAddr>,
    gai: GaiResolver,
}

impl tower::Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tower::Service::poll_ready(&mut self.gai, context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if let Some(address) = self.fixed {
            return Box::pin(async move { Ok(vec![SocketAddr::new(address, 0)].into_iter()) });
        }
        let found = tower::Service::call(&mut self.gai, name);
        Box::pin(async move { Ok(found.await?.collect::<Vec<_>>().into_iter()) })
    }
}
