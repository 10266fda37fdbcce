//! The ceiling: a bare server of the same stack.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

/// Starts it on a free port with this certificate; it answers to any of the gateway's keys.
pub(crate) async fn start(certificate: &[u8], key: &[u8]) -> Result<SocketAddr> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let tasks = TaskTracker::new();
    let app = Router::new()
        .route("/v1/messages", post(answer))
        .with_state("Bearer ak_");
    tasks.clone().spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tasks.spawn(async move {
                drop(tcp.set_nodelay(true));
                let Ok(stream) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = TowerToHyperService::new(app);
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(
                    builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    });
    Ok(address)
}

async fn answer(
    State(prefix): State<&'static str>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, axum::Json<Value>) {
    let known = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(prefix));
    let read: Result<Value, _> = serde_json::from_slice(&body);
    match read {
        Ok(message) if known => (
            StatusCode::ACCEPTED,
            axum::Json(json!({ "status": "accepted", "sender": message["sender"] })),
        ),
        _ => (StatusCode::BAD_REQUEST, axum::Json(Value::Null)),
    }
}
