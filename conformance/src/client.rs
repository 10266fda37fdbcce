//! A plain HTTPS client that shows everything and hides nothing.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode, Version};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::subject::Subject;

/// No answer of a gateway takes longer than this.
const PATIENCE: Duration = Duration::from_secs(90);

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A client; cloning is cheap.
#[derive(Clone)]
pub(crate) struct Client(Pool<HttpsConnector<HttpConnector<Names>>, Body>);

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The error code in the body.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What a failed test shows of it.
    pub(crate) fn shown(&self) -> String {
        let mut text: String = self.text.chars().take(400).collect();
        if text.len() < self.text.len() {
            text.push('…');
        }
        format!("{} {text}", self.status)
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    chunked: bool,
}

impl Call {
    pub(crate) fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            chunked: false,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn bearer(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    pub(crate) fn json(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body without saying its length.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }
}

/// Which HTTP and TLS versions a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    Http2,
    Http1,
    OldTls,
}

impl Client {
    pub(crate) fn new(subject: &Subject, offer: Offer) -> Result<Self> {
        let versions: &[&SupportedProtocolVersion] = match offer {
            Offer::OldTls => &[&rustls::version::TLS12],
            _ => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?;
        let tls = match subject.ca_files.as_slice() {
            [] => builder.with_native_roots()?,
            files => builder.with_root_certificates(roots(files)?),
        };
        let names = Names {
            fixed: subject.resolve,
            gai: GaiResolver::new(),
        };
        let mut http = HttpConnector::new_with_resolver(names);
        http.enforce_http(false);
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_only();
        let connector = match offer {
            Offer::Http1 | Offer::OldTls => https.enable_http1().wrap_connector(http),
            Offer::Http2 => https.enable_all_versions().wrap_connector(http),
        };
        Ok(Self(Pool::builder(TokioExecutor::new()).build(connector)))
    }

    pub(crate) async fn send(&self, call: Call) -> Result<Answer> {
        let shown = format!("{} {}", call.method, call.url);
        let mut request = Request::builder().method(call.method).uri(&call.url);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let body: Body = match call.chunked {
            false => Full::new(call.body).boxed(),
            true => StreamBody::new(Pieces(call.body)).boxed(),
        };
        let request = request.body(body).with_context(|| shown.clone())?;
        let work = async {
            let answer = self.0.request(request).await?;
            let (head, body) = answer.into_parts();
            let bytes = body.collect().await?.to_bytes();
            anyhow::Ok(Answer {
                status: head.status,
                version: head.version,
                headers: head.headers,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            })
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(answer) => answer.with_context(|| shown),
            Err(_) => bail!("{shown}: no answer in {} s", PATIENCE.as_secs()),
        }
    }
}

/// TLS for a connection of its own that is to become a WebSocket.
pub(crate) fn tls_for_sockets(subject: &Subject) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match subject.ca_files.as_slice() {
        [] => builder.with_native_roots()?,
        files => builder.with_root_certificates(roots(files)?),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A body in pieces of 64 KiB.
struct Pieces(Bytes);

impl futures_core::Stream for Pieces {
    type Item = Result<Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.0.len().min(64 * 1024);
        Poll::Ready(Some(Ok(Frame::data(self.0.split_to(size)))))
    }
}

/// The certificates of these files.
pub(crate) fn roots(files: &[PathBuf]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for path in files {
        let certificates = CertificateDer::pem_file_iter(path);
        for certificate in certificates.with_context(|| path.display().to_string())? {
            store.add(certificate?)?;
        }
    }
    Ok(store)
}

/// Turns names into addresses: the system's way, or one fixed address for all.
#[derive(Clone)]
struct Names {
    fixed: Option<IpAddr>,
    gai: GaiResolver,
}

impl tower::Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
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
