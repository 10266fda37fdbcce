//! An HTTPS server for many hosts: which certificate is shown, and who answers, goes by the name the
//! client asks for.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::server::Acceptor;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

use super::behaviour::Body;

/// A request, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    /// The name the client asked TLS for.
    pub(crate) host: String,
    pub(crate) version: Version,
    pub(crate) tls13: bool,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Who stands behind the server.
pub(crate) trait Face: Send + Sync + 'static {
    /// What a host shows; nothing where it is not known here.
    fn tls(&self, host: &str) -> Option<Arc<ServerConfig>>;

    /// The answer to a request.
    fn answer(
        self: Arc<Self>,
        request: Arrived,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, face: Arc<dyn Face>) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        open.spawn(connection(stream, Arc::clone(&face)));
        while open.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, face: Arc<dyn Face>) {
    let Ok(hello) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else {
        return;
    };
    let host = hello.client_hello().server_name().unwrap_or("").to_owned();
    let Some(config) = face.tls(&host) else {
        return;
    };
    let Ok(stream) = hello.into_stream(config).await else {
        return;
    };
    let tls13 = stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let service = hyper::service::service_fn(move |request| {
        let (face, host) = (Arc::clone(&face), host.clone());
        async move {
            Ok::<_, Infallible>(match read(request, host, tls13).await {
                Some(request) => face.answer(request).await,
                // What broke off is answered to nobody.
                None => std::future::pending().await,
            })
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // A connection that breaks shows as a request that did not come.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn read(request: Request<Incoming>, host: String, tls13: bool) -> Option<Arrived> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map(ToString::to_string);
    Some(Arrived {
        host,
        version: head.version,
        tls13,
        method: head.method,
        path: path.unwrap_or_default(),
        headers: head.headers,
        body: body.collect().await.ok()?.to_bytes(),
    })
}
